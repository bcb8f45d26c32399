//! Tests of both ends of a link in one process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::quic::control::{ControlReceiver, ControlSender};
use super::quic::dial::{DialedConnection, dial};
use super::quic::proof::{ProofInput, keying_material};
use super::quic::tls::Protocol;
use super::quic::transport::CLOSED;
use super::*;
use crate::config::{self, Environment};
use crate::daemon::{BridgeKeys, ConfigSource, assemble_bridge};
use crate::http::{Connection, DeliveryOutcome, HttpService, Role, Routes};
use crate::supervise::{Report, Stop};
use crate::wire::{LinkMessage, Register};

/// Longer than any step takes on a loaded machine; reaching it is a failure.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

const SECRET: SharedSecret = SharedSecret::new([1; 32]);

/// Returns the registration of a proxy on this connection.
fn register(dialed: &DialedConnection, proxy: &Identity, bridge: PublicKey) -> Register {
    register_as("a", dialed, proxy, bridge)
}

fn register_as(alias: &str, dialed: &DialedConnection, proxy: &Identity, bridge: PublicKey) -> Register {
    let input = ProofInput {
        alias,
        service: "s",
        hostname: "h",
        proxy: proxy.public_key(),
        bridge,
    };
    Register {
        alias: alias.into(),
        service: "s".into(),
        hostname: "h".into(),
        proof: input.prove(&SECRET, &keying_material(&dialed.connection).unwrap()),
    }
}

/// Dials a listener and returns both ends of the connection.
async fn linked(listener: &mut QuicListener, proxy: &Identity, to: &QuicAddress) -> (DialedConnection, AcceptedLink) {
    let (dialed, accepted) = tokio::join!(dial(proxy, to, Protocol::Register, 1), listener.next());
    (dialed.unwrap(), accepted.unwrap())
}

/// Sends a registration and returns the result of its verification.
async fn judged((dialed, accepted): (DialedConnection, AcceptedLink), register: Register, bridge: PublicKey) -> bool {
    let (send, _recv) = dialed.connection.open_bi().await.unwrap();
    ControlSender(send).send(&LinkMessage::Register(register)).await.unwrap();
    let (proxy, first) = ProxyLink::accept(accepted).await.unwrap();
    let ControlEvent::Message(LinkMessage::Register(event)) = first else {
        panic!("no registration came")
    };
    proxy.verifies(&event, &SECRET, bridge)
}

/// A bridge's listener on a free port, and its address.
async fn registration_listener(bridge: &Identity) -> (QuicListener, QuicAddress) {
    let listener = QuicListener::for_registration(bridge, "127.0.0.1:0", Arc::default()).await.unwrap();
    let address = format!("{}@{}", bridge.public_key(), listener.local_addr().unwrap());
    (listener, address.parse().unwrap())
}

#[tokio::test]
async fn a_replayed_proof_is_worth_nothing() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let (mut listener, address) = registration_listener(&bridge).await;
    let first = linked(&mut listener, &proxy, &address).await;
    let recorded = register(&first.0, &proxy, bridge.public_key());
    assert!(judged(first, recorded.clone(), bridge.public_key()).await);
    // The same message of the same proxy on another connection.
    let second = linked(&mut listener, &proxy, &address).await;
    assert!(!judged(second, recorded, bridge.public_key()).await);
    let third = linked(&mut listener, &proxy, &address).await;
    let honest = register(&third.0, &proxy, bridge.public_key());
    assert!(judged(third, honest, bridge.public_key()).await);
}

#[tokio::test]
async fn another_protocol_is_refused_in_the_handshake() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let (mut listener, address) = registration_listener(&bridge).await;
    let refused = tokio::select! {
        refused = dial(&proxy, &address, Protocol::Scrape, 0) => refused.map(|_| ()).unwrap_err(),
        _ = listener.next() => panic!("it came through"),
    };
    assert!(refused.to_string().contains("p2p.listen, usually 6556"), "{refused}");
}

