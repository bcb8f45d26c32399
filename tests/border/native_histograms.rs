//! Protobuf and native histograms from end to end, with the real Prometheus as exporter and as scraper.

use std::path::PathBuf;

use bytes::Bytes;
use http::Request;

use crate::harness::{Proxy, ask, newer_peer, peer, until};
use crate::peers::{Prometheus, VictoriaMetrics};

const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// A native histogram with three observations and no classic bucket.
const NATIVE_ONLY: &[u8] = b"\x3c\x0a\x07latency\x18\x04\x22\x2f\x0a\x09\x0a\x04path\x12\x01/\x3a\x22\x08\x03\x11\0\0\0\0\0\0\x12\x40\
    \x28\x06\x31\x9d\x97\x8c\xcf\x08\xba\x5b\x37\x38\x01\x62\x04\x08\x03\x10\x02\x6a\x02\x02\0";

/// The histogram that Prometheus itself has as a native one with classic buckets beside, of a path that nothing asks for any more.
const LATENCY: &str = "prometheus_http_request_duration_seconds{handler=\"/api/v1/labels\"";

/// A Prometheus that exports native histograms, with some of them in use.
async fn exporter(program: PathBuf) -> Prometheus {
    let exporter = Prometheus::with(program, &["--enable-feature=native-histograms"], "");
    until("Prometheus exports its metrics", async || {
        exporter.get("/api/v1/labels").await.is_some()
    })
    .await;
    for _ in 0..5 {
        assert!(exporter.get("/api/v1/labels").await.is_some());
    }
    exporter
}

fn polls(address: &str) -> String {
    format!(
        "[poll_external]\npoll_other_scrape_endpoints = true\nnative_histograms = true\npoll_interval = \"100ms\"\nclient_timeout = 10\n\
         other_scrape_endpoints = [{{ url = \"http://{address}/metrics\", name = \"exporter\" }}]\n"
    )
}

/// Jobs that scrape an exporter directly and through a proxy.
fn jobs(direct: &str, proxy: &Proxy) -> String {
    format!(
        "- job_name: direct\n  static_configs: [{{targets: ['{direct}']}}]\n\
         - job_name: proxy\n  honor_labels: true\n  static_configs: [{{targets: ['{}']}}]\n",
        proxy.http
    )
}

