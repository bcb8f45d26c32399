//! Responses to requests with a panic in their work: 500, counted, and never an ack of the events that were leased for them.
//!
//! Rendering and the store panic at texts that only unit tests know: in `store::rendered`, and at `store::inlet::PANICS`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ConfigSource, Daemon};
use crate::config::{self, ConfigOrigin, Environment, Loaded};
use crate::supervise::{Report, Stop};

/// Larger than what is read, rendered or compressed on a thread that serves connections.
const LARGE: usize = 400_000;

struct Proxy {
    http: SocketAddr,
    stop: Stop,
    running: tokio::task::JoinHandle<Report>,
}

impl Proxy {
    async fn start() -> Self {
        let environment = || Environment::from_pairs(std::iter::empty::<(String, String)>());
        let text = "exporter.scrape_expose_endpoint = \"127.0.0.1:0\"\nreceiver.receive_on_tcp_socket = false\n\
                    receiver.receive_on_unix_socket = false\n";
        let loaded = Loaded {
            settings: config::parse(text, "test", &environment()).unwrap(),
            source: ConfigOrigin {
                file: None,
                variables: Vec::new(),
            },
        };
        let config_source = ConfigSource {
            file: None,
            environment: environment(),
        };
        let daemon = Daemon::bind(loaded, config_source).await.unwrap();
        Self {
            http: daemon.addresses().http[0],
            stop: daemon.stop(),
            running: tokio::spawn(daemon.run()),
        }
    }

    /// Sends a request on a connection of its own, and returns the status and the text of the response.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: prom\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.http,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        (response[9..12].parse().unwrap(), response)
    }

    async fn push(&self, app: &str, text: &str) -> u16 {
        self.ask("PUT", &format!("/apps/{app}/metrics"), text).await.0
    }

    /// The count of panics, which a scrape of the proxy's own metrics shows.
    async fn panics(&self) -> String {
        let (status, own) = self.ask("GET", "/metrics?only=own&peek=true", "").await;
        assert_eq!(status, 200);
        let line = own.lines().find_map(|line| line.strip_prefix("exporter_proxy_http_panics_total "));
        line.unwrap().to_owned()
    }

    async fn finish(self) {
        self.stop.graceful.cancel();
        self.running.await.unwrap();
    }
}

/// A family that makes the renderer panic, after a number of bytes of another one.
fn poisoned(prefix: &str, bytes: usize) -> String {
    let mut text = bulk(bytes);
    text.push_str(prefix);
    text.push_str("panics_renderer 1\n");
    text
}

fn bulk(bytes: usize) -> String {
    let mut text = String::new();
    for n in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(&format!("bulk{{n=\"{n:08}\"}} 1\n"));
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renderer_that_panics_is_500_and_counted_and_the_next_update_heals_it() {
    for bytes in [0, LARGE] {
        let proxy = Proxy::start().await;
        assert_eq!(proxy.push("good", "good 1\n").await, 200);
        assert_eq!(proxy.push("bad", &poisoned("", bytes)).await, 200);
        for (path, panics) in [
            ("/metrics", "1"),
            ("/metrics", "2"),
            ("/metrics?app=bad", "3"),
            ("/apps/bad/metrics", "4"),
        ] {
            let (status, response) = proxy.ask("GET", path, "").await;
            assert_eq!(status, 500, "{path}: {response}");
            assert_eq!(proxy.panics().await, panics, "{path}");
        }
        assert_eq!(proxy.ask("GET", "/apps/good/metrics", "").await.0, 200, "others are not harmed");
        assert_eq!(proxy.push("bad", &bulk(bytes.max(1))).await, 200);
        let (status, response) = proxy.ask("GET", "/metrics", "").await;
        assert_eq!(status, 200);
        assert!(
            response.contains("\ngood 1\n") && response.contains("\nbulk{n=\"00000000\"} 1\n"),
            "{response}"
        );
        proxy.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_panics_acks_no_event() {
    // The first panics before events are leased, the second after: its family is merged with the proxy's own.
    for prefix in ["", "exporter_proxy_"] {
        let proxy = Proxy::start().await;
        assert_eq!(proxy.ask("GET", "/metrics", "").await.0, 200, "the scraper is known");
        assert_eq!(proxy.push("bad", &poisoned(prefix, LARGE)).await, 200);
        let posted = proxy.ask("POST", "/event?type=deploy", "").await;
        assert!(posted.0 < 300, "{posted:?}");
        for panics in ["1", "2"] {
            let (status, response) = proxy.ask("GET", "/metrics", "").await;
            assert_eq!(status, 500, "{prefix}: {response}");
            assert_eq!(proxy.panics().await, panics);
        }
        assert_eq!(proxy.push("bad", "good 1\n").await, 200);
        let event = "type=\"deploy\"";
        let (status, response) = proxy.ask("GET", "/metrics", "").await;
        assert_eq!((status, response.contains(event)), (200, true), "{prefix}: {response}");
        let (status, response) = proxy.ask("GET", "/metrics", "").await;
        assert_eq!(
            (status, response.contains(event)),
            (200, false),
            "{prefix}: it was acked once it had arrived"
        );
        proxy.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_panics_is_500_and_counted_and_what_was_there_stays() {
    let proxy = Proxy::start().await;
    assert_eq!(proxy.push("app", "good 1\n").await, 200);
    // A small text is stored on the thread that serves the connection, a large one away from it.
    for (bytes, panics) in [(0, "1"), (LARGE, "2")] {
        let text = format!("# HELP panics_store x\n{}last 1\n", bulk(bytes));
        let (status, response) = proxy.ask("PUT", "/apps/app/metrics", &text).await;
        assert_eq!(status, 500, "{response}");
        assert_eq!(proxy.panics().await, panics);
        let (status, response) = proxy.ask("GET", "/metrics?own=false", "").await;
        assert_eq!((status, response.contains("\ngood 1\n")), (200, true), "{response}");
    }
    assert_eq!(proxy.push("app", "better 1\n").await, 200);
    let (status, response) = proxy.ask("GET", "/metrics?own=false", "").await;
    assert_eq!((status, response.contains("\nbetter 1\n")), (200, true), "{response}");
    proxy.finish().await;
}
