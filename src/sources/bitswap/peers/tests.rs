#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn connection(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

#[test]
fn a_peer_stays_until_its_last_connection_is_closed() {
    let (mut peers, peer) = (Peers::default(), PeerId::random());
    let id = peers.connected(peer, connection(1), "/ip4/1.2.3.4/tcp/1");
    peers.connected(peer, connection(2), "/ip4/1.2.3.4/udp/1/quic-v1");
    assert_eq!((peers.len(), peers.connections(), &*id), (1, 2, &*peer.to_string()));
    assert_eq!(peers.disconnected(peer, connection(1)), Some(id.clone()));
    assert_eq!((peers.len(), peers.connections()), (1, 1));
    assert_eq!(peers.disconnected(peer, connection(2)), Some(id));
    assert_eq!(peers.disconnected(peer, connection(2)), None);
    assert_eq!(peers.len(), 0);
}

#[test]
fn what_a_peer_says_is_cut_and_a_newer_version_reported_once() {
    let (mut peers, peer) = (Peers::default(), PeerId::random());
    peers.connected(peer, connection(1), "/ip4/1.2.3.4/tcp/1");
    let mut protocols: Vec<String> = (0..100).map(|n| format!("/made/up/{n}")).collect();
    protocols.push("/ipfs/bitswap/1.3.0".to_owned());
    protocols.push("/ipfs/bitswap/1.2.0".to_owned());
    let addresses = || (0..100).map(|n| format!("/ip4/1.2.3.4/tcp/{n}"));
    let offered = || protocols.iter().map(String::as_str);
    assert_eq!(
        peers.identified(peer, &"\u{e9}".repeat(1000), addresses(), offered()),
        Some("/ipfs/bitswap/1.3.0")
    );
    assert_eq!(peers.identified(peer, "kubo", addresses(), offered()), None);
    assert_eq!(peers.senders(), 1);
    peers.measured(peer, Duration::from_millis(7));
    let sample = peers.sample(Timestamp::from_millis(5));
    assert_eq!((sample.connections, sample.peers.len()), (1, 1));
    let shown = &sample.peers[0];
    assert_eq!(shown.agent.as_deref(), Some("kubo"));
    assert_eq!((shown.addresses.len(), shown.protocols.len()), (MAX_ADDRESSES, MAX_PROTOCOLS));
    assert_eq!(&*shown.protocols[0], "/ipfs/bitswap/1.3.0");
    assert_eq!(shown.latency, Some(Duration::from_millis(7)));
    assert_eq!(&*shown.connected[0], "/ip4/1.2.3.4/tcp/1");
    assert_eq!(cut(&"\u{e9}".repeat(1000)).len(), MAX_TEXT_BYTES);
}

#[test]
fn a_peer_without_bitswap_is_no_sender() {
    let (mut peers, peer) = (Peers::default(), PeerId::random());
    peers.connected(peer, connection(1), "/ip4/1.2.3.4/tcp/1");
    assert_eq!(
        peers.identified(peer, "kubo", std::iter::empty(), ["/ipfs/kad/1.0.0"].into_iter()),
        None
    );
    assert_eq!(peers.senders(), 0);
    peers.sent(peer);
    assert_eq!(peers.senders(), 1);
    assert_eq!(
        peers.identified(PeerId::random(), "x", std::iter::empty(), std::iter::empty()),
        None
    );
}
