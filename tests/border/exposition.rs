//! What scrapers get: one bad app never spoils the others, and every scraper is answered in its own format.

use std::process::Stdio;

use http::Request;
use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Proxy, peer, python, repository, run};
use crate::peers::Prometheus;

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

async fn scrape(proxy: &Proxy, accept: &str) -> (String, String) {
    let answer = proxy.ask(Request::get("/metrics?own=false").header("accept", accept)).await;
    assert_eq!(answer.status(), 200);
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (content_type, String::from_utf8(answer.into_body().to_vec()).unwrap())
}

/// Three apps that used to break a scrape together.
async fn three_apps(proxy: &Proxy) {
    let first = "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total{kind=\"a\"} 7\n";
    let second = "# HELP jobs_total Other words.\n# TYPE jobs_total gauge\njobs_total{kind=\"b\"} 8\nthis line is broken\n# TYPE jobs_total counter\n";
    let third = "jobs_total{kind=\"a\"} 9\n# TYPE waits_seconds histogram\nwaits_seconds_bucket{le=\"1\"} 1\nwaits_seconds_bucket{le=\"+Inf\"} 2\nwaits_seconds_sum 3\nwaits_seconds_count 2\n";
    for (app, text) in [("first", first), ("second", second), ("third", third)] {
        let message = serde_json::json!({ app: text }).to_string();
        assert_eq!(proxy.tcp_say(message.as_bytes()).await, "", "{app}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_apps_never_spoil_the_scrape() {
    let proxy = Proxy::start().await;
    three_apps(&proxy).await;
    let (content_type, text) = scrape(&proxy, "text/plain").await;
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(text.matches("# HELP jobs_total ").count(), 1, "{text}");
    assert_eq!(text.matches("# TYPE jobs_total ").count(), 1, "{text}");
    assert!(text.contains("# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\n"), "{text}");
    assert!(text.contains("jobs_total{kind=\"a\",app=\"first\"} 7\n"), "{text}");
    assert!(text.contains("jobs_total{kind=\"a\",app=\"third\"} 9\n"), "{text}");
    assert!(text.contains("jobs_total{kind=\"b\"} 8\n"), "{text}");
    let apps: Value = serde_json::from_str(&proxy.text("/apps?format=json").await).unwrap();
    let detail = |n: usize| apps["apps"][n]["detail"].as_str().unwrap().to_owned();
    assert!(detail(0).contains("duplicate series"), "{}", detail(0));
    assert!(detail(1).contains("2 lines skipped (first: line 4, column "), "{}", detail(1));
    let second = proxy.text("/apps/second").await;
    assert!(
        second.contains("Skipped:      line 4,") && second.contains("Conflict: "),
        "{second}"
    );
    assert_eq!(proxy.own("exporter_proxy_invalid_lines{app=\"second\"}").await, Some(2.0));
    assert_eq!(proxy.own("exporter_proxy_duplicate_series{app=\"third\"}").await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn real_parsers_take_every_format() {
    let (Some(promtool), Some(python)) = (peer("promtool"), python(&["prometheus_client"])) else {
        return;
    };
    let proxy = Proxy::start().await;
    three_apps(&proxy).await;
    let file = proxy.folder.path().join("metrics.txt");
    let everything = proxy.text("/metrics").await;
    std::fs::write(&file, &everything).unwrap();
    let checked = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!told.contains("error while linting"), "{told}\n{everything}");

    let answer = proxy.ask(Request::get("/metrics").header("accept", OPENMETRICS)).await;
    assert_eq!(
        answer.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(answer.body().ends_with(b"# EOF\n"));
    std::fs::write(&file, answer.body()).unwrap();
    let parse = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as p\nprint(sum(len(f.samples) for f in p(open(sys.argv[1]).read())))";
    let samples: usize = run(Command::new(python).args(["-c", parse]).arg(&file))
        .await
        .trim()
        .parse()
        .unwrap();
    let lines = String::from_utf8_lossy(answer.body())
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    assert_eq!(samples, lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_utf8_are_for_those_who_ask() {
    let proxy = Proxy::start().await;
    let pushed = proxy
        .send(
            Request::put("/apps/a/metrics"),
            "# TYPE \"my.requests\" counter\n{\"my.requests\",\"http.code\"=\"200\"} 1\n",
        )
        .await;
    assert_eq!(pushed.status(), 200, "{pushed:?}");
    let (content_type, text) = scrape(&proxy, PROMETHEUS_3).await;
    assert_eq!(
        content_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
    );
    assert!(text.contains("{\"my.requests\",\"http.code\"=\"200\"} 1\n"), "{text}");
    let (_, text) = scrape(&proxy, "text/plain;version=0.0.4").await;
    assert_eq!(text, "# TYPE my_requests counter\nmy_requests{http_code=\"200\"} 1\n");
    let (content_type, _) = scrape(&proxy, "text/plain;version=1.0.0;escaping=underscores").await;
    assert_eq!(content_type, "text/plain; version=1.0.0; charset=utf-8; escaping=underscores");
}

#[tokio::test(flavor = "multi_thread")]
async fn openmetrics_in_and_text_out_and_back() {
    let proxy = Proxy::start().await;
    let pushed = "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds Time.\na_seconds_total 3.0 1520879607.789 # {trace_id=\"x\"} 0.5\na_seconds_created 1520872607.123 1520879607.789\n# EOF\n";
    let push = Request::put("/apps/a/metrics").header("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(proxy.send(push, pushed).await.status(), 200);
    let (_, text) = scrape(&proxy, "text/plain").await;
    assert!(
        text.contains("# TYPE a_seconds_total counter\na_seconds_total 3.0 1520879607789\n"),
        "{text}"
    );
    let (_, openmetrics) = scrape(&proxy, OPENMETRICS).await;
    for line in [
        "# UNIT a_seconds seconds\n",
        "a_seconds_total 3.0 1520879607.789 # {trace_id=\"x\"} 0.5\n",
        "a_seconds_created 1520872607.123 1520879607.789\n",
    ] {
        assert!(openmetrics.contains(line), "{line} is missing in {openmetrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_over_http_is_told_line_and_column() {
    let proxy = Proxy::start().await;
    let refused = proxy.send(Request::put("/apps/a/metrics"), "good 1\nbad{ 2\n").await;
    assert_eq!(refused.status(), 400);
    let told = String::from_utf8_lossy(refused.body()).into_owned();
    assert!(told.starts_with("a: line 2, column 6: "), "{told}");
    assert!(proxy.text("/metrics?own=false").await.is_empty());
    proxy
        .send(
            Request::put("/apps/a/metrics"),
            "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 1\nm_sum 1\nm_count 1\n",
        )
        .await;
    let conflict = proxy
        .send(Request::put("/apps/b/metrics"), "# TYPE m_count gauge\nm_count{i=\"b\"} 1\n")
        .await;
    assert_eq!(conflict.status(), 200);
    let told = String::from_utf8_lossy(conflict.body()).into_owned();
    assert!(
        told.contains("1 family, 1 series") && told.contains("warning: family m_count is exposed untyped"),
        "{told}"
    );
    let text = proxy.text("/metrics?own=false").await;
    assert!(text.contains("m_count 1\nm_count{i=\"b\"} 1\n"), "{text}");
    for app in ["a", "b"] {
        assert!(proxy.text(&format!("/apps/{app}")).await.contains("Conflict: "), "{app}");
        let metric = format!("exporter_proxy_conflicts{{app=\"{app}\"}}");
        assert_eq!(proxy.own(&metric).await, Some(1.0));
    }
}

/// A program's metrics, of a version that has a summary and one that has a histogram.
fn version(instance: usize, upgraded: bool) -> String {
    let (kind, detail) = if upgraded {
        (
            "histogram",
            format!("req_seconds_bucket{{i=\"{instance}\",le=\"1\"}} 3\nreq_seconds_bucket{{i=\"{instance}\",le=\"+Inf\"}} 5\n"),
        )
    } else {
        ("summary", format!("req_seconds{{i=\"{instance}\",quantile=\"0.5\"}} 1\n"))
    };
    format!(
        "# TYPE req_seconds {kind}\n{detail}req_seconds_sum{{i=\"{instance}\"}} 7\nreq_seconds_count{{i=\"{instance}\"}} 5\n\
         # TYPE ok gauge\nok{{i=\"{instance}\",upgraded=\"{upgraded}\"}} 1\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_upgraded_app_by_app_without_a_gap() {
    const APPS: usize = 50;
    let proxy = Proxy::start().await;
    let push = async |instance: usize, upgraded: bool| {
        let request = Request::put(format!("/apps/app-{instance}/metrics"));
        let answer = proxy.send(request, version(instance, upgraded)).await;
        assert_eq!(answer.status(), 200, "{:?}", answer.body());
    };
    for instance in 0..APPS {
        push(instance, false).await;
    }
    let job = format!(
        "- job_name: proxy\n  honor_labels: true\n  static_configs: [{{targets: ['{}']}}]\n",
        proxy.http
    );
    let Some(prometheus) = Prometheus::start(&job).await else { return };
    prometheus.shows("count(req_seconds_count)", "50").await;
    for instance in 0..APPS {
        push(instance, true).await;
        if instance % 10 == 4 {
            let upgraded = (instance + 1).to_string();
            prometheus.shows("count(ok{upgraded=\"true\"})", &upgraded).await;
            prometheus.shows("count(req_seconds_count)", "50").await;
            prometheus.shows("count(req_seconds_sum)", "50").await;
            prometheus.shows("count(req_seconds_bucket{le=\"+Inf\"})", &upgraded).await;
        }
    }
    prometheus.shows("count(ok{upgraded=\"true\"})", "50").await;
    prometheus
        .shows("count(req_seconds_bucket{le=\"1.0\"} or req_seconds_bucket{le=\"1\"})", "50")
        .await;
    // No scrape failed, and none lacked an app.
    prometheus.shows("min_over_time(up[5m])", "1").await;
    prometheus
        .shows(
            "count(count_over_time(req_seconds_count[5m]) < on() group_left() max(count_over_time(up[5m])) - 1) or vector(0)",
            "0",
        )
        .await;
    assert!(proxy.text("/metrics?own=false").await.contains("# TYPE req_seconds histogram\n"));
    assert!(!proxy.text("/apps?format=wide").await.contains("untyped"));
    prometheus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_json_is_told_when_nothing_could_be_kept() {
    let proxy = Proxy::start().await;
    assert_eq!(proxy.tcp_say(br##"{"a":"good 1\nnot good\n"}"##).await, "", "part of it could");
    let told = proxy.tcp_say(br##"{"a":"not good\n"}"##).await;
    assert!(told.contains("a: line 1, column "), "{told}");
    assert!(proxy.text("/metrics?own=false").await.contains("good 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn chained_proxies_keep_one_family_each() {
    let (far, near) = (Proxy::start().await, Proxy::start().await);
    far.tcp_say(br##"{"app":"# TYPE m gauge\nm 1"}"##).await;
    let all = far.text("/metrics").await;
    let pushed = near.send(Request::put("/apps/far/metrics"), all).await;
    assert_eq!(pushed.status(), 200, "{:?}", pushed.body());
    let text = near.text("/metrics").await;
    assert_eq!(text.matches("# TYPE exporter_proxy_apps gauge\n").count(), 1, "{text}");
    let samples: Vec<&str> = text.lines().filter(|line| line.starts_with("exporter_proxy_apps")).collect();
    assert_eq!(
        samples,
        ["exporter_proxy_apps 1", "exporter_proxy_apps{exporter_app=\"far\"} 1"],
        "{text}"
    );
    let Some(promtool) = peer("promtool") else { return };
    let file = near.folder.path().join("metrics.txt");
    std::fs::write(&file, &text).unwrap();
    let checked = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .await
        .unwrap();
    assert!(
        !String::from_utf8_lossy(&checked.stderr).contains("error while linting"),
        "{checked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_label_and_the_newest_on_request() {
    let proxy = Proxy::with("exposition.app_label = \"job\"").await;
    proxy.tcp_say(br##"{"a":"m{x=\"1\"} 1\nm{job=\"own\"} 2"}"##).await;
    let text = proxy.text("/metrics?own=false").await;
    assert!(
        text.contains("m{x=\"1\",job=\"a\"} 1\n") && text.contains("m{job=\"own\"} 2\n"),
        "{text}"
    );
    assert_eq!(proxy.text("/apps/a/metrics").await, "m{x=\"1\"} 1\nm{job=\"own\"} 2\n");
    let proxy = Proxy::with("exposition.duplicates = \"latest\"").await;
    proxy.tcp_say(br##"{"a":"m 1"} {"b":"m 2"}"##).await;
    let text = proxy.text("/metrics?own=false").await;
    assert!(text.ends_with("m 2\n") && !text.contains("m 1\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_mode_touches_nothing() {
    let proxy = Proxy::with("exposition.mode = \"raw\"").await;
    proxy
        .tcp_say(br##"{"a":"m 1\n\nany thing at all","b":"# TYPE m gauge\n# TYPE m gauge\n"}"##)
        .await;
    assert_eq!(
        proxy.text("/metrics?own=false").await,
        "m 1\n\nany thing at all\n# TYPE m gauge\n# TYPE m gauge\n"
    );
    assert!(proxy.text("/apps?format=wide").await.contains("| -      |"));
    let packed = proxy
        .ask(
            Request::get("/metrics?own=false")
                .header("accept-encoding", "gzip")
                .header("accept", OPENMETRICS),
        )
        .await;
    assert_eq!(packed.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_discovers_each_app() {
    let proxy = Proxy::start().await;
    proxy.tcp_say(br##"{"alpha":"m 1","be ta/1":"m 2"}"##).await;
    let list: Value = serde_json::from_str(&proxy.text("/sd").await).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert_eq!(list[0]["labels"]["__param_app"], "alpha");
    let config = format!(
        "- job_name: apps\n  honor_labels: true\n  http_sd_configs: [{{url: 'http://{}/sd', refresh_interval: 1s}}]\n",
        proxy.http
    );
    let Some(prometheus) = Prometheus::start(&config).await else {
        return;
    };
    prometheus.shows("up{app=\"alpha\"}", "1").await;
    prometheus.shows("up{app=\"be ta/1\"}", "1").await;
    prometheus.shows("m{app=\"be ta/1\"}", "2").await;
    prometheus.shows("count(up == 1)", "3").await;
    prometheus.shows("exporter_proxy_apps", "2").await;
    proxy.ask(Request::delete("/apps/alpha")).await;
    prometheus.shows("count(up)", "2").await;
    prometheus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_stays_up_whatever_apps_say() {
    let proxy = Proxy::start().await;
    three_apps(&proxy).await;
    let job = format!(
        "- job_name: proxy\n  honor_labels: true\n  static_configs: [{{targets: ['{}']}}]\n",
        proxy.http
    );
    let Some(prometheus) = Prometheus::start(&job).await else { return };
    prometheus.shows("up", "1").await;
    prometheus.shows("jobs_total{app=\"first\"}", "7").await;
    prometheus.shows("waits_seconds_count", "2").await;
    for bad in [
        "\u{0}",
        "# TYPE\n",
        "jobs_total{kind=\"a\" 3\njobs_total{kind=\"q\"} 1",
        "jobs_total{kind=\"a\"} 1e999999\n",
        "waits_seconds 3\nwaits_seconds_sum 1\n",
    ] {
        proxy.tcp_say(serde_json::json!({ "fourth": bad }).to_string().as_bytes()).await;
        let before = prometheus.query("exporter_proxy_scrape_duration_seconds_count").await;
        crate::harness::until("two more scrapes were made", async || {
            let now = prometheus.query("exporter_proxy_scrape_duration_seconds_count").await;
            now.len() == 1 && now[0].1.parse::<f64>().unwrap() >= before[0].1.parse::<f64>().unwrap() + 2.0
        })
        .await;
        prometheus.shows("min_over_time(up[30s])", "1").await;
    }
    prometheus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_expositions_come_out_with_equal_samples() {
    let folder = repository("tests/fixtures/exposition");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let proxy = Proxy::start().await;
        let pushed = proxy.send(Request::put("/apps/captured/metrics"), text.clone()).await;
        assert_eq!(pushed.status(), 200, "{}: {:?}", path.display(), pushed.body());
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text
                .lines()
                .filter(|line| !line.starts_with('#') && !line.is_empty())
                .map(str::to_owned)
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&proxy.text("/metrics?own=false").await), sorted(&text), "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 3, "the captured expositions were not found");
}

#[test]
fn check_metrics_tells_line_and_column() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_exporter-proxy"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    use std::io::Write as _;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"# TYPE a gauge\na 1\nb 1\na{x=\"1\"} 2\na 1\nc 1x\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for line in [
        "standard input:4:1: error",
        "standard input:5:1: error",
        "standard input:6:3: error",
    ] {
        assert!(told.contains(line), "{line} is missing in {told}");
    }
}
