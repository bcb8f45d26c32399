//! Tests of nodes in a test network.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rpc;

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::dial::DialError;
use crate::engine::Call;
use crate::hash::hash;
use crate::key::KeyPair;
use crate::listener::{IncomingConnection, KeyAdmission, KeyListener};
use crate::messages::{Firewall, Handshake, HandshakeMode, HandshakePayload, UdxInfo, command};
use crate::node::Node;
use crate::noise::Initiator;
use crate::secret_stream::SecretStream;
use crate::testnet::TestNetwork;
use crate::udx::MIN_RECEIVE_BYTES;

/// Longer than anything takes on a loaded machine.
const LONG: Duration = Duration::from_secs(30);

struct Rig {
    network: TestNetwork,
    server: KeyPair,
    client: KeyPair,
}

impl Rig {
    async fn new() -> Self {
        Self {
            network: TestNetwork::start(6).await,
            server: KeyPair::random().unwrap(),
            client: KeyPair::random().unwrap(),
        }
    }

    async fn node(&self) -> Node {
        Node::open(&[self.network.bootstrap()], 0).await.unwrap()
    }

    /// Returns an announced listener that admits the client only.
    async fn listener(&self, node: &Node) -> KeyListener {
        let client = self.client.public_key();
        let mut listener = node.listen(&self.server, move |key| key == client).await.unwrap();
        assert!(timeout(LONG, listener.announced()).await.unwrap() > 0);
        listener
    }

    async fn dial(&self, node: &Node) -> Result<SecretStream, DialError> {
        node.dial(&self.client, self.server.public_key(), LONG).await
    }
}

async fn admitted(listener: &mut KeyListener) -> SecretStream {
    match timeout(LONG, listener.accept()).await.unwrap().unwrap() {
        IncomingConnection::Admitted(stream) => stream,
        IncomingConnection::Refused { key, .. } => panic!("{key} was refused"),
    }
}

