//! The status page and its JSON: what is wrong, who was refused, what is pending, who scrapes, and the stream that keeps it current.

use std::time::{Duration, Instant};

use http::Request;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::harness::{Proxy, until};

async fn page(proxy: &Proxy, path: &str) -> String {
    let answer = proxy.ask(Request::get(path).header("accept", "text/html,*/*;q=0.8")).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    String::from_utf8(answer.body().to_vec()).unwrap()
}

async fn status(proxy: &Proxy) -> Value {
    serde_json::from_str(&proxy.text("/api/status").await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_come_first_and_refused_updates_are_listed() {
    let proxy = Proxy::start().await;
    proxy.send(Request::put("/apps/healthy/metrics"), "good 1\n").await;
    let refused = proxy.send(Request::put("/apps/broken/metrics"), "up 1\nno value here\n").await;
    assert_eq!(refused.status(), 400);
    proxy.send(Request::put("/apps/gone/metrics"), "m 1\n").await;
    proxy.ask(Request::delete("/apps/gone")).await;
    // A receiver keeps the lines that are right, and the app has a fault.
    proxy.tcp_say(br#"{"zfaulty":"a 1\nb\n"}"#).await;

    let shown = page(&proxy, "/").await;
    let (faulty, healthy) = (shown.find(">zfaulty<").unwrap(), shown.find(">healthy<").unwrap());
    assert!(faulty < healthy, "{shown}");
    let found = page(&proxy, "/?q=HEAL&state=ok").await;
    assert!(found.contains(">healthy<") && !found.contains(">zfaulty<"), "{found}");
    // A form sends the parameters that were not chosen without a value.
    assert!(page(&proxy, "/?q=heal&state=&sort=").await.contains(">healthy<"));
    assert_eq!(proxy.get("/?sort=color").await.status(), 400);

    let status = status(&proxy).await;
    assert_eq!(
        (&status["apps"]["total"], &status["apps"]["fault"]),
        (&2.into(), &1.into()),
        "{status}"
    );
    assert_eq!(status["faults"][0]["name"], "zfaulty");
    let push = status["refused"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["source"] == "http")
        .unwrap();
    assert!(push["detail"].as_str().unwrap().contains("line 2"), "{push}");
    assert_eq!((&push["client"], &push["count"]), (&"127.0.0.1".into(), &1.into()));
    assert_eq!(
        (&status["removed"][0]["app"], &status["removed"][0]["reason"]),
        (&"gone".into(), &"deleted".into())
    );
    assert!(shown.contains("deleted by 127.0.0.1") && shown.contains("line 2"), "{shown}");
    let limit = status["limits"]
        .as_array()
        .unwrap()
        .iter()
        .find(|limit| limit["key"] == "store.max_apps")
        .unwrap();
    assert_eq!(limit["used"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapers_and_their_pending_events_are_listed() {
    let proxy = Proxy::with("[events]\nenabled = true\n").await;
    let scrape = || Request::get("/metrics?app=a").header("user-agent", "Prometheus/3.5.0");
    proxy.send(Request::put("/apps/a/metrics"), "a 1\n").await;
    proxy.ask(scrape()).await;
    proxy.ask(Request::get("/metrics").header("user-agent", "Prometheus/3.5.0")).await;
    proxy.send(Request::post("/event?job=backup"), "").await;
    let status = status(&proxy).await;
    let scrapers = status["scrapers"].as_array().unwrap();
    let one = scrapers.iter().find(|scraper| scraper["request"] == "/metrics?app=a").unwrap();
    assert_eq!(
        (&one["agent"], &one["encoding"], &one["count"]),
        (&"Prometheus/3.5.0".into(), &"identity".into(), &1.into())
    );
    let events = &status["events"]["scrapers"][0];
    assert_eq!(
        (&events["pending"], &events["pending_labels"][0]),
        (&1.into(), &"job=\"backup\"".into()),
        "{status}"
    );
    let shown = page(&proxy, "/").await;
    assert!(shown.contains("<code>job=&quot;backup&quot;</code>"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_a_page_for_browsers_and_text_for_others() {
    let proxy = Proxy::start().await;
    proxy
        .send(Request::put("/apps/a%2Fb/metrics"), "# HELP m <b>bold</b>\n# TYPE m gauge\nm 1\n")
        .await;
    let shown = page(&proxy, "/apps/a%2Fb").await;
    assert!(
        shown.contains("<h1>a/b</h1>") && shown.contains("&lt;b&gt;bold") && shown.contains("href=\"a%2Fb/metrics\""),
        "{shown}"
    );
    assert!(proxy.text("/apps/a%2Fb").await.starts_with("App Name:     a/b\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_says_when_something_has_changed_and_does_not_delay_a_stop() {
    let proxy = Proxy::start().await;
    let mut stream = BufReader::new(TcpStream::connect(proxy.http).await.unwrap());
    stream.write_all(b"GET /ui/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut next = async |wanted: &str| {
        let mut line = String::new();
        while !line.starts_with(wanted) {
            line.clear();
            assert_ne!(stream.read_line(&mut line).await.unwrap(), 0, "the stream ended before {wanted:?}");
        }
        line
    };
    assert!(next("content-type").await.contains("text/event-stream"));
    next("retry: ").await;
    proxy.send(Request::put("/apps/a/metrics"), "a 1\n").await;
    let first = next("data: ").await;
    proxy.send(Request::put("/apps/a/metrics"), "a 2\n").await;
    assert_ne!(first, next("data: ").await);
    let began = Instant::now();
    proxy.finish().await;
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "the stream held up the stop for {:?}",
        began.elapsed()
    );
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_at_most_32_streams_and_8_of_one_address() {
    let proxy = Proxy::start().await;
    // A stream of the client 127.0.0.CLIENT, and whether it was accepted.
    let open = async |client: u8| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, client], 0).into()).unwrap();
        let mut stream = socket.connect(proxy.http).await.unwrap();
        stream.write_all(b"GET /ui/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        (&head == b"HTTP/1.1 200").then_some(stream)
    };
    let mut streams = Vec::new();
    for client in 2..6 {
        for _ in 0..8 {
            streams.push(open(client).await.expect("an address has eight streams"));
        }
        assert!(open(client).await.is_none(), "it has no ninth");
    }
    assert!(open(6).await.is_none(), "32 are all");
    streams.remove(0);
    until("a place is free again", async || open(6).await.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_apps_fits_a_terminal_and_can_be_narrowed() {
    let proxy = Proxy::start().await;
    let long = "payments-api-production-eu-west-1-blue-deployment-0123456789";
    proxy.send(Request::put(format!("/apps/{long}/metrics")), "good 1\n").await;
    proxy.tcp_say(br#"{"zfaulty":"a 1\nb\n"}"#).await;
    let table = proxy.text("/apps").await;
    assert!(table.lines().all(|line| line.len() <= 120), "{table}");
    assert!(
        table.contains("2 apps, 1 with faults, 2 series, ") && !table.contains(long),
        "{table}"
    );
    assert!(proxy.text("/apps?format=wide").await.contains(long));
    let faulty = proxy.text("/apps?state=fault&format=csv").await;
    assert_eq!(faulty.lines().count(), 2, "{faulty}");
    assert!(faulty.lines().nth(1).unwrap().starts_with("\"zfaulty\",fault,"), "{faulty}");
    let sorted: Value = serde_json::from_str(&proxy.text("/apps?format=json&sort=state").await).unwrap();
    assert_eq!(
        (&sorted["apps"][0]["name"], &sorted["apps"][1]["name"]),
        (&"zfaulty".into(), &long.into())
    );
    for wrong in ["/apps?format=yaml", "/apps?state=broken", "/apps?sort=color"] {
        let answer = proxy.get(wrong).await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(answer.status() == 400 && text.contains("expected one of"), "{wrong}: {text}");
    }
}
