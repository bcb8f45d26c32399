//! Log levels: a line for every connection, update, scrape and event at `debug`, messages at `trace`, refused writes at `warn`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;

use http::{Method, Request};

use crate::harness::ask;
use crate::process::{Process, config, program};

/// A proxy with this `RUST_LOG`, its HTTP address and the address of its TCP receiver.
fn start(directory: &Path, extra: &str, level: &str) -> (Process, SocketAddr, SocketAddr) {
    let file = config(directory, extra);
    let mut process = Process::spawn(program(&["run", "--config", file.to_str().unwrap()]).env("RUST_LOG", level));
    let receiving = process.line("receiving on tcp://");
    let tcp = receiving.rsplit_once("tcp://").unwrap().1.parse().unwrap();
    let serving = process.line("serving http://");
    let http = serving.rsplit_once("http://").unwrap().1.parse().unwrap();
    (process, http, tcp)
}

/// Sends one message to the TCP receiver and reads until the proxy closes.
fn send_message(tcp: SocketAddr) {
    let mut stream = TcpStream::connect(tcp).unwrap();
    stream.write_all(br#"{"back": "back 1"}"#).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

/// One push, one event, one scrape and one message.
async fn use_everything(http: SocketAddr, tcp: SocketAddr) {
    assert_eq!(ask(http, Request::put("/apps/front/metrics"), "front 1\n").await.status(), 200);
    assert_eq!(ask(http, Request::post("/event?type=deploy"), "").await.status(), 200);
    send_message(tcp);
    assert_eq!(ask(http, Request::get("/metrics"), "").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_has_a_line_for_every_connection_update_scrape_and_event() {
    let directory = tempfile::tempdir().unwrap();
    let (process, http, tcp) = start(directory.path(), "", "debug");
    use_everything(http, tcp).await;
    let log = process.stop();
    let lines_with = |words: &[&str]| log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    // Three requests and one message, each on a connection of its own.
    assert_eq!(lines_with(&["DEBUG", "connection opened", "peer="]), 4, "{log}");
    assert_eq!(lines_with(&["DEBUG", "update pushed", "front"]), 1, "{log}");
    assert_eq!(lines_with(&["DEBUG", "event accepted", "client=127.0.0.1"]), 1, "{log}");
    assert_eq!(
        lines_with(&["DEBUG", "scrape", "client=127.0.0.1", "/metrics", "bytes="]),
        1,
        "{log}"
    );
    assert_eq!(lines_with(&["TRACE"]), 0, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_has_a_line_for_every_message_and_request() {
    let directory = tempfile::tempdir().unwrap();
    let (process, http, tcp) = start(directory.path(), "", "trace");
    use_everything(http, tcp).await;
    let log = process.stop();
    let lines_with = |words: &[&str]| log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    assert!(lines_with(&["TRACE", "message", "back"]) >= 1, "{log}");
    for method in [Method::PUT, Method::POST, Method::GET] {
        assert_eq!(lines_with(&["TRACE", "request", &format!("method={method}")]), 1, "{method}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_is_logged_and_rate_limited() {
    let directory = tempfile::tempdir().unwrap();
    let (process, http, _) = start(directory.path(), "http.write_from = []\n", "info");
    for _ in 0..50 {
        assert_eq!(ask(http, Request::put("/apps/front/metrics"), "front 1\n").await.status(), 403);
    }
    let log = process.stop();
    let refusals: Vec<_> = log.lines().filter(|line| line.contains("http.write_from")).collect();
    // Five lines in ten seconds; a slow machine may need more than one such window.
    assert!((1..50).contains(&refusals.len()), "{log}");
    assert!(
        refusals
            .iter()
            .all(|line| line.contains("WARN") && line.contains("127.0.0.1") && line.contains("front")),
        "{log}"
    );
    assert!(!log.contains("DEBUG"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cross_site_write_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    let (process, http, _) = start(directory.path(), "", "info");
    let request = Request::put("/apps/front/metrics").header("origin", "http://other.example");
    assert_eq!(ask(http, request, "front 1\n").await.status(), 403);
    let log = process.stop();
    assert!(
        log.lines()
            .any(|line| line.contains("WARN") && line.contains("cross-site") && line.contains("client=127.0.0.1")),
        "{log}"
    );
}
