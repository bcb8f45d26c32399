//! One-shot events over HTTP: who gets them, how often, and what is refused.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Proxy, bulk, until};

impl Proxy {
    /// Posts an event that must be taken, and gives the answer.
    async fn emit(&self, query: &str) -> Value {
        let answer = self.post(query).await;
        assert_eq!(answer.status(), 200, "{query}: {:?}", answer.body());
        serde_json::from_slice(answer.body()).unwrap()
    }

    async fn post(&self, query: &str) -> Response<Bytes> {
        self.ask(Request::post(format!("/event?{query}"))).await
    }

    /// The events in a scrape of `path` by a program.
    async fn events(&self, agent: &str, path: &str) -> Vec<String> {
        let answer = self.ask(Request::get(path).header("user-agent", agent)).await;
        assert_eq!(answer.status(), 200);
        events(&String::from_utf8_lossy(answer.body()))
    }
}

/// The samples of the family of events.
fn events(text: &str) -> Vec<String> {
    let samples = text
        .lines()
        .filter(|line| line.starts_with("events_to_metrics{") || line.starts_with("events_to_metrics "));
    samples.map(str::to_owned).collect()
}

fn refusal(answer: &Response<Bytes>) -> (StatusCode, Value) {
    (answer.status(), serde_json::from_slice(answer.body()).unwrap())
}

#[tokio::test]
async fn each_scraper_gets_each_event_once_and_people_take_none() {
    let proxy = Proxy::start().await;
    assert!(proxy.events("Prometheus/3.0", "/metrics").await.is_empty());
    let first = proxy.emit("kind=deploy&version=1.2&value=7").await;
    assert_eq!((&first["id"], &first["scrapers"]), (&1.into(), &1.into()));
    proxy.emit("my+kind=a%20b&empty=").await;
    let expected = [
        "events_to_metrics{kind=\"deploy\",version=\"1.2\"} 7",
        "events_to_metrics{my_kind=\"a b\"} 1",
    ];

    assert_eq!(proxy.events("Prometheus/3.0", "/metrics?peek=true").await, expected);
    let head = proxy.ask(Request::head("/metrics").header("user-agent", "Prometheus/3.0")).await;
    assert_eq!(head.status(), 200);
    assert_eq!(
        proxy.events("curl/8", "/metrics").await,
        expected,
        "a newcomer gets those of the last minute"
    );
    assert_eq!(proxy.events("Prometheus/3.1", "/metrics").await, expected);
    assert!(proxy.events("Prometheus/3.0", "/metrics").await.is_empty());
    assert!(proxy.events("curl/8", "/event/metrics").await.is_empty());
    assert_eq!(proxy.events("vmagent", "/event/metrics").await, expected);

    let text = proxy.text("/metrics").await;
    assert!(text.contains("\nevents_to_metrics_event_count 2\n"), "{text}");
    assert!(
        text.contains("\nevents_to_metrics_scraper_counts{scraper=\"127.0.0.1 Prometheus\"} 0\n"),
        "{text}"
    );
    assert!(!text.contains("vmagent"), "it came once: {text}");
}

#[tokio::test]
async fn an_app_alone_and_a_stateless_metrics_carry_no_events() {
    let proxy = Proxy::with("events.expose_in_metrics = false").await;
    proxy.send(Request::put("/apps/x/metrics"), "x 1\n").await;
    proxy.emit("kind=a").await;
    assert!(!proxy.text("/metrics").await.contains("events_to_metrics"));
    assert_eq!(proxy.events("a", "/event/metrics").await.len(), 1);
    let proxy = Proxy::start().await;
    proxy.send(Request::put("/apps/x/metrics"), "x 1\n").await;
    proxy.emit("kind=a").await;
    assert!(!proxy.text("/metrics?app=x").await.contains("events_to_metrics"));
    assert!(!proxy.text("/apps/x/metrics").await.contains("events_to_metrics"));
    assert_eq!(proxy.events("a", "/metrics?only=own").await.len(), 1);
}

