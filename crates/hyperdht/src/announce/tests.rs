#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::dht::BootstrapNode;
use crate::hash::hash;
use crate::messages::Packet;

/// Longer than anything takes on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

fn address(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

#[test]
fn a_record_is_stale_if_most_of_its_nodes_are_silent_or_see_another_address() {
    // A symmetric NAT: each node sees another port.
    let holding: Vec<Holder> = (1..=6)
        .map(|number| Holder {
            node: address(number),
            seen: address(100 + number),
        })
        .collect();
    let pongs = |silent: usize, moved: usize| -> Vec<_> {
        let pong = |(at, holder): (usize, &Holder)| match at {
            at if at < silent => None,
            at if at < silent + moved => Some(address(999)),
            _ => Some(holder.seen),
        };
        holding.iter().enumerate().map(pong).collect()
    };
    for (silent, moved, stale) in [
        (0, 0, false),
        (2, 0, false),
        (3, 0, true),
        (0, 3, false),
        (0, 4, true),
        (2, 2, false),
        (2, 3, true),
        (6, 0, true),
    ] {
        assert_eq!(is_stale(&holding, &pongs(silent, moved)), stale, "{silent} silent, {moved} moved");
    }
}

/// A node that accepts every record, and reports to all requesters the address that the test sets.
struct OnlyNode {
    port: u16,
    shown: watch::Sender<Option<SocketAddrV4>>,
    announced: mpsc::UnboundedReceiver<()>,
    _running: AbortOnDropHandle<()>,
}

impl OnlyNode {
    async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let (shown, seen) = watch::channel(None);
        let (sender, announced) = mpsc::unbounded_channel();
        let running = async move {
            let mut buffer = vec![0; 2_000];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let std::net::SocketAddr::V4(from) = from else {
                    panic!("an IPv6 address")
                };
                let Ok(Packet::Request(request)) = Packet::decode(Bytes::copy_from_slice(&buffer[..length])) else {
                    continue;
                };
                if !request.internal && request.command == command::ANNOUNCE {
                    sender.send(()).unwrap();
                }
                let shown: Option<SocketAddrV4> = *seen.borrow();
                let reply = Reply {
                    tid: request.tid,
                    to: shown.unwrap_or(from),
                    id: Some(node_id(address(port))),
                    token: Some([1; 32]),
                    closer_nodes: Vec::new(),
                    error: 0,
                    value: None,
                };
                socket.send_to(&reply.encode(), from).await.unwrap();
            }
        };
        Self {
            port,
            shown,
            announced,
            _running: AbortOnDropHandle::new(tokio::spawn(running)),
        }
    }
}

#[tokio::test]
async fn a_new_external_address_is_announced_at_the_next_ping() {
    let mut node = OnlyNode::start().await;
    let bootstrap = BootstrapNode::parse(&format!("127.0.0.1:{}", node.port)).unwrap();
    let dht = Dht::open(address(0), vec![bootstrap]).await.unwrap();
    let pair = KeyPair::random().unwrap();
    let target = hash(&[pair.public_key().as_bytes()]);
    let announcer = KeyAnnouncer { dht, pair, target };
    let (holders, mut announced) = watch::channel(Vec::new());
    let _announcing = AbortOnDropHandle::new(tokio::spawn(announcer.keep_announced(holders)));
    timeout(LONG, node.announced.recv()).await.unwrap().unwrap();
    timeout(LONG, announced.wait_for(|holders| holders.len() == 1))
        .await
        .unwrap()
        .unwrap();
    node.shown.send_replace(Some("192.0.2.1:9".parse().unwrap()));
    // Far less than the usual interval.
    timeout(LONG, node.announced.recv()).await.expect("announced again").unwrap();
}
