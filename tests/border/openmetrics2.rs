//! OpenMetrics 2.0 from end to end: asked for by its exact version alone, with everything that came in other formats.

use bytes::Bytes;
use http::{Method, Request, Response};

use crate::harness::Proxy;

const OPENMETRICS_2: &str = "application/openmetrics-text;version=2.0.0";
const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// A native histogram with three observations and no classic bucket.
const NATIVE_ONLY: &[u8] = b"\x3c\x0a\x07latency\x18\x04\x22\x2f\x0a\x09\x0a\x04path\x12\x01/\x3a\x22\x08\x03\x11\0\0\0\0\0\0\x12\x40\
    \x28\x06\x31\x9d\x97\x8c\xcf\x08\xba\x5b\x37\x38\x01\x62\x04\x08\x03\x10\x02\x6a\x02\x02\0";

const OPENMETRICS: &str = "# TYPE jobs counter\njobs_total 7 # {id=\"a\"} 1 1700000001\njobs_created 1700000000\n\
    # TYPE build info\nbuild_info{version=\"1\"} 1\n# TYPE waits histogram\nwaits_bucket{le=\"1.0\"} 1\nwaits_bucket{le=\"+Inf\"} 2\n\
    waits_count 2\nwaits_sum 3\n# EOF\n";

async fn pushed(proxy: &Proxy, app: &str, content_type: &str, body: impl Into<Bytes>) {
    let push = Request::put(format!("/apps/{app}/metrics")).header("content-type", content_type);
    let answer = proxy.send(push, body).await;
    assert_eq!(answer.status(), 200, "{}", String::from_utf8_lossy(answer.body()));
}

async fn asked(proxy: &Proxy, path: &str, accept: &str) -> Response<Bytes> {
    proxy.ask(Request::get(path.to_owned()).header("accept", accept)).await
}