#[tokio::test]
async fn what_is_no_event_is_told_why() {
    let proxy = Proxy::start().await;
    for (query, label, word) in [
        ("bad-name=1", "bad-name", "label name"),
        ("__name__=x", "__name__", "reserved"),
        ("a+b=1&a_b=2", "a_b", "more than once"),
        ("value=x", "value", "not a number"),
        ("a=%ff", "a", "UTF-8"),
    ] {
        let (status, told) = refusal(&proxy.post(query).await);
        assert_eq!((status, told["label"].as_str()), (StatusCode::BAD_REQUEST, Some(label)), "{told}");
        assert!(told["error"].as_str().unwrap().contains(word), "{told}");
    }
    let form = Request::post("/event?a=1").header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(proxy.send(form, "b=2&a=3").await.status(), 400);
    let multipart = Request::post("/event").header("content-type", "multipart/form-data; boundary=x");
    let (status, told) = refusal(&proxy.send(multipart, "--x--").await);
    assert_eq!(status, 415);
    assert!(told["error"].as_str().unwrap().contains("x-www-form-urlencoded"), "{told}");
    assert_eq!(proxy.send(Request::post("/event"), "x".repeat(70_000)).await.status(), 413);
    assert_eq!(proxy.get("/event").await.status(), 405);
    let form = Request::post("/event?a=1").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(proxy.send(form, "b=%C3%B6%22%0A&value=0.5").await.status(), 200);
    assert_eq!(
        proxy.events("x", "/metrics").await,
        ["events_to_metrics{a=\"1\",b=\"ö\\\"\\n\"} 0.5"]
    );
    assert!(
        proxy
            .text("/metrics")
            .await
            .contains("exporter_proxy_rejected_total{source=\"event\",reason=\"bad_event\"} 6")
    );
}