#[tokio::test]
async fn what_is_no_control_message_ends_a_link() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let (mut listener, address) = registration_listener(&bridge).await;
    let (dialed, accepted) = linked(&mut listener, &proxy, &address).await;
    let (mut send, recv) = dialed.connection.open_bi().await.unwrap();
    send.write_all(&[0xff; 64]).await.unwrap();
    let (proxy, first) = ProxyLink::accept(accepted).await.unwrap();
    assert!(matches!(first, ControlEvent::Ended(end) if !end.is_graceful && end.why.contains("malformed")));
    proxy.close("malformed");
    assert!(ControlReceiver::new(recv).next().await.is_err());
}

/// A running bridge, stopped on drop. Tests play its proxies on the wire.
struct TestBridge {
    http: SocketAddr,
    address: QuicAddress,
    stop: Stop,
    running: Option<JoinHandle<Report>>,
    _folder: TempDir,
}

impl TestBridge {
    async fn start() -> Self {
        Self::with_clock(|| crate::model::Timestamp::from_millis(0)).await
    }

    async fn with_clock(clock: crate::model::Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[bridge]\nhttp_listen = \"127.0.0.1:0\"\nquic_listen = \"127.0.0.1:0\"\ntargets_file = {:?}\nrequest_timeout = \"500ms\"\n\
             [exporter]\nconcurrent_requests = 100\n",
            folder.path().join("targets.json")
        );
        let settings = config::parse(&text, "test", &Environment::default()).unwrap();
        let keys = BridgeKeys {
            identity: Identity::ephemeral().unwrap(),
            lock: None,
            secret: SECRET,
        };
        let bridge = assemble_bridge(&settings, ConfigSource::default(), keys, clock).await.unwrap();
        let addresses = bridge.addresses();
        Self {
            http: addresses.http.unwrap(),
            address: format!("{}@{}", addresses.key, addresses.quic.unwrap()).parse().unwrap(),
            stop: bridge.stop(),
            running: Some(tokio::spawn(bridge.run())),
            _folder: folder,
        }
    }

    /// Returns the status and raw body of a scrape of the proxy that [`register`] registers; 0 if the connection ended without a
    /// response.
    async fn scrape(&self) -> (u16, Vec<u8>) {
        self.get("/scrape/a/metrics").await
    }

    async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.http).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // A truncated body is detected by its length.
            let _ = stream.read_to_end(&mut answer).await;
            answer
        };
        let answer = timeout(TEST_TIMEOUT, exchange).await.expect("the bridge answers");
        let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
            assert_eq!(answer, b"", "a head is there whole or not at all");
            return (0, answer);
        };
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer[head + 4..].to_vec())
    }

    /// Registers a proxy that consists of a connection and a control stream only.
    async fn proxy(&self, identity: &Identity) -> (DialedConnection, ControlSender, ControlReceiver) {
        registered_proxy(identity, &self.address).await
    }

    /// Stops gracefully.
    async fn finish(mut self) -> Report {
        self.stop.graceful.cancel();
        self.running.take().unwrap().await.unwrap()
    }
}

async fn registered_proxy(identity: &Identity, bridge: &QuicAddress) -> (DialedConnection, ControlSender, ControlReceiver) {
    let dialed = dial(identity, bridge, Protocol::Register, quic::transport::MAX_STREAMS)
        .await
        .unwrap();
    let (send, recv) = dialed.connection.open_bi().await.unwrap();
    let (mut outbox, mut inbox) = (ControlSender(send), ControlReceiver::new(recv));
    let register = register(&dialed, identity, bridge.key);
    outbox.send(&LinkMessage::Register(register)).await.unwrap();
    let answer = timeout(TEST_TIMEOUT, inbox.next()).await.unwrap().unwrap();
    assert!(matches!(answer, LinkMessage::Registered { .. }), "{answer:?}");
    (dialed, outbox, inbox)
}

impl Drop for TestBridge {
    fn drop(&mut self) {
        self.stop.immediate.cancel();
    }
}

