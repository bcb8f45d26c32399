//! Inputs that real senders, exporters and HTTP servers produce, each for a kind: what is meant is taken, what is not is named.

use std::io::Write as _;
use std::process::Stdio;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::harness::{Proxy, peer, run};
use crate::peers::Prometheus;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const FORM: &str = "application/x-www-form-urlencoded";

fn put(app: &str) -> http::request::Builder {
    Request::put(format!("/apps/{app}/metrics"))
}

async fn push(proxy: &Proxy, content_type: &str, body: impl Into<Bytes>) -> Response<Bytes> {
    proxy.send(put("a").header("content-type", content_type), body).await
}

/// The status and the text of an answer.
fn told(answer: &Response<Bytes>) -> (u16, String) {
    (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
}

/// Sends bytes to the HTTP port and gives back all that comes until it is closed.
async fn raw(proxy: &Proxy, request: &str) -> String {
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_media_type_decides_and_only_without_one_the_last_line() {
    // The same number is milliseconds in one format and seconds in the other.
    let body = "# TYPE t gauge\nt{a=\"1\"} 5 1795899672000\n# EOF\n";
    for (content_type, millis) in [
        ("text/plain; charset=utf-8", "1795899672000"),
        ("text/plain", "1795899672000"),
        ("text/plain; version=1.0.0; escaping=underscores", "1795899672000"),
        (OPENMETRICS, "1795899672000000"),
        (FORM, "1795899672000000"),
        ("", "1795899672000000"),
    ] {
        let proxy = Proxy::start().await;
        assert_eq!(told(&push(&proxy, content_type, body).await).0, 200, "{content_type:?}");
        let text = proxy.text("/metrics?own=false").await;
        assert_eq!(text, format!("# TYPE t gauge\nt{{a=\"1\"}} 5 {millis}\n"), "{content_type:?}");
    }
    let proxy = Proxy::start().await;
    proxy.tcp_say(serde_json::json!({ "a": body }).to_string().as_bytes()).await;
    assert!(
        proxy.text("/metrics?own=false").await.contains(" 1795899672000000\n"),
        "no type is given"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_curl_has_joined_empty_nothing() {
    let proxy = Proxy::start().await;
    let jobs = "# HELP jobs_done x\n# TYPE jobs_done gauge\njobs_done 1\n";
    assert_eq!(
        told(&push(&proxy, FORM, jobs).await),
        (200, "stored a: 1 family, 1 series\n".to_owned())
    );
    for (joined, place) in [
        (jobs.replace('\n', ""), "line 1, column 19: "),
        ("# just words".to_owned(), "line 1, column 3: "),
        ("jobs_done 1# TYPE b gaugeb 1".to_owned(), "line 1, column 11: "),
    ] {
        let (status, text) = told(&push(&proxy, FORM, joined.clone()).await);
        assert!(
            status == 400 && text.starts_with(&format!("a: {place}")) && text.contains("--data-binary"),
            "{joined}: {status} {text}"
        );
        let refused = proxy.tcp_say(serde_json::json!({ "a": joined }).to_string().as_bytes()).await;
        assert!(refused.contains(&format!("a: {place}")), "{refused}");
        let refused = proxy.unix_say(serde_json::json!({ "a": joined }).to_string().as_bytes()).await;
        assert!(refused.contains(&format!("a: {place}")), "{refused}");
    }
    assert_eq!(proxy.text("/metrics?own=false").await, jobs, "what is refused harms nothing");
    let words = push(&proxy, "text/plain", "# just words\n").await;
    assert!(!told(&words).1.contains("--data-binary"), "that advice is for curl");
    let headers = push(&proxy, "text/plain", "# HELP jobs_done x\n# TYPE jobs_done gauge\n# EOF\n").await;
    assert_eq!(told(&headers), (200, "stored a: 1 family, 0 series\n".to_owned()));
    assert_eq!(proxy.text("/metrics?own=false").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_curl_is_told_which_option_to_use() {
    let Some(curl) = peer("curl") else { return };
    let proxy = Proxy::start().await;
    let file = proxy.folder.path().join("jobs.prom");
    std::fs::write(&file, "# HELP jobs_done x\n# TYPE jobs_done gauge\njobs_done 1\n").unwrap();
    let url = format!("http://{}/apps/j/metrics", proxy.http);
    let send = async |option: &str| {
        let data = format!("@{}", file.display());
        run(Command::new(&curl).args(["-s", "-w", "[%{http_code}]", option, &data, &url])).await
    };
    assert_eq!(send("--data-binary").await, "stored j: 1 family, 1 series\n[200]");
    let refused = send("-d").await;
    assert!(refused.ends_with("[400]") && refused.contains("--data-binary"), "{refused}");
    let form = run(Command::new(&curl)
        .args(["-s", "-w", "[%{http_code}]", "-F"])
        .arg(format!("file=@{}", file.display()))
        .arg(&url))
    .await;
    assert!(form.ends_with("[415]") && form.contains("a multipart form"), "{form}");
    assert!(proxy.text("/metrics?own=false").await.contains("jobs_done 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_without_a_length_is_no_empty_push() {
    let proxy = Proxy::start().await;
    proxy.send(put("a"), "m 1\n").await;
    for method in ["PUT", "POST"] {
        for version in ["1.0", "1.1"] {
            let answer = raw(
                &proxy,
                &format!("{method} /apps/a/metrics HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n"),
            )
            .await;
            assert!(answer.contains(" 411 Length Required\r\n"), "{answer}");
        }
    }
    let lost = raw(&proxy, "POST /apps/a/metrics HTTP/1.0\r\n\r\nm 2\n").await;
    assert!(lost.contains(" 411 "), "{lost}");
    assert_eq!(proxy.text("/metrics?own=false").await, "m 1\n");
    let chunked =
        "PUT /apps/a/metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nm 3\n\r\n0\r\n\r\n";
    assert!(raw(&proxy, chunked).await.contains(" 200 OK\r\n"));
    assert_eq!(proxy.text("/metrics?own=false").await, "m 3\n");
    let empty = "PUT /apps/a/metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n";
    assert!(raw(&proxy, empty).await.contains("stored a: 0 families, 0 series"));
    assert_eq!(proxy.text("/metrics?own=false").await, "");
    assert_eq!(
        proxy
            .own("exporter_proxy_rejected_total{source=\"http\",reason=\"no_length\"}")
            .await,
        Some(5.0)
    );
    // On other paths no length is no body.
    assert!(raw(&proxy, "POST /event?kind=a HTTP/1.0\r\n\r\n").await.contains(" 200 OK\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_in_a_value_harms_no_scrape() {
    let proxy = Proxy::start().await;
    let body = "# HELP neighbour x\u{0}y\n# TYPE neighbour gauge\nneighbour{identity=\"sw1^@\u{0}\u{0}\"} 1\nother 1\n";
    assert_eq!(told(&push(&proxy, "text/plain", body).await).0, 200);
    for name in ["{\"n\u{0}\"} 1\n", "a{\"l\u{0}\"=\"\"} 1\n", "# TYPE \"n\u{0}\" gauge\n"] {
        let (status, text) = told(&proxy.send(put("b"), name).await);
        assert!(status == 400 && text.contains("a NUL is not allowed in names"), "{name:?}: {text}");
    }
    let text = proxy.text("/metrics?own=false").await;
    assert!(text.contains("neighbour{identity=\"sw1^@\0\0\"} 1\n"), "{text:?}");
    let job = format!("- job_name: proxy\n  static_configs: [{{targets: ['{}']}}]\n", proxy.http);
    let Some(prometheus) = Prometheus::start(&job).await else { return };
    prometheus.shows("other", "1").await;
    prometheus.shows("neighbour{identity=~\"sw1.*\"}", "1").await;
    prometheus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lone_backslashes_reach_prometheus_as_they_are_in_every_format() {
    let proxy = Proxy::start().await;
    let body = "# HELP q See C:\\temp.\n# TYPE q gauge\nq{path=\"C:\\Users\\x\"} 1\nr{s=\"it\\'s\"} 1\nok 1\n";
    assert_eq!(
        told(&push(&proxy, "text/plain", body).await),
        (200, "stored a: 3 families, 3 series\n".to_owned())
    );
    assert_eq!(
        proxy.text("/metrics?own=false").await,
        "# HELP q See C:\\\\temp.\n# TYPE q gauge\nq{path=\"C:\\\\Users\\\\x\"} 1\nr{s=\"it\\\\'s\"} 1\nok 1\n"
    );
    let openmetrics = proxy.ask(Request::get("/metrics?own=false").header("accept", OPENMETRICS)).await;
    let openmetrics = String::from_utf8_lossy(openmetrics.body()).into_owned();
    assert!(openmetrics.contains("q{path=\"C:\\\\Users\\\\x\"} 1\n"), "{openmetrics}");
    // The same series, spelled as other senders spell it.
    let other = proxy.send(put("b"), "# TYPE q gauge\nq{path=\"C:\\\\Users\\\\x\"} 2\n").await;
    assert_eq!(other.status(), 200);
    assert_eq!(proxy.own("exporter_proxy_duplicate_series{app=\"a\"}").await, Some(1.0));
    let job = format!(
        "- job_name: proxy\n  honor_labels: true\n  static_configs: [{{targets: ['{}']}}]\n",
        proxy.http
    );
    let Some(prometheus) = Prometheus::start(&job).await else { return };
    prometheus.shows("q{path=\"C:\\\\Users\\\\x\",app=\"a\"}", "1").await;
    prometheus.shows("r{s=\"it\\\\'s\"}", "1").await;
    prometheus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_exemplar_costs_itself_and_is_shown() {
    let proxy = Proxy::start().await;
    let body = "# TYPE a counter\na_total 5 # {t=\"1\",t=\"2\"} 1.0\n# TYPE b counter\nb_total 6 # {t=\"1\"} 1.0 nan\n# TYPE c counter\nc_total 7 # {t=\"1\"} 0.5\n# EOF\n";
    let (status, text) = told(&push(&proxy, OPENMETRICS, body).await);
    let note = "2 exemplars skipped (first: line 2, column 20: label \"t\" occurs twice)";
    assert_eq!(
        (status, &*text),
        (200, &*format!("stored a: 3 families, 3 series\nwarning: {note}\n"))
    );
    let openmetrics = proxy.ask(Request::get("/metrics?own=false").header("accept", OPENMETRICS)).await;
    let openmetrics = String::from_utf8_lossy(openmetrics.body()).into_owned();
    for line in ["a_total 5\n", "b_total 6\n", "c_total 7 # {t=\"1\"} 0.5\n"] {
        assert!(openmetrics.contains(line), "{openmetrics}");
    }
    let one: Value = serde_json::from_str(&proxy.text("/apps/a?format=json").await).unwrap();
    assert_eq!((&one["status"], &one["invalid_exemplars"]), (&"ok".into(), &2.into()));
    assert_eq!((&one["notes"][0], &one["invalid_lines"]), (&note.into(), &0.into()));
    assert!(proxy.text("/apps/a").await.contains(&format!("Note:         {note}\n")));
    assert_eq!(proxy.own("exporter_proxy_invalid_exemplars{app=\"a\"}").await, Some(2.0));
    // In the text format there are none, and that costs no sample either.
    assert_eq!(told(&push(&proxy, "text/plain", body).await).0, 200);
    assert!(proxy.text("/metrics?own=false").await.contains("c_total 7\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_text_is_named_as_what_it_is() {
    let proxy = Proxy::start().await;
    proxy.send(put("a"), "m 1\n").await;
    let utf16: Vec<u8> = "up 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let protobuf = b"\x20\x0a\x05hello\x12\x03abc\x18\x01\x22\x0b\x1a\x09\x09\0\0\0\0\0\0\xf0\x3f";
    let capnp = std::fs::read(crate::harness::repository("tests/fixtures/wire/message.capnp.bin")).unwrap();
    for (body, name) in [
        (protobuf.to_vec(), "protobuf"),
        (gzip(b"up 1\n"), "gzip"),
        ([&b"\xff\xfe"[..], &utf16].concat(), "text in UTF-16"),
        (utf16, "text in UTF-16"),
        (
            b"--b\r\nContent-Disposition: form-data\r\n\r\nup 1\n\r\n--b--".to_vec(),
            "a multipart form",
        ),
        (b"{\"up\": 1}".to_vec(), "JSON"),
        (b"[{\"name\": \"up\"}]".to_vec(), "JSON"),
        (b"\x10\x05\x40\x02\x11\x05\x12\x11".to_vec(), "packed Cap'n Proto"),
        (capnp, "Cap'n Proto"),
        (b"<html>up 1\n</html>".to_vec(), "a page of HTML or XML"),
        (b"\x7fELF\x02\x01\x01\0".to_vec(), "binary data"),
    ] {
        for content_type in ["text/plain", "application/octet-stream"] {
            let (status, text) = told(&push(&proxy, content_type, body.clone()).await);
            assert!(
                status == 415 && text.starts_with(&format!("a: this is {name}, not metrics")),
                "{name}: {status} {text}"
            );
        }
    }
    for content_type in [
        "application/json",
        "application/vnd.google.protobuf",
        "multipart/form-data; boundary=b",
        "image/png",
    ] {
        assert_eq!(
            told(&push(&proxy, content_type, "m 2\n").await).0,
            200,
            "good text passes as {content_type}"
        );
    }
    assert_eq!(proxy.text("/metrics?own=false").await, "m 2\n");
    for (coding, body, status) in [
        ("utf-8", "m 3\n", 200),
        ("none", "m 3\n", 200),
        ("8bit", "m 3\n", 200),
        ("br", "m 3\n", 200),
        ("br", "\x0b\x02\u{80}m 3\n\x03", 415),
        ("utf-8", "bad{\n", 415),
    ] {
        let answer = proxy.send(put("a").header("content-encoding", coding), body).await;
        let (got, text) = told(&answer);
        assert_eq!(got, status, "{coding}: {text}");
        assert!(
            status == 200 || text.contains(&format!("unknown Content-Encoding \"{coding}\"")),
            "{text}"
        );
    }
    assert_eq!(proxy.text("/metrics?own=false").await, "m 3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_names_what_it_cannot_read() {
    let proxy = Proxy::start().await;
    let utf16: Vec<u8> = "{\"a\":\"m 1\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (stream, name) in [
        (gzip(b"{\"a\":\"m 1\"}"), "gzip"),
        ([&b"\xff\xfe"[..], &utf16].concat(), "text in UTF-16"),
        (b"\x20\x0a\x05hello\x12\x03abc\x18\x01\x22\x0b".to_vec(), "protobuf"),
        (b"\x10\x05\x40\x02\x11\x05\x12\x11".to_vec(), "packed Cap'n Proto"),
    ] {
        // A stream that looks like Cap'n Proto at first is never answered; the log and the count tell then.
        let said = proxy.tcp_say(&stream).await;
        assert!(
            said.is_empty() || said.contains(&format!("this is {name}; a receiver takes JSON objects")),
            "{name}: {said}"
        );
    }
    for (data, name) in [
        ("{\"up\": 1}", "JSON"),
        ("--b\r\nContent-Disposition: form-data\r\n", "a multipart form"),
        ("<html></html>", "a page of HTML or XML"),
    ] {
        let said = proxy.tcp_say(serde_json::json!({ "a": data }).to_string().as_bytes()).await;
        assert!(said.contains(&format!("a: this is {name}, not metrics")), "{said}");
    }
    let source = proxy.tcp();
    assert_eq!(
        proxy
            .own(&format!(
                "exporter_proxy_rejected_total{{source=\"{source}\",reason=\"malformed\"}}"
            ))
            .await,
        Some(4.0)
    );
    assert_eq!(
        proxy
            .own(&format!(
                "exporter_proxy_rejected_total{{source=\"{source}\",reason=\"not_metrics\"}}"
            ))
            .await,
        Some(3.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn series_that_two_apps_share_leave_both_well() {
    let proxy = Proxy::start().await;
    for app in ["a", "b"] {
        assert_eq!(
            told(&proxy.send(put(app), "m 1\n").await),
            (200, format!("stored {app}: 1 family, 1 series\n"))
        );
    }
    let apps: Value = serde_json::from_str(&proxy.text("/apps?format=json").await).unwrap();
    for app in apps["apps"].as_array().unwrap() {
        assert_eq!(app["status"], "ok");
        assert_eq!(app["detail"], "ok; 1 duplicate series, which other apps have too");
    }
    let page = proxy.ask(Request::get("/").header("accept", "text/html")).await;
    assert!(String::from_utf8_lossy(page.body()).contains("<td class=\"text ok\">ok; 1 duplicate series"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_has_never_answered_is_down() {
    let unreachable = format!("127.0.0.1:{}", crate::harness::free_port());
    let proxy = Proxy::with(&format!(
        "poll_external.poll_other_scrape_endpoints = true\npoll_external.other_scrape_endpoints = [{{ url = \"http://{unreachable}/\", name = \"gone\" }}]"
    ))
    .await;
    crate::harness::until("the first poll has failed", async || {
        proxy.text("/apps/gone").await.contains("poll failed")
    })
    .await;
    for path in ["/metrics?app=gone&own=false", "/apps/gone/metrics"] {
        let (status, text) = told(&proxy.get(path).await);
        assert!(
            status == 503 && text.starts_with("app \"gone\" has no metrics at the moment: poll failed: cannot connect"),
            "{path}: {status} {text}"
        );
    }
    assert_eq!(proxy.get("/metrics?app=unknown").await.status(), 404);
    let list: Value = serde_json::from_str(&proxy.text("/sd").await).unwrap();
    assert_eq!(list[0]["labels"]["__param_app"], "gone", "it stays a target");
    // What is pushed has metrics, even if there are none.
    proxy.send(put("empty").header("content-length", "0"), "").await;
    assert_eq!(proxy.get("/metrics?app=empty&own=false").await.status(), 200);
    let config = format!(
        "- job_name: apps\n  honor_labels: true\n  http_sd_configs: [{{url: 'http://{}/sd', refresh_interval: 1s}}]\n",
        proxy.http
    );
    let Some(prometheus) = Prometheus::start(&config).await else {
        return;
    };
    prometheus.shows("up{app=\"gone\"}", "0").await;
    prometheus.shows("up{app=\"empty\"}", "1").await;
    prometheus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_is_own_or_nothing() {
    let proxy = Proxy::start().await;
    proxy.send(put("a"), "m 1\n").await;
    proxy.send(Request::post("/event?kind=x"), "").await;
    for path in [
        "/metrics?only=typo",
        "/metrics?only=",
        "/metrics?only=own,app&app=a",
        "/metrics?own=maybe",
    ] {
        let (status, text) = told(&proxy.get(path).await);
        assert_eq!(status, 400, "{path}: {text}");
    }
    assert!(told(&proxy.get("/metrics?only=typo").await).1.contains("only=\"typo\""));
    let own = proxy.text("/metrics?only=own").await;
    assert!(
        !own.contains("m 1\n") && own.contains("events_to_metrics{kind=\"x\"} 1\n"),
        "no refusal has taken the event: {own}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_events_nothing_speaks_of_their_paths() {
    for (events, listed) in [(true, true), (false, false)] {
        let proxy = Proxy::with(&format!("events.enabled = {events}")).await;
        let nowhere = told(&proxy.get("/nowhere").await);
        let page = proxy.ask(Request::get("/").header("accept", "text/html")).await;
        for text in [nowhere.1, proxy.text("/").await, told(&page).1] {
            assert_eq!(text.contains("/event"), listed, "{text}");
            assert!(text.contains("GET /apps"), "{text}");
        }
        assert_eq!(proxy.get("/events").await.status() == 404, !listed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_names_the_format_and_does_not_empty_by_accident() {
    let proxy = Proxy::start().await;
    let program = env!("CARGO_BIN_EXE_exporter-proxy");
    let (http, tcp) = (format!("http://{}", proxy.http), format!("tcp://{}", proxy.tcp()));
    let send = async |to: &str, more: &[&str], input: &str| {
        let mut child = Command::new(program)
            .args(["send", "a", "--to", to])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its input may have gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
        let output = child.wait_with_output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let sent = send(&http, &[], "# TYPE m gauge\nm 1 1.5\n# EOF\n").await;
    let expected = "stored a: 1 family, 1 series\nwarning: timestamps too old for Prometheus\n";
    assert_eq!(sent, (Some(0), expected.to_owned()));
    let kept = "# TYPE m gauge\nm 1 1500\n";
    assert_eq!(proxy.text("/metrics?own=false").await, kept, "seconds have become milliseconds");
    for to in [&http, &tcp] {
        for empty in ["", " \n\n"] {
            let (code, text) = send(to, &[], empty).await;
            assert!(
                code == Some(1) && text.contains("standard input is empty") && text.contains("--allow-empty"),
                "{text}"
            );
        }
        let (code, text) = send(to, &[], "# just words").await;
        assert!(code == Some(1) && text.contains("the text has no sample"), "{text}");
    }
    assert_eq!(proxy.text("/metrics?own=false").await, kept);
    let (code, text) = send(&http, &["--allow-empty"], "").await;
    assert!(code == Some(0) && text.contains("stored a: 0 families, 0 series"), "{text}");
    assert_eq!(proxy.text("/metrics?own=false").await, "");
}