#[tokio::test]
async fn a_webhook_posts_what_it_likes_and_its_url_is_the_event() {
    let proxy = Proxy::with("receiver.max_message_bytes = \"1MiB\"").await;
    let hook = |query: &str, kind: &str| Request::post(format!("/event?{query}")).header("content-type", kind);
    for (n, (kind, body)) in [
        ("application/json", r#"{"type":"other","value":3}"#.to_owned()),
        ("application/json; charset=utf-8", "x".repeat(1 << 20)),
        ("application/cloudevents+json", String::new()),
        ("text/plain", "no=label".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = proxy.send(hook(&format!("type=deploy&n={n}"), kind), body).await;
        assert_eq!(answer.status(), 200, "{kind}: {:?}", answer.body());
    }
    let answer = proxy.send(hook("type=large", "application/json"), "x".repeat((1 << 20) + 1)).await;
    let (status, told) = refusal(&answer);
    assert_eq!(status, 413);
    assert!(told["error"].as_str().unwrap().contains("receiver.max_message_bytes"), "{told}");
    let packed = hook("type=packed", "application/json").header("content-encoding", "br");
    assert_eq!(proxy.send(packed, "whatever").await.status(), 200);
    let events = proxy.events("x", "/metrics").await;
    assert_eq!(events.len(), 5);
    assert_eq!(events[0], "events_to_metrics{n=\"0\",type=\"deploy\"} 1");

    // A body of chunks is read to its end, too, and the connection goes on.
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let request = "POST /event?type=chunked HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answers = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answers)).await;
    read.expect("it answers").unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
}

#[tokio::test]
async fn a_retry_with_its_key_counts_once() {
    let proxy = Proxy::start().await;
    let post = async |query: &str, key: &str| {
        let answer = proxy
            .ask(Request::post(format!("/event?{query}")).header("idempotency-key", key))
            .await;
        refusal(&answer)
    };
    let (_, first) = post("a=1", "k").await;
    assert_eq!(post("a=1", "k").await, (StatusCode::OK, first));
    assert_eq!(post("a=2", "k").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(post("a=1", "other").await.1["id"], 2);
    assert_eq!(post("a=1", &"x".repeat(256)).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_same_series_twice_comes_one_by_one_or_with_times() {
    let proxy = Proxy::start().await;
    for value in 1..=3 {
        proxy.emit(&format!("kind=a&value={value}")).await;
    }
    proxy.emit("kind=b").await;
    assert_eq!(
        proxy.events("p", "/metrics").await,
        ["events_to_metrics{kind=\"a\"} 1", "events_to_metrics{kind=\"b\"} 1"]
    );
    assert_eq!(proxy.events("p", "/metrics").await, ["events_to_metrics{kind=\"a\"} 2"]);
    assert_eq!(proxy.events("p", "/metrics").await, ["events_to_metrics{kind=\"a\"} 3"]);
    assert!(proxy.events("p", "/metrics").await.is_empty());

    let proxy = Proxy::with("events.use_explicit_timestamps = true").await;
    for value in 1..=3 {
        proxy.emit(&format!("kind=a&value={value}")).await;
    }
    proxy.emit("kind=b").await;
    let stamps = |lines: Vec<String>| -> Vec<f64> { lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect() };
    let text = stamps(proxy.events("p", "/metrics").await);
    assert!(text.len() == 4 && text[..3].is_sorted_by(|a, b| a < b), "{text:?}");
    for (agent, path) in [("q", "/metrics"), ("r", "/event/metrics")] {
        let accept = ("accept", "application/openmetrics-text;version=1.0.0");
        let request = Request::get(path).header("user-agent", agent).header(accept.0, accept.1);
        let answer = String::from_utf8(proxy.ask(request).await.into_body().to_vec()).unwrap();
        assert!(answer.ends_with("# EOF\n"), "{answer}");
        let openmetrics = stamps(events(&answer));
        let seconds: Vec<f64> = text.iter().map(|millis| millis / 1_000.0).collect();
        assert_eq!(openmetrics, seconds, "{answer}");
    }
}

#[tokio::test]
async fn scrapers_are_told_apart_as_configured() {
    let ask = async |proxy: &Proxy, request: http::request::Builder| {
        let answer = proxy.ask(request).await;
        events(&String::from_utf8_lossy(answer.body())).len()
    };
    let proxy = Proxy::with("events.scraper_identity = \"header:X-Scraper\"\nevents.scrapers = [\"a\"]\nevents.newcomer_window = 0").await;
    assert_eq!(proxy.emit("kind=x").await["scrapers"], 1);
    assert_eq!(ask(&proxy, Request::get("/metrics").header("x-scraper", "b")).await, 0);
    assert_eq!(ask(&proxy, Request::get("/metrics").header("x-scraper", "a")).await, 1);
    assert_eq!(ask(&proxy, Request::get("/metrics").header("x-scraper", "a")).await, 0);

    let proxy = Proxy::with("events.scraper_identity = \"param:who\"").await;
    proxy.emit("kind=x").await;
    assert_eq!(ask(&proxy, Request::get("/metrics?who=a")).await, 1);
    assert_eq!(ask(&proxy, Request::get("/metrics?who=b")).await, 1);
    assert_eq!(ask(&proxy, Request::get("/metrics?who=a")).await, 0);

    for (trusted, second) in [("[]", 0), ("[\"127.0.0.0/8\"]", 1)] {
        let proxy = Proxy::with(&format!("http.trusted_proxies = {trusted}")).await;
        proxy.emit("kind=x").await;
        assert_eq!(
            ask(&proxy, Request::get("/metrics").header("x-forwarded-for", "192.0.2.1")).await,
            1
        );
        assert_eq!(
            ask(&proxy, Request::get("/metrics").header("x-forwarded-for", "192.0.2.2")).await,
            second
        );
    }
}

#[tokio::test]
async fn who_may_post_is_configured() {
    let proxy = Proxy::with("events.post_from = [\"10.0.0.0/8\"]").await;
    let answer = proxy.post("a=1").await;
    assert_eq!(answer.status(), 403);
    assert!(String::from_utf8_lossy(answer.body()).contains("events.post_from"));
    let off = Proxy::with("events.enabled = false").await;
    assert_eq!(off.post("a=1").await.status(), 404);
    assert!(!off.text("/metrics").await.contains("events_to_metrics"));
    let cross = Request::post("/event?a=1").header("sec-fetch-site", "cross-site");
    assert_eq!(Proxy::start().await.ask(cross).await.status(), 403);
}

/// Posts from a client of this address, as many as `times` says; how many were taken, and the last answer.
async fn post_as(proxy: &Proxy, address: &str, kind: &str, times: u32) -> (u32, Response<Bytes>) {
    let mut taken = 0;
    let mut last = None;
    for n in 0..times {
        let request = Request::post(format!("/event?kind={kind}&n={n}")).header("x-forwarded-for", address);
        let answer = proxy.ask(request).await;
        taken += u32::from(answer.status() == 200);
        last = Some(answer);
    }
    (taken, last.unwrap())
}

#[tokio::test]
async fn a_client_that_posts_too_fast_is_refused_and_others_are_not() {
    let proxy = Proxy::with("events.post_rate = \"1/s\"\nhttp.trusted_proxies = [\"127.0.0.1\"]").await;
    let (taken, last) = post_as(&proxy, "192.0.2.1", "flood", 40).await;
    // The burst, and what the rate allows while the test runs.
    assert!((10..40).contains(&taken), "{taken}");
    assert_eq!(last.status(), 429);
    assert_eq!(last.headers()["retry-after"], "1");
    let told = String::from_utf8_lossy(last.body());
    assert!(told.contains("192.0.2.1") && told.contains("events.post_rate"), "{told}");
    assert_eq!(post_as(&proxy, "192.0.2.2", "real", 1).await.0, 1);
    let refused = f64::from(40 - taken);
    let series = "exporter_proxy_rejected_total{source=\"event\",reason=\"too_fast\"}";
    assert_eq!(proxy.own(series).await, Some(refused));
    assert_eq!(proxy.events("p", "/metrics").await.len(), usize::try_from(taken).unwrap() + 1);
}

#[tokio::test]
async fn a_flood_of_posts_costs_no_other_client_an_event() {
    let proxy = Proxy::with("events.max_pending = 50\nhttp.trusted_proxies = [\"127.0.0.1\"]").await;
    for _ in 0..2 {
        assert!(proxy.events("Prometheus", "/metrics").await.is_empty());
    }
    assert_eq!(post_as(&proxy, "192.0.2.1", "real_first", 1).await.0, 1);
    let (taken, last) = post_as(&proxy, "192.0.2.66", "flood", 100).await;
    assert_eq!((taken, last.status().as_u16()), (45, 429));
    assert!(last.headers().contains_key("retry-after"));
    assert!(String::from_utf8_lossy(last.body()).contains("events.max_pending"));
    assert_eq!(post_as(&proxy, "192.0.2.2", "real_second", 1).await.0, 1);
    let got = proxy.events("Prometheus", "/metrics").await;
    assert_eq!(got.iter().filter(|line| line.contains("real")).count(), 2, "{got:?}");
}

#[tokio::test]
async fn a_scrape_has_only_so_many_events() {
    let proxy = Proxy::with("events.max_per_scrape = 10").await;
    assert!(proxy.events("p", "/metrics").await.is_empty());
    for n in 0..25 {
        proxy.emit(&format!("n={n}")).await;
    }
    let mut counts = Vec::new();
    for _ in 0..4 {
        counts.push(proxy.events("p", "/metrics").await.len());
    }
    assert_eq!(counts, [10, 10, 5, 0]);
}

#[tokio::test]
async fn a_flood_of_scrapers_takes_no_place_and_leaves_no_name() {
    let proxy = Proxy::with("http.trusted_proxies = [\"127.0.0.1\"]").await;
    let scrape = async |address: &str, agent: &str| {
        let request = Request::get("/metrics")
            .header("x-forwarded-for", address)
            .header("user-agent", agent);
        String::from_utf8(proxy.ask(request).await.into_body().to_vec()).unwrap()
    };
    for _ in 0..2 {
        scrape("192.0.2.1", "Prometheus").await;
    }
    for n in 0..1_100 {
        scrape("192.0.2.66", &format!("stranger{n}")).await;
    }
    proxy.emit("kind=a").await;
    let text = scrape("192.0.2.1", "Prometheus").await;
    assert_eq!(events(&text).len(), 1, "{text}");
    assert!(!text.contains("stranger"), "{text}");
    assert!(
        text.contains("events_to_metrics_scraper_counts{scraper=\"192.0.2.1 Prometheus\"} 1\n"),
        "{text}"
    );
    assert_eq!(
        events(&scrape("192.0.2.3", "vmagent").await).len(),
        1,
        "there is a place for another one"
    );
    let json: Value = serde_json::from_str(&proxy.text("/events?format=json").await).unwrap();
    assert!(json["scrapers"].as_array().unwrap().len() <= 66);
}

#[tokio::test]
async fn scrapers_can_be_counted_by_their_address_alone() {
    let proxy = Proxy::with("events.scraper_label = \"address\"").await;
    for _ in 0..2 {
        proxy.events("Prometheus", "/metrics").await;
        proxy.events("vmagent", "/metrics").await;
    }
    proxy.emit("kind=a").await;
    assert_eq!(
        proxy.own("events_to_metrics_scraper_counts{scraper=\"127.0.0.1\"}").await,
        Some(2.0)
    );
}

#[tokio::test]
async fn people_see_what_is_pending_and_take_nothing() {
    let proxy = Proxy::start().await;
    proxy.events("Prometheus/3", "/metrics").await;
    proxy.emit("kind=a").await;
    let table = proxy.text("/events").await;
    assert!(table.contains("kind=\"a\"") && table.contains("127.0.0.1 Prometheus"), "{table}");
    let json: Value = serde_json::from_str(&proxy.text("/events?format=json").await).unwrap();
    assert_eq!(json["scrapers"][0]["pending_ids"], serde_json::json!([1]));
    assert_eq!(json["events"][0]["pending_for"], serde_json::json!(["127.0.0.1 Prometheus"]));
    assert_eq!(proxy.events("Prometheus/3", "/metrics").await.len(), 1);
}

/// Sends a scrape and reads this much of the answer.
async fn begin(proxy: &Proxy, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nuser-agent: p\r\n\r\n")
        .await
        .unwrap();
    let mut read = vec![0; bytes];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut read)).await.unwrap().unwrap();
    stream
}

#[tokio::test]
async fn a_scrape_that_is_reset_gives_its_events_back_whatever_its_size() {
    let proxy = Proxy::with("receiver.max_message_bytes = \"64MiB\"").await;
    proxy.emit("kind=a").await;
    for bytes in [1 << 10, 100 << 10, 1 << 20, 3 << 20, 30 << 20] {
        let pushed = proxy.send(Request::put("/apps/bulk/metrics"), bulk("bulk", bytes)).await;
        assert_eq!(pushed.status(), 200);
        for _ in 0..3 {
            let stream = begin(&proxy, 10).await;
            // Closing with bytes unread resets the connection.
            drop(stream);
            until("the events are given back", async || !lent(&proxy).await).await;
        }
    }
    assert_eq!(proxy.events("p", "/metrics").await.len(), 1);
    assert!(proxy.events("p", "/metrics").await.is_empty());
}

/// Whether events are on their way to the scraper `p`.
async fn lent(proxy: &Proxy) -> bool {
    let json: Value = serde_json::from_str(&proxy.text("/events?format=json").await).unwrap();
    json["scrapers"][0]["in_flight"] != 0
}

#[tokio::test]
async fn an_overlapping_scrape_gets_no_events_and_does_not_fail() {
    let proxy = Proxy::with("receiver.max_message_bytes = \"64MiB\"").await;
    proxy.send(Request::put("/apps/bulk/metrics"), bulk("bulk", 12 << 20)).await;
    proxy.emit("kind=a").await;
    let slow = begin(&proxy, 10).await;
    assert!(proxy.events("p", "/metrics").await.is_empty());
    assert!(proxy.events("p", "/event/metrics").await.is_empty());
    drop(slow);
    until("the events are due again", async || {
        !proxy.events("p", "/event/metrics").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_lease_never_starves_behind_pooled_connections() {
    let proxy = Proxy::start().await;
    proxy.events("p", "/metrics").await;
    let mut pooled = Vec::new();
    for n in 0..5 {
        proxy.emit(&format!("n={n}")).await;
        // Each scrape is read whole on a connection that then lies idle, so only the next scrape says what became of it.
        let mut stream = begin(&proxy, 0).await;
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(&format!("events_to_metrics{{n=\"{n}\"}} 1\n")) {
            let got = tokio::time::timeout(PATIENCE, stream.read_buf(&mut read)).await.unwrap().unwrap();
            assert!(got > 0, "the answer lacks event {n}: {}", String::from_utf8_lossy(&read));
        }
        pooled.push(stream);
    }
    drop(pooled);
    let proxy_saw = proxy.events("p", "/metrics").await;
    assert!(proxy_saw.is_empty(), "{proxy_saw:?}");
}

#[tokio::test]
async fn events_and_apps_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let extra = format!("store.path = {:?}", folder.path().join("data"));
    let proxy = Proxy::with(&extra).await;
    proxy.send(Request::put("/apps/first/metrics"), "f 1\n").await;
    proxy.send(Request::put("/apps/second/metrics"), "s 2\n").await;
    proxy.emit("kind=a").await;
    assert_eq!(proxy.events("p", "/metrics").await.len(), 1);
    proxy.events("q", "/metrics?peek=true").await;
    proxy.emit("kind=b").await;
    let before = proxy.text("/apps?format=json").await;
    assert!(proxy.finish().await.is_clean());

    let proxy = Proxy::with(&extra).await;
    let after = proxy.text("/apps?format=json").await;
    let apps = |text: &str| serde_json::from_str::<Value>(text).unwrap()["apps"].clone();
    assert_eq!(apps(&after), apps(&before));
    assert!(proxy.text("/metrics").await.contains("f 1\n"));
    assert_eq!(proxy.events("p", "/metrics").await, ["events_to_metrics{kind=\"b\"} 1"]);
    assert_eq!(proxy.emit("kind=c").await["id"], 3);
    assert!(proxy.finish().await.is_clean());
}

#[tokio::test]
async fn many_events_are_one_family_in_every_format() {
    for explicit in [false, true] {
        for chained in [false, true] {
            let proxy = Proxy::with(&format!("events.use_explicit_timestamps = {explicit}")).await;
            if chained {
                let copy = "# TYPE events_to_metrics gauge\nevents_to_metrics{kind=\"far\"} 5\n";
                assert_eq!(proxy.send(Request::put("/apps/chained/metrics"), copy).await.status(), 200);
            }
            for n in 0..150 {
                proxy.emit(&format!("n={n}&padding={}", "x".repeat(200))).await;
            }
            for (agent, accept) in [("a", "text/plain"), ("b", "application/openmetrics-text;version=1.0.0")] {
                for encoding in ["identity", "gzip"] {
                    let request = Request::get("/metrics").header("user-agent", format!("{agent}-{encoding}"));
                    let answer = proxy
                        .ask(request.header("accept", accept).header("accept-encoding", encoding))
                        .await;
                    let text = match encoding {
                        "gzip" => std::io::read_to_string(flate2::read::GzDecoder::new(&answer.body()[..])).unwrap(),
                        _ => String::from_utf8(answer.body().to_vec()).unwrap(),
                    };
                    assert_eq!(text.matches("# TYPE events_to_metrics gauge\n").count(), 1, "{text}");
                    let samples = events(&text);
                    assert_eq!(samples.len(), 150 + usize::from(chained), "{text}");
                    let stamped = samples.iter().filter(|sample| sample.split(' ').count() == 3).count();
                    assert_eq!(stamped, if explicit { 150 } else { 0 }, "{text}");
                    assert_eq!(text.ends_with("# EOF\n"), agent == "b", "{text}");
                }
            }
        }
    }
}

#[tokio::test]
async fn events_merge_with_those_of_a_chained_proxy() {
    let proxy = Proxy::start().await;
    let chained = "# TYPE events_to_metrics gauge\nevents_to_metrics{kind=\"a\"} 5\n# TYPE events_to_metrics_event_count counter\nevents_to_metrics_event_count 9\n";
    assert_eq!(proxy.send(Request::put("/apps/chained/metrics"), chained).await.status(), 200);
    proxy.emit("kind=a").await;
    let text = proxy.text("/metrics").await;
    assert_eq!(text.matches("# TYPE events_to_metrics gauge").count(), 1, "{text}");
    assert_eq!(text.matches("# TYPE events_to_metrics_event_count counter").count(), 1, "{text}");
    assert!(text.contains("events_to_metrics{kind=\"a\"} 1\n"), "{text}");
    assert!(
        text.contains("events_to_metrics{kind=\"a\",exporter_app=\"chained\"} 5\n"),
        "{text}"
    );
}