/// Responds to the next scrape with these bytes, and ends the stream or leaves it open.
async fn answer(dialed: &DialedConnection, bytes: Vec<u8>, ends: bool) {
    let (mut send, mut recv) = dialed.connection.accept_bi().await.unwrap();
    let mut request = [0; 4];
    recv.read_exact(&mut request).await.unwrap();
    assert_eq!(&request, b"GET ");
    // The bridge may reset the stream before all bytes are written.
    let _ = send.write_all(&bytes).await;
    if ends {
        let _ = send.finish();
    }
    // Waits until the bridge has read or reset the stream.
    let _ = timeout(TEST_TIMEOUT, send.stopped()).await.expect("the bridge is done with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_registered_proxy_answers_the_bridge_says_502_and_goes_on() {
    let bridge = TestBridge::start().await;
    let (dialed, _outbox, _inbox) = bridge.proxy(&Identity::ephemeral().unwrap()).await;
    let header = |bytes: usize| [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'x'; bytes]].concat();
    for (what, bytes, ends) in [
        ("garbage", vec![0xff; 100_000], true),
        ("nothing at all", Vec::new(), true),
        ("silence", Vec::new(), false),
        ("half a head", header(10), true),
        ("half a head and silence", header(10), false),
        ("a head without end", header(10 << 20), false),
        ("another protocol", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), true),
        (
            "an impossible length",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_vec(),
            true,
        ),
        (
            "two lengths",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx".to_vec(),
            true,
        ),
    ] {
        let (outcome, ()) = tokio::join!(bridge.scrape(), answer(&dialed, bytes, ends));
        assert_eq!(outcome, (502, b"Upstream unavailable".to_vec()), "{what}");
    }
    for (what, bytes) in [
        (
            "too short a body",
            &b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\nsome 1\n"[..],
        ),
        (
            "a body that is no chunks",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\nsome 1\n\r\nxyz\r\n",
        ),
    ] {
        let (outcome, ()) = tokio::join!(bridge.scrape(), answer(&dialed, bytes.to_vec(), true));
        // The received part may be forwarded, but must not look complete.
        assert!(outcome.0 != 200 || !outcome.1.ends_with(b"\r\n0\r\n\r\n"), "{what}: {outcome:?}");
        assert!(outcome.1.len() < 100, "{what}: {outcome:?}");
    }
    // The link still serves valid responses.
    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsome 1\n".to_vec();
    let (outcome, ()) = tokio::join!(bridge.scrape(), answer(&dialed, whole, true));
    assert_eq!(outcome, (200, b"some 1\n".to_vec()));
    assert_eq!(dialed.connection.close_reason(), None);
}

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsome 1\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_registers_another_alias_leaves_its_earlier_one() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let (dialed, mut outbox, mut inbox) = bridge.proxy(&identity).await;
    let (outcome, ()) = tokio::join!(bridge.scrape(), answer(&dialed, WHOLE.to_vec(), true));
    assert_eq!(outcome.0, 200);
    // Two registrations within half a second end the link.
    tokio::time::sleep(Duration::from_millis(550)).await;
    let renamed = register_as("b", &dialed, &identity, bridge.address.key);
    outbox.send(&LinkMessage::Register(renamed)).await.unwrap();
    let answered = timeout(TEST_TIMEOUT, inbox.next()).await.unwrap().unwrap();
    assert_eq!(answered, LinkMessage::Registered { updated: true });
    assert_eq!(bridge.scrape().await, (404, b"Unknown alias".to_vec()));
    let (outcome, ()) = tokio::join!(bridge.get("/scrape/b/metrics"), answer(&dialed, WHOLE.to_vec(), true));
    assert_eq!(outcome.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_wall_clock_expires_no_alias() {
    static NOW: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let clock = || crate::model::Timestamp::from_millis(NOW.load(std::sync::atomic::Ordering::SeqCst));
    let bridge = TestBridge::with_clock(clock).await;
    let (dialed, _outbox, _inbox) = bridge.proxy(&Identity::ephemeral().unwrap()).await;
    for hours in [4, -4] {
        NOW.store(hours * 3_600_000, std::sync::atomic::Ordering::SeqCst);
        let (outcome, ()) = tokio::join!(bridge.scrape(), answer(&dialed, WHOLE.to_vec(), true));
        assert_eq!(outcome.0, 200, "{hours}");
        let listed = bridge.get("/sd?apps=false").await.1;
        assert!(String::from_utf8_lossy(&listed).contains("/scrape/a/metrics"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_registers_all_the_time_is_sent_away() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let (dialed, mut outbox, _inbox) = bridge.proxy(&identity).await;
    let message = LinkMessage::Register(register(&dialed, &identity, bridge.address.key));
    while outbox.send(&message).await.is_ok() {}
    let why = timeout(TEST_TIMEOUT, dialed.connection.closed()).await.unwrap();
    assert!(quic::transport::link_end(&why).why.contains("within half a second"), "{why}");
    // The proxy may reconnect.
    bridge.proxy(&identity).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_after_the_announced_end_of_a_link_ends_it() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let (dialed, mut outbox, _inbox) = bridge.proxy(&identity).await;
    outbox.send(&LinkMessage::Goodbye("stopping".to_owned())).await.unwrap();
    // Two registrations within half a second end the link anyway.
    tokio::time::sleep(Duration::from_millis(550)).await;
    let other = register_as("b", &dialed, &identity, bridge.address.key);
    outbox.send(&LinkMessage::Register(other)).await.unwrap();
    let why = timeout(TEST_TIMEOUT, dialed.connection.closed()).await.unwrap();
    let why = quic::transport::link_end(&why).why;
    assert!(why.contains("whose end was announced"), "{why}");
    assert_eq!(bridge.scrape().await.0, 502, "its alias stays, without a link");
    assert_eq!(bridge.get("/scrape/b/metrics").await.0, 404);
}

/// Returns the first packets of `count` handshakes that are never completed, each with a socket for sending it.
async fn first_packets(count: usize, to: &QuicAddress, protocol: Protocol) -> Vec<(UdpSocket, Vec<u8>)> {
    let mut halves = Vec::new();
    for _ in 0..count {
        // A sink of its own for each, because dialing sends a close when it is dropped.
        let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let place = format!("{}@{}", to.key, sink.local_addr().unwrap()).parse::<QuicAddress>().unwrap();
        let identity = Identity::ephemeral().unwrap();
        let mut packet = vec![0; 2_048];
        let length = tokio::select! {
            received = sink.recv_from(&mut packet) => received.unwrap().0,
            _ = dial(&identity, &place, protocol, 1) => panic!("no peer answers"),
        };
        packet.truncate(length);
        halves.push((UdpSocket::bind("127.0.0.1:0").await.unwrap(), packet));
    }
    halves
}

#[tokio::test(flavor = "multi_thread")]
async fn half_handshakes_keep_no_client_out() {
    // More than the limit on concurrent handshakes.
    const HALVES: usize = 600;
    let bridge = TestBridge::start().await;
    let halves = first_packets(HALVES, &bridge.address, Protocol::Register).await;
    for _ in 0..3 {
        for (socket, packet) in &halves {
            socket.send_to(packet, &*bridge.address.host_port).await.unwrap();
        }
        bridge.proxy(&Identity::ephemeral().unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_links_keep_no_proxy_out() {
    const MAX_UNREGISTERED: usize = 1_024;
    let bridge = TestBridge::start().await;
    let (identity, to) = (Identity::ephemeral().unwrap(), &bridge.address);
    let address = to.host_port.parse().unwrap();
    let endpoint = quic::transport::dialing_endpoint(&identity, address).unwrap();
    let mut silent = Vec::new();
    for _ in 0..MAX_UNREGISTERED + 50 {
        let (crypto, _) = quic::tls::client_config(&identity, to.key, Protocol::Register).unwrap();
        let config = quic::transport::client_config(crypto, 1, Protocol::Register);
        let connecting = endpoint.connect_with(config, address, quic::transport::SERVER_NAME).unwrap();
        silent.push(timeout(TEST_TIMEOUT, connecting).await.unwrap().unwrap());
    }
    let open = || silent.iter().filter(|link| link.close_reason().is_none()).count();
    let bounded = async {
        while open() > MAX_UNREGISTERED {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Less than the time that a link may be silent.
    timeout(Duration::from_secs(8), bounded).await.expect("the oldest are closed");
    bridge.proxy(&Identity::ephemeral().unwrap()).await;
}

#[tokio::test]
async fn a_link_has_a_small_window_until_its_proxy_has_registered() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let (mut listener, address) = registration_listener(&bridge).await;
    let (dialed, accepted) = linked(&mut listener, &proxy, &address).await;
    let (mut send, _recv) = dialed.connection.open_bi().await.unwrap();
    let flood = vec![0; 1 << 20];
    let written = send.write(&flood).await.unwrap();
    assert!(written <= 64 << 10, "{written}");
    quic::transport::widen_window(&accepted.connection);
    let more = timeout(TEST_TIMEOUT, send.write_all(&flood[..flood.len() - written])).await;
    more.expect("the window is wider now").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_silent_peer_nor_a_vanished_proxy_delays_a_stop() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let _silent = dial(&identity, &bridge.address, Protocol::Register, 1).await.unwrap();
    let half = dial(&identity, &bridge.address, Protocol::Register, 1).await.unwrap();
    let (mut send, _recv) = half.connection.open_bi().await.unwrap();
    send.write_all(&[0]).await.unwrap();
    let (present, _outbox, mut inbox) = bridge.proxy(&Identity::ephemeral().unwrap()).await;
    // The tasks of this one end without a packet, as those of a machine that loses its power.
    let elsewhere = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (identity, address) = (Identity::ephemeral().unwrap(), bridge.address.clone());
    let vanished = elsewhere.spawn(async move { registered_proxy(&identity, &address).await });
    let _vanished = timeout(TEST_TIMEOUT, vanished).await.unwrap().unwrap();
    elsewhere.shutdown_background();
    // The other one has taken its alias.
    let lost = timeout(TEST_TIMEOUT, inbox.next()).await.unwrap().unwrap();
    assert!(matches!(lost, LinkMessage::AliasLost(_)), "{lost:?}");
    let (report, message) = tokio::join!(bridge.finish(), timeout(TEST_TIMEOUT, inbox.next()));
    assert!(report.is_clean(), "{report}");
    assert_eq!(message.unwrap().unwrap(), LinkMessage::Goodbye("the bridge is stopping".to_owned()));
    drop(present);
}

/// The first bits of a QUIC packet that asks the client to show that it receives packets at its address (RFC 9000, 17.2.5).
const RETRY_PACKET: u8 = 0xf0;

#[tokio::test(flavor = "multi_thread")]
async fn an_unverified_address_gets_one_small_packet_and_blocks_no_address() {
    let bridge = TestBridge::start().await;
    for protocol in [Protocol::Register, Protocol::Scrape] {
        for (socket, packet) in first_packets(15, &bridge.address, protocol).await {
            socket.send_to(&packet, &*bridge.address.host_port).await.unwrap();
            let mut reply = vec![0; 2_048];
            let received = timeout(TEST_TIMEOUT, socket.recv_from(&mut reply)).await;
            let (length, _) = received.expect("the listener responds").unwrap();
            assert_eq!(
                reply[0] & RETRY_PACKET,
                RETRY_PACKET,
                "nothing else is sent to an unverified address"
            );
            assert!(length < packet.len() / 4, "{length} bytes for {}", packet.len());
        }
    }
    bridge.proxy(&Identity::ephemeral().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_handshakes_do_not_lock_out_others_of_the_same_address() {
    let bridge = TestBridge::start().await;
    let failing = Identity::ephemeral().unwrap();
    for _ in 0..15 {
        let outcome = dial(&failing, &bridge.address, Protocol::Scrape, 1).await;
        let why = outcome.map(|_| ()).unwrap_err().to_string();
        assert!(why.contains("not a proxy's port"), "{why}");
    }
    bridge.proxy(&Identity::ephemeral().unwrap()).await;
}

/// Returns a service with constant metrics.
fn some_metrics() -> HttpService {
    metrics_service(|| async { Ok::<_, String>("some 1\n".to_owned()) })
}

/// Starts a client of a fake bridge and subscribes to its events.
async fn lured(to: &QuicAddress, service: HttpService) -> (RunningClient, tokio::sync::broadcast::Receiver<LinkEvent>) {
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![LinkAddress::Quic(to.clone())],
        registration: Registration {
            alias: Alias::new("a").unwrap(),
            service: "s".into(),
            hostname: "h".into(),
            secret: SECRET,
            interval: REGISTER_INTERVAL,
        },
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let client = Client::bind(settings, service, LinkEvents::default()).await.unwrap();
    let events = client.events();
    (client.start(), events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_a_scraper_goes_on_without_its_control_stream_until_the_stop() {
    let scraper = Identity::ephemeral().unwrap();
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: Vec::new(),
        registration: Registration {
            alias: Alias::new("a").unwrap(),
            service: "s".into(),
            hostname: "h".into(),
            secret: SECRET,
            interval: REGISTER_INTERVAL,
        },
        listen: Some("127.0.0.1:0".to_owned()),
        allow: vec![scraper.public_key()],
        bootstrap: Vec::new(),
    };
    let client = Client::bind(settings, some_metrics(), LinkEvents::default()).await.unwrap();
    let target: QuicAddress = format!("{}@{}", client.public_key(), client.listen_addr().unwrap())
        .parse()
        .unwrap();
    let (mut events, stop) = (client.events(), tokio_util::sync::CancellationToken::new());
    let running = tokio::spawn(client.run(stop.clone()));
    for malformed in [false, true] {
        let dialed = dial(&scraper, &target, Protocol::Scrape, 0).await.unwrap();
        let (mut send, _recv) = dialed.connection.open_bi().await.unwrap();
        if malformed {
            send.write_all(&[0xff; 64]).await.unwrap();
        } else {
            send.finish().unwrap();
        }
        // The stream is known to the other end, and read, once its end or its refusal was acknowledged.
        let _ = timeout(TEST_TIMEOUT, send.stopped()).await.unwrap();
        let (link, _messages) = Link::new(dialed.connection.clone(), target.key, PeerState::default(), Arc::default());
        for _ in 0..2 {
            let request = Request::get("/metrics").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
            let answer = link.scrape(request, TEST_TIMEOUT).await.unwrap();
            assert_eq!(answer.response.status(), 200);
        }
        if malformed {
            stop.cancel();
            let why = timeout(TEST_TIMEOUT, dialed.connection.closed()).await.unwrap();
            assert_eq!(quic::transport::link_end(&why).why, "closed by the peer: stopping");
        }
    }
    timeout(TEST_TIMEOUT, running).await.unwrap().unwrap();
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, LinkEvent::Lost { .. }), "{event:?}");
    }
}

/// A fake bridge that consists of a connection and a control stream only.
struct RawBridge {
    accepted: AcceptedLink,
    outbox: ControlSender,
    _inbox: ControlReceiver,
}

impl RawBridge {
    /// Accepts the connection and the registration of a client.
    async fn accept(listener: &mut QuicListener) -> Self {
        let accepted = timeout(TEST_TIMEOUT, listener.next()).await.unwrap().unwrap();
        let (send, recv) = timeout(TEST_TIMEOUT, accepted.connection.accept_bi()).await.unwrap().unwrap();
        let (mut outbox, mut inbox) = (ControlSender(send), ControlReceiver::new(recv));
        let register = timeout(TEST_TIMEOUT, inbox.next()).await.unwrap().unwrap();
        assert!(matches!(register, LinkMessage::Register(_)), "{register:?}");
        outbox.send(&LinkMessage::Registered { updated: true }).await.unwrap();
        Self {
            accepted,
            outbox,
            _inbox: inbox,
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.outbox.0.write_all(bytes).await.unwrap();
    }
}

async fn lost(events: &mut tokio::sync::broadcast::Receiver<LinkEvent>) -> String {
    loop {
        match timeout(TEST_TIMEOUT, events.recv()).await.unwrap().unwrap() {
            LinkEvent::Lost { why, .. } => return why,
            LinkEvent::RegistrationRefused { .. } => panic!("it was not refused"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_floods_its_proxy_with_control_messages_gets_nowhere() {
    let bridge = Identity::ephemeral().unwrap();
    let (mut listener, address) = registration_listener(&bridge).await;
    let (_client, mut events) = lured(&address, some_metrics()).await;

    // Reports of deliveries that do not exist are ignored, and scrapes go on.
    let mut raw = RawBridge::accept(&mut listener).await;
    let (connection, key) = (raw.accepted.connection.clone(), raw.accepted.key);
    let (link, _messages) = Link::new(connection, key, PeerState::default(), Arc::default());
    let flood = (0..20_000).flat_map(|n| LinkMessage::Delivered(n).encode()).collect::<Vec<u8>>();
    let scrapes = async {
        for _ in 0..5 {
            let request = Request::get("/metrics").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
            let answer = link.scrape(request, TEST_TIMEOUT).await.unwrap();
            assert_eq!(answer.response.status(), 200);
        }
    };
    tokio::join!(raw.send(&flood), scrapes);

    // An unexpected acceptance, a message of the wrong direction, and malformed bytes: each ends the link.
    for (message, outcome) in [
        (
            LinkMessage::Registered { updated: true }.encode(),
            "a response without a registration",
        ),
        (
            LinkMessage::Register(Register {
                alias: "a".into(),
                service: "s".into(),
                hostname: "h".into(),
                proof: vec![1],
            })
            .encode(),
            "a registration from a bridge",
        ),
        (vec![0xff; 64], "malformed"),
        (vec![0, 0, 0, 0, 0xff, 0xff, 0xff, 0], "more than"),
    ] {
        raw.send(&message).await;
        let why = lost(&mut events).await;
        assert!(why.contains(outcome), "{outcome}: {why}");
        raw = RawBridge::accept(&mut listener).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_closes_every_link_is_dialled_ever_more_rarely() {
    let bridge = Identity::ephemeral().unwrap();
    let (mut listener, address) = registration_listener(&bridge).await;
    let (_client, _events) = lured(&address, some_metrics()).await;
    let mut closed = Vec::new();
    for _ in 0..4 {
        let raw = RawBridge::accept(&mut listener).await;
        raw.accepted.connection.close(CLOSED, b"go away");
        closed.push(Instant::now());
    }
    let last = closed[3] - closed[2];
    // The third delay is at least 1 s with any jitter. If each link counted as a success, it would be at most half a second.
    assert!(last >= Duration::from_millis(900), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_asks_and_vanishes_again_and_again_gets_its_answers_given_back() {
    let bridge = Identity::ephemeral().unwrap();
    let (mut listener, address) = registration_listener(&bridge).await;
    let (sender, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
    let metrics = move |axum::Extension(connection): axum::Extension<Connection>| {
        let sender = sender.clone();
        connection.on_delivery(move |outcome| {
            // The test may be over.
            let _ = sender.send(outcome);
        });
        async { "some 1\n" }
    };
    let routes = Routes::new().route("/metrics", Role::Scrape, axum::routing::get(metrics));
    let (_client, _events) = lured(&address, HttpService::new(routes, &[], Arc::default(), Arc::default())).await;
    let mut asked = 0;
    // Opens links full of unacknowledged responses until there are more than the proxy keeps.
    while asked <= quic::bridge_session::MAX_ORPHANS {
        let raw = RawBridge::accept(&mut listener).await;
        let mut open = Vec::new();
        for _ in 0..quic::transport::MAX_STREAMS {
            asked += 1;
            let (mut send, mut recv) = raw.accepted.connection.open_bi().await.unwrap();
            let request = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nexporter-proxy-scrape: {asked:x}\r\n\r\n");
            send.write_all(request.as_bytes()).await.unwrap();
            // Reads the whole response: one that was not completely written would count as unacked immediately.
            let mut answer = Vec::new();
            while !answer.ends_with(b"some 1\n") {
                let chunk = timeout(TEST_TIMEOUT, recv.read_chunk(1024, true)).await.unwrap().unwrap();
                answer.extend_from_slice(&chunk.expect("the answer goes on").bytes);
            }
            assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
            open.push((send, recv));
        }
        assert!(outcomes.try_recv().is_err(), "a lost link alone decides nothing");
        raw.accepted.connection.close(CLOSED, b"gone");
    }
    for _ in 0..asked {
        assert!(matches!(
            timeout(TEST_TIMEOUT, outcomes.recv()).await.unwrap(),
            Some(DeliveryOutcome::Unacked)
        ));
    }
}
