#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::bus::Notification;
use crate::model::{AppName, Timestamp, Topic};
use crate::store::{EventOptions, Inlet, Limits, Mode, open};
use crate::telemetry::Telemetry;
use crate::wire::monitoring::{HELLO, Inflater, MAX_FRAME_BYTES, MAX_TEXT_BYTES, client_hello, split};

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    inlet: Inlet,
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
    parts: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Server {
    async fn start(subscriber_buffer: usize, topics: &[Topic]) -> Self {
        let (inlet, view) = open(Limits::default(), Mode::Raw, EventOptions::default());
        let (telemetry, stop) = (Arc::<Telemetry>::default(), CancellationToken::new());
        let settings = Settings {
            subscriber_buffer,
            topics: topics.iter().copied().collect(),
        };
        let stream = Stream::new(
            settings,
            "me".into(),
            "127.0.0.1:6555".into(),
            usize::MAX,
            view,
            Arc::clone(&telemetry),
        );
        let listener = Listener::tcp("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let parts: Vec<Box<dyn Service>> = vec![Box::new(stream.publisher()), Box::new(stream.service(listener))];
        let parts = parts.into_iter().map(|part| tokio::spawn(part.run(stop.clone()))).collect();
        Self {
            address,
            inlet,
            telemetry,
            stop,
            parts,
        }
    }

    async fn has_clients(&self, clients: i64) {
        let reached = async {
            while self.telemetry.stream_subscribers.get() != clients {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap();
    }

    fn forget(&self, app: &str) {
        let app = AppName::new(app).unwrap();
        self.inlet.bus().publish(&Notification::Forgotten {
            app,
            at: Timestamp::from_millis(0),
        });
    }
}

struct Client {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        Self::asking(server, Topics::ALL).await
    }

    async fn asking(server: &Server, topics: Topics) -> Self {
        Self::greeted(server, &client_hello(topics)).await
    }

    async fn greeted(server: &Server, hello: &[u8]) -> Self {
        let mut client = Self::knock(server, hello).await;
        assert_eq!(client.frame().await.unwrap(), br#"{"version":3}"#);
        client
    }

    async fn knock(server: &Server, hello: &[u8]) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(hello).await.unwrap();
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    async fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = split(&mut self.buffer, MAX_FRAME_BYTES).unwrap() {
                return Some(frame.to_vec());
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.unwrap();
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn message(&mut self) -> Option<Value> {
        let (frame, mut text) = (self.frame().await?, Vec::new());
        Inflater::default().open(&frame, MAX_TEXT_BYTES, &mut text).unwrap();
        assert_eq!(text.last(), Some(&b'\n'));
        Some(serde_json::from_slice(&text).unwrap())
    }
}

#[tokio::test]
async fn every_client_gets_every_message_in_order_and_the_same_bytes() {
    let server = Server::start(10_000, &Topic::ALL).await;
    let (mut a, mut b) = (Client::connect(&server).await, Client::connect(&server).await);
    server.has_clients(2).await;
    for n in 0..3_000 {
        server.forget(&n.to_string());
    }
    for n in 0_u64..3_000 {
        let message = a.message().await.unwrap();
        assert_eq!(message["event"]["app_expired"]["app"], n.to_string());
        assert_eq!((&message["event"]["seq"], &message["event"]["peer"]), (&n.into(), &"me".into()));
        assert_eq!(
            message.as_object().unwrap().len(),
            1,
            "the original client allows no key beside the event"
        );
    }
    let mut c = Client::connect(&server).await;
    server.has_clients(3).await;
    server.forget("last");
    for _ in 0..3_000 {
        b.frame().await.unwrap();
    }
    let last = a.frame().await.unwrap();
    assert_eq!((Some(&last), Some(&last)), (b.frame().await.as_ref(), c.frame().await.as_ref()));
    assert_eq!(server.telemetry.stream_dropped_total.get(), 0);
}

#[tokio::test]
async fn only_the_selected_topics_are_followed_and_only_while_somebody_listens() {
    let server = Server::start(10, &[Topic::AppExpired]).await;
    assert!(!server.inlet.bus().has_subscribers(Topic::AppExpired));
    for _ in 0..2 {
        let client = Client::connect(&server).await;
        server.has_clients(1).await;
        assert!(server.inlet.bus().has_subscribers(Topic::AppExpired) && !server.inlet.bus().has_subscribers(Topic::AppUpdate));
        drop(client);
        server.has_clients(0).await;
        let forgotten = async {
            while server.inlet.bus().has_subscribers(Topic::AppExpired) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, forgotten).await.unwrap();
    }
}

/// Publishes one change of each topic; the last one has the topic that every client in these tests receives.
fn tell_of_everything(server: &Server) {
    let app = AppName::new("a").unwrap();
    let at = Timestamp::from_millis(0);
    let heard = |topic, event: &'static str| Notification::Relayed {
        topic,
        event: event.into(),
    };
    server.inlet.bus().publish(&Notification::Forgotten { app: app.clone(), at });
    server.inlet.bus().publish(&Notification::Polled {
        app,
        up: true,
        took: Duration::ZERO,
        at,
    });
    server.inlet.bus().publish(&Notification::OneShot {
        metric: "m".into(),
        labels: [].into(),
        value: 1.0,
        at,
    });
    server.inlet.bus().publish(&heard(Topic::AppUpdate, "{\"app_update\":{}}"));
    server.inlet.bus().publish(&heard(Topic::Bitswap, "{\"bitswap_message\":{}}"));
}

/// The kinds of the messages up to the next Bitswap message.
async fn kinds(client: &mut Client) -> Vec<String> {
    let mut kinds = Vec::new();
    loop {
        let message = client.message().await.unwrap();
        let event = message["event"].as_object().unwrap();
        let kind = event
            .keys()
            .find(|key| !["timestamp", "peer", "seq", "monitor"].contains(&key.as_str()));
        kinds.push(kind.unwrap().clone());
        if kinds.last().unwrap() == "bitswap_message" {
            return kinds;
        }
    }
}

#[tokio::test]
async fn a_client_gets_the_kinds_that_it_asks_for_and_without_asking_what_the_originals_can_read() {
    let server = Server::start(100, &Topic::ALL).await;
    let mut original = Client::greeted(&server, HELLO).await;
    server.has_clients(1).await;
    assert!(server.inlet.bus().has_subscribers(Topic::Bitswap) && !server.inlet.bus().has_subscribers(Topic::AppUpdate));
    tell_of_everything(&server);
    assert_eq!(kinds(&mut original).await, ["bitswap_message"]);
    let mut all = Client::connect(&server).await;
    let mut some = Client::asking(&server, [Topic::Poll, Topic::Bitswap].into_iter().collect()).await;
    server.has_clients(3).await;
    tell_of_everything(&server);
    assert_eq!(
        kinds(&mut all).await,
        ["app_expired", "poll", "one_shot", "app_update", "bitswap_message"]
    );
    assert_eq!(kinds(&mut some).await, ["poll", "bitswap_message"]);
    assert_eq!(kinds(&mut original).await, ["bitswap_message"]);
    drop(all);
    server.has_clients(2).await;
    assert!(server.inlet.bus().has_subscribers(Topic::Poll) && !server.inlet.bus().has_subscribers(Topic::OneShot));
    assert_eq!(server.telemetry.stream_dropped_total.get(), 0);
}

#[tokio::test]
async fn a_client_cannot_ask_for_what_the_stream_does_not_carry() {
    let server = Server::start(100, &[Topic::Poll, Topic::Bitswap]).await;
    let mut all = Client::connect(&server).await;
    server.has_clients(1).await;
    assert!(!server.inlet.bus().has_subscribers(Topic::OneShot));
    tell_of_everything(&server);
    assert_eq!(kinds(&mut all).await, ["poll", "bitswap_message"]);
}

#[tokio::test]
async fn a_wrong_handshake_ends_the_connection_without_a_word() {
    let server = Server::start(10, &Topic::ALL).await;
    for hello in [
        &b"\0\0\0\x02{}"[..],
        b"\0\0\0\0",
        b"\0\0\0\x0d{\"version\":2}",
        b"\0\0\0\x03\"3\"",
        b"\xff\xff\xff\xff",
    ] {
        let mut client = Client::knock(&server, hello).await;
        let frames = (client.frame().await, client.frame().await);
        assert_eq!(frames.0.unwrap_or_else(|| br#"{"version":3}"#.to_vec()), br#"{"version":3}"#);
        assert_eq!(frames.1, None, "{hello:?}");
    }
    let source = format!("stream: {}", server.address);
    assert_eq!(server.telemetry.rejected_total.with([&source, "handshake"]).get(), 5);
    assert_eq!(server.telemetry.stream_subscribers.get(), 0);
}

#[tokio::test]
async fn a_request_of_http_is_sent_to_the_port_of_http() {
    let server = Server::start(10, &Topic::ALL).await;
    let mut client = Client::knock(&server, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut response = String::new();
    client.stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
    assert!(
        body.contains("this is an HTTP request at the monitoring stream; HTTP is served at 127.0.0.1:6555"),
        "{body}"
    );
    drop(client);
    let source = format!("stream: {}", server.address);
    let counted = async {
        while server.telemetry.rejected_total.with([&source, "handshake"]).get() != 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, counted).await.unwrap();

    // A client that waits for the handshake of the server gets it.
    let mut silent = Client::knock(&server, b"").await;
    assert_eq!(silent.frame().await.unwrap(), br#"{"version":3}"#);
}

#[tokio::test]
async fn silent_strangers_block_nobody() {
    let server = Server::start(10, &Topic::ALL).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_SUBSCRIBERS {
        silent.push(Client::knock(&server, b"\0\0").await);
    }
    let mut client = Client::connect(&server).await;
    server.has_clients(1).await;
    server.forget("a");
    assert!(client.message().await.is_some());
}

#[tokio::test]
async fn who_does_not_read_loses_its_own_messages_alone() {
    let server = Server::start(50, &Topic::ALL).await;
    let mut good = Client::connect(&server).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stalled = Client {
        stream: socket.connect(server.address).await.unwrap(),
        buffer: BytesMut::new(),
    };
    stalled.stream.write_all(&client_hello(Topics::ALL)).await.unwrap();
    stalled.frame().await.unwrap();
    server.has_clients(2).await;
    // Noise that does not compress, so that the kernel's buffers fill up.
    let mut state = 1_u64;
    let noise = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + u8::try_from((state >> 33) % 90).unwrap()).to_string()
    };
    let text: String = (0..40_000).map(noise).collect();
    for n in 0_u64..400 {
        let event = serde_json::json!({"n": n, "text": text}).to_string();
        server.inlet.bus().publish(&Notification::Relayed {
            topic: Topic::Bitswap,
            event: event.into(),
        });
        assert_eq!(good.message().await.unwrap()["event"]["n"], n);
    }
    let dropped = server.telemetry.stream_dropped_total.get();
    assert!(dropped > 0);
    server.forget("a");
    assert_eq!(good.message().await.unwrap()["event"]["seq"], 400);
    // What the stalled one has is the beginning, without a gap.
    let held = 401 - server.telemetry.stream_dropped_total.get();
    for seq in 0..held {
        assert_eq!(stalled.message().await.unwrap()["event"]["seq"], seq);
    }
}

#[tokio::test]
async fn what_the_client_says_is_ignored_and_a_stop_delivers_what_is_queued() {
    let server = Server::start(5_000, &Topic::ALL).await;
    let mut client = Client::connect(&server).await;
    server.has_clients(1).await;
    client.stream.write_all(&[b'x'; 100_000]).await.unwrap();
    server.forget("first");
    assert!(client.message().await.is_some());
    for n in 0..2_000 {
        server.forget(&n.to_string());
    }
    while client.message().await.unwrap()["event"]["app_expired"]["app"] != "1000" {}
    server.stop.cancel();
    let mut rest = 0;
    while client.message().await.is_some() {
        rest += 1;
    }
    assert_eq!(rest, 999);
    for part in server.parts {
        timeout(PATIENCE, part).await.unwrap().unwrap().unwrap();
    }
}
