#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

fn dialer(hosts: &[&str]) -> (Dialer, PeerId) {
    let addresses: Vec<NodeAddress> = hosts.iter().map(|host| format!("{host}/p2p/{PEER}").parse().unwrap()).collect();
    (Dialer::new(&addresses), PEER.parse().unwrap())
}

#[tokio::test]
async fn names_and_addresses_of_one_peer_are_dialed_together() {
    let (mut dialer, peer) = dialer(&[
        "/ip4/127.0.0.1/tcp/4001",
        "/dns4/localhost/udp/4001/quic-v1",
        "/dns/name.invalid/tcp/1",
    ]);
    dialer.start(Instant::now());
    let dial = dialer.next().await;
    assert_eq!(dial.peer, peer);
    let texts: Vec<String> = dial.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/udp/4001/quic-v1"]);
}

#[tokio::test]
async fn a_lost_peer_is_dialed_again_later_and_reported_once() {
    let (mut dialer, peer) = dialer(&["/ip4/127.0.0.1/tcp/4001"]);
    let now = Instant::now();
    dialer.start(now);
    assert_eq!(dialer.next().await.peer, peer);
    assert!(dialer.failed(peer, now));
    assert!(!dialer.failed(peer, now));
    dialer.start(now);
    assert!(dialer.lookups.is_empty(), "the backoff has not passed");
    dialer.start(now + Duration::from_secs(60));
    assert_eq!(dialer.next().await.peer, peer);
    assert!(dialer.connected(peer) && !dialer.connected(peer) && dialer.is_connected(peer));
    assert!(dialer.failed(peer, now), "the next loss is reported again");
    let other = PeerId::random();
    assert!(!dialer.connected(other) && !dialer.failed(other, now));
}