/// Scrapes directly and through the proxy, and compares what each query says of both.
async fn compare(program: PathBuf, newer: PathBuf) {
    let exporter = exporter(newer).await;
    let proxy = Proxy::with(&polls(&exporter.base)).await;
    proxy.shows("prometheus_http_request_duration_seconds_count").await;
    let scraper = Prometheus::with(program, &["--enable-feature=native-histograms"], &jobs(&exporter.base, &proxy));
    let queries = [
        format!("histogram_count({LATENCY},job=\"JOB\"}})"),
        format!("histogram_sum({LATENCY},job=\"JOB\"}})"),
        format!("histogram_quantile(0.1, {LATENCY},job=\"JOB\"}})"),
        format!("histogram_quantile(0.9, {LATENCY},job=\"JOB\"}})"),
        "count({__name__=~\"go_.*\",job=\"JOB\"})".to_owned(),
        "process_start_time_seconds{job=\"JOB\"}".to_owned(),
    ];
    for query in &queries {
        let of = |job: &str| query.replace("JOB", job);
        until(&format!("{query} is the same in both"), async || {
            let (direct, through) = (scraper.query(&of("direct")).await, scraper.query(&of("proxy")).await);
            direct.len() == 1 && through.len() == 1 && direct[0].1 == through[0].1 && !direct[0].1.is_empty()
        })
        .await;
    }
    scraper.shows("up{job=\"proxy\"}", "1").await;
    // The proxy's own families are in the same response.
    scraper.shows("exporter_proxy_apps{job=\"proxy\"}", "1").await;
    scraper.stop().await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_histograms_arrive_at_prometheus_3_as_from_a_direct_scrape() {
    let Some(newer) = newer_peer("prometheus") else { return };
    compare(newer.clone(), newer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_histograms_arrive_at_prometheus_2_as_from_a_direct_scrape() {
    let (Some(newer), Some(older)) = (newer_peer("prometheus"), peer("prometheus")) else {
        return;
    };
    compare(older, newer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_prometheus_is_pushed_and_comes_back_without_loss() {
    let Some(newer) = newer_peer("prometheus") else { return };
    let exporter = exporter(newer).await;
    let get = |path: &str| Request::get(path.to_owned()).header("accept", PROTOBUF);
    let address = exporter.base.parse().unwrap();
    let body: Bytes = ask(address, get("/metrics"), Bytes::new()).await.into_body();
    let proxy = Proxy::start().await;
    let push = Request::put("/apps/exporter/metrics").header("content-type", PROTOBUF);
    let pushed = proxy.send(push, body.clone()).await;
    assert_eq!(pushed.status(), 200, "{}", String::from_utf8_lossy(pushed.body()));
    let back = proxy.ask(get("/apps/exporter/metrics")).await;
    assert_eq!(
        back.headers()["content-type"],
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    );
    // Every message with native histograms comes back as it went, but for the order of the head's fields.
    let read = |body: &[u8]| exporter_proxy::exposition::protobuf::decode(body, usize::MAX).unwrap();
    let (went, came) = (read(&body), read(back.body()));
    assert!(went.records.len() > 300, "Prometheus has native histograms");
    assert_eq!(went.records, came.records);
    let lines = |text: &Bytes| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&went.text), lines(&came.text), "and all other samples");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_scrapers_are_told_what_they_do_not_see() {
    let proxy = Proxy::start().await;
    let push = Request::put("/apps/app/metrics").header("content-type", PROTOBUF);
    let pushed = proxy.send(push, NATIVE_ONLY).await;
    let told = String::from_utf8_lossy(pushed.body()).into_owned();
    assert_eq!(pushed.status(), 200, "{told}");
    assert!(
        told.contains("warning: native only: 1 series not visible to text scrapers"),
        "{told}"
    );
    let apps = proxy.text("/apps?format=wide").await;
    assert!(apps.contains("native only: 1 series not visible to text scrapers"), "{apps}");
    let text = proxy.text("/metrics?own=false").await;
    let expected =
        "# TYPE latency histogram\nlatency_bucket{path=\"/\",le=\"+Inf\"} 3\nlatency_count{path=\"/\"} 3\nlatency_sum{path=\"/\"} 4.5\n";
    assert_eq!(text, expected);
    let asked = proxy.ask(Request::get("/metrics?own=false").header("accept", PROTOBUF)).await;
    assert_eq!(&asked.body()[..], NATIVE_ONLY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_bad_protobuf_is_refused_with_family_and_byte() {
    let proxy = Proxy::start().await;
    let push = || Request::put("/apps/app/metrics").header("content-type", PROTOBUF);
    let refused = async |body: &'static [u8]| {
        let answer = proxy.send(push(), body).await;
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    };
    let (status, told) = refused(b"\x20\x0a\x02up").await;
    assert_eq!(status, 400);
    assert!(
        told.contains("app: protobuf metric family 1, byte 0: a length of 32 bytes where 4 are left"),
        "{told}"
    );
    // The same gauge twice.
    let (status, told) = refused(b"\x0a\x0a\x02up\x18\x01\x22\x00\x22\x00").await;
    assert_eq!(status, 400);
    assert!(
        told.contains("app: protobuf metric family 1 \"up\", metric 2, byte 9: duplicate series"),
        "{told}"
    );
    let other = Request::put("/apps/app/metrics").header("content-type", "application/vnd.google.protobuf; encoding=text");
    let answer = proxy.send(other, "x").await;
    assert_eq!(answer.status(), 415);
    assert!(proxy.text("/apps?format=wide").await.lines().all(|line| !line.contains("│ app ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_delivered_once_in_protobuf() {
    let proxy = Proxy::start().await;
    let scrape = async || {
        let get = Request::get("/metrics")
            .header("accept", PROTOBUF)
            .header("user-agent", "Prometheus/3.5.0");
        let body = proxy.ask(get).await.into_body();
        let decoded = exporter_proxy::exposition::protobuf::decode(&body, usize::MAX).unwrap();
        String::from_utf8(decoded.text.to_vec()).unwrap()
    };
    scrape().await;
    let post = proxy.send(Request::post("/event?kind=deploy&value=2"), "").await;
    assert_eq!(post.status(), 200);
    let first = scrape().await;
    assert!(
        first.contains("# TYPE events_to_metrics gauge\nevents_to_metrics{kind=\"deploy\"} 2\n"),
        "{first}"
    );
    assert!(first.contains("\nevents_to_metrics_event_count 1\n"), "{first}");
    assert!(!scrape().await.contains("kind=\"deploy\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_3_takes_every_format_in_every_order() {
    let Some(newer) = newer_peer("prometheus") else { return };
    let proxy = Proxy::start().await;
    let text = "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total{kind=\"a\"} 7\n# TYPE \"my.gauge\" gauge\n{\"my.gauge\",\"a.b\"=\"c\"} 5\n\
        # TYPE waits_seconds histogram\nwaits_seconds_bucket{le=\"1\"} 1\nwaits_seconds_bucket{le=\"+Inf\"} 2\nwaits_seconds_sum 3\nwaits_seconds_count 2\n";
    let pushed = proxy.send(Request::put("/apps/app/metrics"), text).await;
    assert_eq!(pushed.status(), 200);
    let protocols = [
        "PrometheusProto",
        "OpenMetricsText1.0.0",
        "OpenMetricsText0.0.1",
        "PrometheusText1.0.0",
        "PrometheusText0.0.4",
    ];
    let mut jobs = String::new();
    for (at, first) in protocols.iter().enumerate() {
        let mut order = protocols.to_vec();
        order.rotate_left(at);
        assert_eq!(order[0], *first);
        for (name, order) in [("up", order.clone()), ("down", order.into_iter().rev().collect())] {
            jobs.push_str(&format!(
                "- job_name: {name}{at}\n  scrape_protocols: [{}]\n  static_configs: [{{targets: ['{}']}}]\n",
                order.join(", "),
                proxy.http
            ));
        }
    }
    let scraper = Prometheus::with(newer, &[], &jobs);
    scraper.shows("count(jobs_total{kind=\"a\"} == 7)", "10").await;
    scraper.shows("count(waits_seconds_bucket{le=\"1.0\"} == 1)", "10").await;
    // OpenMetrics 0.0.1 and the text format 0.0.4 have no names in UTF-8: where they come first names are escaped.
    until("names in UTF-8 arrive", async || {
        let utf8 = scraper.query("count({\"my.gauge\",\"a.b\"=\"c\"} == 5)").await;
        let legacy = scraper.query("count(my_gauge{a_b=\"c\"} == 5)").await;
        let number = |found: &[(serde_json::Value, String)]| found.first().map_or(0, |(_, value)| value.parse::<u32>().unwrap());
        number(&utf8) + number(&legacy) == 10 && number(&utf8) >= 6
    })
    .await;
    scraper.shows("count(up == 1)", "10").await;
    scraper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vmagent_stores_what_was_pushed_in_each_format() {
    let proxy = Proxy::start().await;
    let Some(scraper) = VictoriaMetrics::start(&format!(
        "scrape_configs:\n- job_name: proxy\n  scrape_interval: 1s\n  honor_labels: true\n  static_configs: [{{targets: ['{}']}}]\n",
        proxy.http
    )) else {
        return;
    };
    let openmetrics = "# TYPE jobs counter\njobs_total{kind=\"a\"} 7\n# TYPE waits_seconds histogram\nwaits_seconds_bucket{le=\"1.0\"} 1\n\
        waits_seconds_bucket{le=\"+Inf\"} 2\nwaits_seconds_count 2\nwaits_seconds_sum 3\n# EOF\n";
    let push = Request::put("/apps/open/metrics").header("content-type", "application/openmetrics-text; version=1.0.0");
    assert_eq!(proxy.send(push, openmetrics).await.status(), 200);
    let push = Request::put("/apps/native/metrics").header("content-type", PROTOBUF);
    assert_eq!(proxy.send(push, NATIVE_ONLY).await.status(), 200);
    let text = "# TYPE \"my.gauge\" gauge\n{\"my.gauge\",\"a.b\"=\"c\"} 5\n";
    assert_eq!(proxy.send(Request::put("/apps/text/metrics"), text).await.status(), 200);
    for (query, value) in [
        ("up{job=\"proxy\"}", "1"),
        ("jobs_total{kind=\"a\"}", "7"),
        ("waits_seconds_bucket{le=\"1.0\"} or waits_seconds_bucket{le=\"1\"}", "1"),
        ("waits_seconds_sum", "3"),
        // It asks for the text format 0.0.4, in which names are escaped and a native histogram has its count and its sum.
        ("my_gauge{a_b=\"c\"}", "5"),
        ("latency_count{path=\"/\"}", "3"),
        ("latency_bucket{path=\"/\",le=\"+Inf\"}", "3"),
        ("latency_sum{path=\"/\"}", "4.5"),
        ("exporter_proxy_apps{job=\"proxy\"}", "3"),
    ] {
        scraper.shows(query, value).await;
    }
    scraper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_metrics_reads_protobuf_and_says_which_scraper_loses_what() {
    let check = async |file: &str| {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_exporter-proxy"))
            .args(["check", "metrics", "--format", "protobuf"])
            .arg(crate::harness::repository("fuzz/corpus/protobuf").join(file))
            .output()
            .await
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, told) = check("native_exemplars").await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains(": protobuf, 1 family, 4 series, 0 errors\n"), "{told}");
    assert!(told.contains(": a scraper of protobuf loses nothing\n"), "{told}");
    assert!(
        told.contains(": a scraper of OpenMetrics loses 1 native histogram's buckets\n"),
        "{told}"
    );
    let (code, told) = check("duplicates").await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("protobuf metric family 1 \"h\", metric 2, byte "), "{told}");
    let (code, told) = check("group").await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("byte 1: wire type 3 of field 1 is not supported"), "{told}");
}