fn text(answer: &Response<Bytes>) -> String {
    assert_eq!(
        answer.headers()["content-type"],
        "application/openmetrics-text; version=2.0.0; charset=utf-8"
    );
    String::from_utf8(answer.body().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_of_openmetrics_2_has_all_that_was_pushed_in_other_formats() {
    let proxy = Proxy::start().await;
    pushed(&proxy, "native", PROTOBUF, NATIVE_ONLY).await;
    pushed(&proxy, "open", "application/openmetrics-text; version=1.0.0", OPENMETRICS).await;
    let all = text(&asked(&proxy, "/metrics?own=false", OPENMETRICS_2).await);
    let native = "# TYPE latency histogram\nlatency{path=\"/\"} {count:3,sum:4.5,schema:3,zero_threshold:4.973232364097867e-42,zero_count:1,\
        positive_spans:[-2:2],positive_buckets:[1,1]}\n";
    let counter = "# TYPE jobs_total counter\njobs_total 7 st@1700000000 # {id=\"a\"} 1 1700000001\n";
    let info = "# TYPE build_info info\nbuild_info{version=\"1\"} 1\n";
    let classic = "# TYPE waits histogram\nwaits {count:2,sum:3,bucket:[1.0:1,+Inf:2]}\n";
    assert_eq!(all, format!("{native}{counter}{info}{classic}# EOF\n"));

    // The self metrics are in it, too, and each family once.
    let with_own = text(&asked(&proxy, "/metrics", OPENMETRICS_2).await);
    assert!(with_own.contains("\nexporter_proxy_apps 2\n"), "{with_own}");
    assert!(with_own.contains("\nexporter_proxy_app_last_update_timestamp_seconds{app=\"native\",source=\"http\"} "));
    assert!(with_own.ends_with("# EOF\n"));
    let names: Vec<&str> = with_own
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len());

    let one = text(&asked(&proxy, "/apps/open/metrics", OPENMETRICS_2).await);
    assert_eq!(one, format!("{counter}{info}{classic}# EOF\n"));

    let zipped = Request::get("/metrics?own=false")
        .header("accept", OPENMETRICS_2)
        .header("accept-encoding", "gzip");
    let zipped = proxy.ask(zipped).await;
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    let mut inflated = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&zipped.body()[..]), &mut inflated).unwrap();
    assert_eq!(inflated, all);

    let head = Request::builder()
        .method(Method::HEAD)
        .uri("/metrics?own=false")
        .header("accept", OPENMETRICS_2);
    let head = proxy.ask(head).await;
    assert_eq!(text(&head), "");

    // A response that is written while it is sent has no length.
    let status: serde_json::Value = serde_json::from_str(&proxy.text("/api/status").await).unwrap();
    let scrapers = status["scrapers"].as_array().unwrap();
    let is_2 = |scraper: &&serde_json::Value| scraper["content_type"].as_str().unwrap().contains("version=2.0.0");
    assert!(scrapers.iter().filter(is_2).all(|scraper| scraper["bytes"].is_null()), "{status}");
    assert!(scrapers.iter().any(|scraper| is_2(&scraper)), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_openmetrics_2_arrives_in_every_format() {
    let proxy = Proxy::start().await;
    let body = "# TYPE latency histogram\nlatency{path=\"/\"} {count:3,sum:4.5,schema:3,zero_threshold:4.973232364097867e-42,zero_count:1,\
        positive_spans:[-2:2],positive_buckets:[1,1]}\n# TYPE build_info info\nbuild_info{version=\"1\"} 1\n# EOF\n";
    pushed(&proxy, "app", "application/openmetrics-text; version=2.0.0; charset=utf-8", body).await;
    let two = text(&asked(&proxy, "/metrics?own=false", OPENMETRICS_2).await);
    assert_eq!(two, body);
    let protobuf = asked(&proxy, "/metrics?own=false", PROTOBUF).await.into_body();
    assert!(protobuf.starts_with(NATIVE_ONLY), "{protobuf:?}");
    let one = asked(&proxy, "/metrics?own=false", "application/openmetrics-text;version=1.0.0").await;
    assert_eq!(
        String::from_utf8_lossy(one.body()),
        "# TYPE latency histogram\nlatency_bucket{path=\"/\",le=\"+Inf\"} 3\nlatency_count{path=\"/\"} 3\nlatency_sum{path=\"/\"} 4.5\n\
         # TYPE build info\nbuild_info{version=\"1\"} 1\n# EOF\n"
    );
    // The response is a body that can be pushed.
    pushed(&proxy, "again", "application/openmetrics-text; version=2.0.0", two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_bad_openmetrics_2_is_refused_with_line_and_column() {
    let proxy = Proxy::start().await;
    for (body, status, why) in [
        (
            "# TYPE h histogram\nh {count:1}\n# EOF\n",
            400,
            "app: line 2, column 3: the composite value lacks sum",
        ),
        (
            "up 1\nup 1\n# EOF\n",
            400,
            "app: line 2, column 1: duplicate series: a line before it",
        ),
        ("up 1\n", 400, "app: line 2, column 1: the end mark # EOF is missing"),
        (
            "# TYPE jobs counter\njobs_total 1\n# EOF\n",
            400,
            "send it as application/openmetrics-text; version=1.0.0",
        ),
    ] {
        let push = Request::put("/apps/app/metrics").header("content-type", "application/openmetrics-text; version=2.0.0");
        let answer = proxy.send(push, body).await;
        let told = String::from_utf8_lossy(answer.body()).into_owned();
        assert_eq!(answer.status(), status, "{told}");
        assert!(told.contains(why), "{told}");
    }
    assert!(proxy.text("/apps?format=wide").await.lines().all(|line| !line.contains("│ app ")));
    // Of any other version it is read as 1.0.
    pushed(
        &proxy,
        "app",
        "application/openmetrics-text",
        "# TYPE jobs counter\njobs_total 1\n# EOF\n",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_pushgateway_takes_openmetrics_2_by_its_version() {
    let proxy = Proxy::start().await;
    let push = async |version: &str, body: &str| {
        let request = Request::put("/metrics/job/backup").header("content-type", format!("application/openmetrics-text{version}"));
        let answer = proxy.send(request, body.to_owned()).await;
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    };
    let composite =
        "{count:3,sum:4.5,schema:3,zero_threshold:4.973232364097867e-42,zero_count:1,positive_spans:[-2:2],positive_buckets:[1,1]}";
    let body = format!(
        "# TYPE latency histogram\nlatency{{path=\"/\"}} {composite}\n# TYPE build_info info\nbuild_info{{version=\"1\"}} 1\n# EOF\n"
    );
    assert_eq!(push("; version=2.0.0", &body).await, (200, String::new()));
    let lines = async || {
        let two = text(&asked(&proxy, "/metrics?own=false", OPENMETRICS_2).await);
        let lines: Vec<String> = two.lines().filter(|line| !line.contains("push_")).map(str::to_owned).collect();
        lines
    };
    let stored = lines().await;
    let native = format!("latency{{path=\"/\",job=\"backup\",instance=\"\"}} {composite}");
    for line in [
        &*native,
        "# TYPE build_info info",
        "build_info{version=\"1\",job=\"backup\",instance=\"\"} 1",
    ] {
        assert!(stored.iter().any(|stored| stored == line), "{line}: {stored:#?}");
    }
    // What other pushes are refused for, in the same words, and the group stays.
    let (lacks_sum, in_1) = (
        "# TYPE h histogram\nh {count:1}\n# EOF\n",
        "# TYPE jobs counter\njobs_total 1\n# EOF\n",
    );
    for bad in [lacks_sum, in_1, "up 1\n"] {
        let (status, why) = push("; version=2.0.0", bad).await;
        let other = Request::put("/apps/app/metrics").header("content-type", "application/openmetrics-text; version=2.0.0");
        let other = proxy.send(other, bad).await;
        let expected = String::from_utf8_lossy(other.body()).into_owned();
        assert_eq!((status, other.status().as_u16()), (400, 400), "{bad}: {why}");
        assert_eq!(Some(why.trim_end()), expected.trim_end().strip_prefix("app: "), "{bad}");
    }
    assert_eq!(lines().await, stored);
    // Of any other version it is read as 1.0.
    for version in ["", "; version=1.0.0"] {
        assert_eq!(push(version, in_1).await.0, 200, "{version}");
        assert_eq!(push(version, &body).await.0, 400, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_metrics_reads_openmetrics_2() {
    let check = async |file: &str| {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_exporter-proxy"))
            .args(["check", "metrics", "--format", "openmetrics2"])
            .arg(crate::harness::repository("fuzz/corpus/openmetrics2").join(file))
            .output()
            .await
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, told) = check("every_type").await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains(": OpenMetrics 2.0, 8 families, "), "{told}");
    assert!(told.contains(": a scraper of protobuf loses 2 types\n"), "{told}");
    let (code, told) = check("faults").await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("faults:2:26: error: expected the end of the list"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openmetrics_2_is_given_to_exact_requests_alone() {
    let proxy = Proxy::start().await;
    pushed(&proxy, "native", PROTOBUF, NATIVE_ONLY).await;
    for (accept, content_type) in [
        (
            "application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "application/openmetrics-text;version=2.0.0;q=0.4,application/openmetrics-text;version=1.0.0;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "application/openmetrics-text;version=2.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.4",
            "application/openmetrics-text; version=2.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        (
            "application/openmetrics-text;version=2.1.0",
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let answer = asked(&proxy, "/metrics", accept).await;
        assert_eq!(answer.headers()["content-type"], content_type, "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_delivered_once_in_openmetrics_2() {
    let proxy = Proxy::start().await;
    for path in ["/metrics", "/event/metrics"] {
        let scrape = async || {
            let get = Request::get(path)
                .header("accept", OPENMETRICS_2)
                .header("user-agent", format!("Prometheus for {path}"));
            text(&proxy.ask(get).await)
        };
        scrape().await;
        // More than one frame of text: each event is in one of them.
        let labels = "x".repeat(1_000);
        for number in 0..100 {
            let post = Request::post(format!("/event?kind=deploy&number={number}&why={labels}&value=2"));
            assert_eq!(proxy.send(post, "").await.status(), 200);
        }
        let first = scrape().await;
        assert!(first.contains("# TYPE events_to_metrics gauge\n"), "{path}");
        let events = |text: &str| text.lines().filter(|line| line.starts_with("events_to_metrics{")).count();
        assert_eq!(events(&first), 100, "{path}");
        assert_eq!(events(&scrape().await), 0, "{path}");
    }
}
