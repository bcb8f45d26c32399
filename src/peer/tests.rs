//! Tests of both ends of a link in one process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bridge;
mod handshakes;
mod proxy;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::quic::control::{ControlReceiver, ControlSender};
use super::quic::dial::{DialedConnection, dial};
use super::quic::proof::{ProofInput, keying_material};
use super::quic::tls::Protocol;
use super::*;
use crate::config::{self, Environment};
use crate::daemon::{BridgeKeys, ConfigSource, assemble_bridge};
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