/// Sends each message back.
async fn echo(mut stream: SecretStream) {
    while let Ok(Some(message)) = stream.reader.next().await {
        stream.writer.send(message).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_found_by_its_key_and_talks() {
    let rig = Rig::new().await;
    let (here, there) = (rig.node().await, rig.node().await);
    let mut listener = rig.listener(&there).await;
    let (dialed, mut accepted) = tokio::join!(rig.dial(&here), admitted(&mut listener));
    let mut dialed = dialed.unwrap();
    assert_eq!((dialed.peer, accepted.peer), (rig.server.public_key(), rig.client.public_key()));
    dialed.writer.send("ping").await.unwrap();
    dialed.writer.acknowledged().await.unwrap();
    assert_eq!(accepted.reader.next().await.unwrap().unwrap(), "ping");
    accepted.writer.send("pong").await.unwrap();
    assert_eq!(dialed.reader.next().await.unwrap().unwrap(), "pong");
    accepted.writer.close().await;
    assert!(timeout(LONG, dialed.reader.next()).await.unwrap().unwrap().is_none());
    listener.close().await;
    assert!(matches!(
        rig.node().await.dial(&rig.client, rig.server.public_key(), LONG).await,
        Err(DialError::NotAnnounced)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_packets_of_a_node_leave_from_its_port() {
    let rig = Rig::new().await;
    // A port that is free, for all but an unlikely moment.
    let port = std::net::UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let here = Node::open(&[rig.network.bootstrap()], port).await.unwrap();
    let there = rig.node().await;
    let mut listener = rig.listener(&there).await;
    let (dialed, accepted) = tokio::join!(rig.dial(&here), admitted(&mut listener));
    assert_eq!(accepted.address.port(), port);
    assert_eq!(dialed.unwrap().address.port(), there.dht.socket().port());
    let taken = Node::open(&[rig.network.bootstrap()], port)
        .await
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        taken.starts_with(&format!("cannot join HyperDHT on udp port {port}: Address already in use")),
        "{taken}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_node_ends_its_connections() {
    let rig = Rig::new().await;
    let (here, there) = (rig.node().await, rig.node().await);
    let mut listener = rig.listener(&there).await;
    let (dialed, accepted) = tokio::join!(rig.dial(&here), admitted(&mut listener));
    let mut dialed = dialed.unwrap();
    drop(here);
    assert!(timeout(LONG, dialed.reader.next()).await.unwrap().is_err());
    drop(accepted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_gets_no_answer_and_is_named() {
    let rig = Rig::new().await;
    let (here, there) = (rig.node().await, rig.node().await);
    let mut listener = rig.listener(&there).await;
    let unknown = KeyPair::random().unwrap();
    let wait = Duration::from_secs(1);
    let start = Instant::now();
    let refused = here.dial(&unknown, rig.server.public_key(), wait).await;
    assert!(matches!(refused, Err(DialError::Timeout(..))) && start.elapsed() >= wait);
    match listener.accept().await.unwrap() {
        IncomingConnection::Refused { key, address } => assert!(key == unknown.public_key() && address.ip().is_loopback()),
        IncomingConnection::Admitted(_) => panic!("an unknown key was admitted"),
    }
    // Copies of the handshake are not reported again; the client is still admitted.
    let (dialed, accepted) = tokio::join!(rig.dial(&here), admitted(&mut listener));
    assert_eq!(accepted.peer, rig.client.public_key());
    drop(dialed.unwrap());
}

/// Returns a handshake of a new key that is never continued, with the source address that a relay would report.
fn handshake(to: &KeyPair, from: std::net::SocketAddrV4) -> Vec<u8> {
    let payload = HandshakePayload {
        version: 1,
        error: 0,
        firewall: Firewall::UNKNOWN,
        holepunch: None,
        addresses: Vec::new(),
        udx: Some(UdxInfo {
            version: 1,
            reusable_socket: false,
            id: 7,
            seq: 0,
        }),
        secret_stream: Some(1),
        relay_through: false,
    };
    let (pair, ephemeral) = (KeyPair::random().unwrap(), KeyPair::random().unwrap());
    let (_, noise) = Initiator::start(&pair, ephemeral, to.public_key(), &payload.encode()).unwrap();
    let message = Handshake {
        mode: HandshakeMode::FromClient,
        noise: noise.into(),
        peer_address: Some(from),
        relay_address: None,
    };
    message.encode()
}

/// Sends a handshake from one node to another directly, and waits for the reply.
async fn shake(from: &Node, to: &Node, handshake: Vec<u8>, server: &KeyPair) {
    let address = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, to.dht.socket().port());
    let call = Call {
        value: Some(handshake.into()),
        ..Call::new(command::PEER_HANDSHAKE, hash(&[server.public_key().as_bytes()]))
    };
    let reply = timeout(LONG, from.dht.call(address, call)).await.unwrap().unwrap();
    assert!(reply.value.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_do_not_go_on_keep_out_neither_known_keys_nor_new_ones() {
    let rig = Rig::new().await;
    let (here, there) = (rig.node().await, rig.node().await);
    let client = rig.client.public_key();
    let admit = move |key| {
        if key == client {
            KeyAdmission::Known
        } else {
            KeyAdmission::Unknown
        }
    };
    let mut listener = there.listen(&rig.server, admit).await.unwrap();
    assert!(timeout(LONG, listener.announced()).await.unwrap() > 0);
    let nowhere = "127.0.0.1:9".parse().unwrap();
    for _ in 0..600 {
        shake(&here, &there, handshake(&rig.server, nowhere), &rig.server).await;
    }
    // Less than the timeout of a handshake that is not continued.
    let hasty = Duration::from_secs(8);
    for registrant in [rig.client.clone(), KeyPair::random().unwrap()] {
        let (dialed, accepted) = tokio::join!(here.dial(&registrant, rig.server.public_key(), hasty), admitted(&mut listener));
        assert_eq!(
            (dialed.unwrap().peer, accepted.peer),
            (rig.server.public_key(), registrant.public_key())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_a_handshake_makes_up_gets_few_packets() {
    let rig = Rig::new().await;
    let (here, there) = (rig.node().await, rig.node().await);
    let listener = there.listen(&rig.server, |_| KeyAdmission::Unknown).await.unwrap();
    let victim = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = format!("127.0.0.1:{}", victim.local_addr().unwrap().port()).parse().unwrap();
    // Counts until there is a pause longer than the longest interval between two packets.
    let packets = async || {
        let (mut count, mut packet) = (0, [0; 2_000]);
        while timeout(Duration::from_secs(2), victim.recv(&mut packet)).await.is_ok() {
            count += 1;
        }
        count
    };
    shake(&here, &there, handshake(&rig.server, address), &rig.server).await;
    assert_eq!(packets().await, 3);
    for _ in 0..100 {
        shake(&here, &there, handshake(&rig.server, address), &rig.server).await;
    }
    let count = packets().await;
    assert!(count <= 90, "{count}");
    drop(listener);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_nobody_has_is_unknown() {
    let rig = Rig::new().await;
    let unannounced = KeyPair::random().unwrap().public_key();
    let node = rig.node().await;
    assert!(matches!(
        node.dial(&rig.client, unannounced, LONG).await,
        Err(DialError::NotAnnounced)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_node_answers_nothing_is_said_of_the_key() {
    // A socket that never responds and occupies its port.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let node = Node::open(&[silent.local_addr().unwrap().to_string()], 0).await.unwrap();
    let (own, unannounced) = (KeyPair::random().unwrap(), KeyPair::random().unwrap().public_key());
    assert!(matches!(node.dial(&own, unannounced, LONG).await, Err(DialError::NoNetwork)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_is_served_once_by_a_node() {
    let rig = Rig::new().await;
    let node = rig.node().await;
    let first = rig.listener(&node).await;
    assert!(node.listen(&rig.server, |_| true).await.is_err());
    first.close().await;
    tokio::task::yield_now().await;
    let again = async {
        while node.listen(&rig.server, |_| true).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_pipes_at_once_carry_their_own() {
    const PIPES: usize = 200;
    let rig = Rig::new().await;
    let (here, there) = (rig.node().await, rig.node().await);
    let mut listener = rig.listener(&there).await;
    let mut echoes = JoinSet::new();
    let serving = tokio::spawn(async move {
        for _ in 0..PIPES {
            let stream = admitted(&mut listener).await;
            echoes.spawn(echo(stream));
        }
        (listener, echoes)
    });
    let mut dials = JoinSet::new();
    for number in 0..PIPES {
        let (here, client, server) = (here.clone(), rig.client.clone(), rig.server.public_key());
        dials.spawn(async move {
            let mut stream = here.dial(&client, server, LONG).await.unwrap();
            let message = Bytes::from(vec![u8::try_from(number).unwrap(); 60_000]);
            stream.writer.send(message.clone()).await.unwrap();
            assert_eq!(timeout(LONG, stream.reader.next()).await.unwrap().unwrap().unwrap(), message);
        });
    }
    while let Some(done) = dials.join_next().await {
        done.unwrap();
    }
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_leave_nothing_behind() {
    const CONNECTIONS: usize = 40;
    let rig = Rig::new().await;
    let (here, there) = (rig.node().await, rig.node().await);
    let mut listener = rig.listener(&there).await;
    // Streams, relays and connections are tasks that own their sockets.
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut before = None;
    for number in 0..CONNECTIONS {
        let (dialed, accepted) = tokio::join!(rig.dial(&here), admitted(&mut listener));
        let (mut dialed, echoing) = (dialed.unwrap(), tokio::spawn(echo(accepted)));
        dialed.writer.send(vec![7; 100_000]).await.unwrap();
        assert_eq!(timeout(LONG, dialed.reader.next()).await.unwrap().unwrap().unwrap().len(), 100_000);
        if number % 2 == 0 {
            dialed.writer.close().await;
            drop(dialed.reader);
        } else {
            drop(dialed);
        }
        timeout(LONG, echoing).await.unwrap().unwrap();
        before.get_or_insert_with(tasks);
    }
    let least = before.unwrap();
    let gone = async {
        while tasks() > least {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(
        timeout(LONG, gone).await.is_ok(),
        "{} tasks after the last connection, {least} after the first",
        tasks()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_megabytes_go_both_ways() {
    let rig = Rig::new().await;
    let (here, there) = (rig.node().await, rig.node().await);
    let mut listener = rig.listener(&there).await;
    let (dialed, accepted) = tokio::join!(rig.dial(&here), admitted(&mut listener));
    let echoing = tokio::spawn(echo(accepted));
    let mut dialed = dialed.unwrap();
    let message: Bytes = (0..5_000_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
    dialed.writer.send(message.clone()).await.unwrap();
    let back = timeout(LONG, dialed.reader.next()).await.unwrap().unwrap().unwrap();
    assert!(back == message);
    drop(dialed);
    timeout(LONG, echoing).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_with_the_smallest_buffer_receives_long_messages() {
    let rig = Rig::new().await;
    let (here, there) = (rig.node().await, rig.node().await);
    let mut listener = there.listen_with_limit(&rig.server, MIN_RECEIVE_BYTES, |_| true).await.unwrap();
    assert!(timeout(LONG, listener.announced()).await.unwrap() > 0);
    let (dialed, accepted) = tokio::join!(rig.dial(&here), admitted(&mut listener));
    let echoing = tokio::spawn(echo(accepted));
    let mut dialed = dialed.unwrap();
    let message: Bytes = (0..1_000_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
    dialed.writer.send(message.clone()).await.unwrap();
    assert!(timeout(LONG, dialed.reader.next()).await.unwrap().unwrap().unwrap() == message);
    drop(dialed);
    timeout(LONG, echoing).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_under_its_key_is_reached_again() {
    let rig = Rig::new().await;
    let here = rig.node().await;
    let before = rig.node().await;
    let mut listener = rig.listener(&before).await;
    let (dialed, accepted) = tokio::join!(rig.dial(&here), admitted(&mut listener));
    let mut dialed = dialed.unwrap();
    // No close and no unannounce, as after a kill.
    std::mem::forget(accepted);
    drop((listener, before));
    dialed.writer.send("anybody there?").await.unwrap();
    assert!(
        timeout(Duration::from_millis(300), dialed.reader.next()).await.is_err(),
        "only a timeout tells"
    );
    let after = rig.node().await;
    let mut listener = rig.listener(&after).await;
    let (dialed, accepted) = tokio::join!(rig.dial(&here), admitted(&mut listener));
    let echoing = tokio::spawn(echo(accepted));
    let mut dialed = dialed.unwrap();
    dialed.writer.send("anybody there?").await.unwrap();
    assert_eq!(dialed.reader.next().await.unwrap().unwrap(), "anybody there?");
    drop(dialed);
    timeout(LONG, echoing).await.unwrap().unwrap();
}
