//! The HTTP port: pushing, scraping, listing, and what wrong requests get.

use std::io::Read as _;

use http::Request;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Proxy, ask, bulk, until};

#[tokio::test(flavor = "multi_thread")]
async fn push_scrape_and_forget() {
    let proxy = Proxy::start().await;
    let answer = proxy.send(Request::put("/apps/a%2Fb%20%C3%B6/metrics"), "m 1").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (200, "stored a/b ö: 1 family, 1 series\n".as_bytes())
    );
    assert_eq!(proxy.text("/metrics?own=false").await, "m 1\n");
    assert_eq!(proxy.text("/metrics?own=false&app=a/b%20%C3%B6").await, "m 1\n");
    assert_eq!(proxy.text("/apps/a%2Fb%20%C3%B6/metrics").await, "m 1\n");
    assert!(proxy.text("/apps/a%2Fb%20%C3%B6").await.contains("Source:       http\n"));
    assert_eq!(proxy.get("/metrics?app=nobody").await.status(), 404);
    assert_eq!(
        proxy.send(Request::post("/apps/a%2Fb%20%C3%B6/metrics"), "m 2\n").await.status(),
        200
    );
    assert_eq!(proxy.text("/metrics?own=false").await, "m 2\n");
    assert_eq!(proxy.ask(Request::delete("/apps/a%2Fb%20%C3%B6")).await.status(), 202);
    assert_eq!(proxy.ask(Request::delete("/apps/a%2Fb%20%C3%B6")).await.status(), 404);
    assert_eq!(proxy.text("/metrics?own=false").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_apps_as_table_and_json() {
    let proxy = Proxy::start().await;
    proxy.tcp_say(br#"{"zeta":"z 1","alpha":"a 1\n"}"#).await;
    let table = proxy.text("/apps?format=wide").await;
    let (alpha, zeta) = (table.find("| alpha").unwrap(), table.find("| zeta").unwrap());
    assert!(alpha < zeta && table.contains("Current time: "), "{table}");
    let answer = proxy.ask(Request::get("/apps").header("accept", "application/json")).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    let list: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(list["apps"][0]["name"], "alpha");
    assert_eq!(list["apps"][1]["bytes"], 3);
    assert_eq!(list["apps"][1]["source"], proxy.tcp().to_string());
    let one: Value = serde_json::from_str(&proxy.text("/apps/alpha?format=json").await).unwrap();
    assert_eq!((&one["status"], &one["format"]), (&Value::from("ok"), &Value::from("json")));
    assert_eq!(proxy.get("/apps/nobody").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_is_one_member_with_a_known_length() {
    let proxy = Proxy::start().await;
    for app in 0..30 {
        let body = bulk(&format!("m{app}"), 10_000);
        proxy.send(Request::put(format!("/apps/app{app}/metrics")), body).await;
    }
    let answer = proxy
        .ask(Request::get("/metrics?own=false").header("accept-encoding", "gzip"))
        .await;
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert_eq!(answer.headers()["content-length"], answer.body().len().to_string());
    let mut member = flate2::bufread::GzDecoder::new(&answer.body()[..]);
    let mut text = String::new();
    member.read_to_string(&mut text).unwrap();
    assert!(member.into_inner().is_empty(), "nothing follows the one member");
    assert_eq!(text, proxy.text("/metrics?own=false").await);
    let refused = proxy.ask(Request::get("/metrics").header("accept-encoding", "gzip;q=0, br")).await;
    assert!(refused.headers().get("content-encoding").is_none());
}

/// What a gzip reader reads, and how many bytes were sent for it.
async fn zipped(proxy: &Proxy, path: &str) -> (String, usize) {
    let answer = proxy.ask(Request::get(path).header("accept-encoding", "gzip")).await;
    assert_eq!(answer.headers()["content-encoding"], "gzip", "{path}");
    let mut text = String::new();
    flate2::bufread::GzDecoder::new(&answer.body()[..])
        .read_to_string(&mut text)
        .unwrap();
    (text, answer.body().len())
}

/// The text of a response to a client that accepts gzip, which was compressed, and of one to a client that does not.
pub async fn packed_and_plain(address: std::net::SocketAddr, path: &str, accept: &str) -> [String; 2] {
    let request = || Request::get(path).header("accept", accept);
    let packed = ask(address, request().header("accept-encoding", "gzip, br"), "").await;
    let plain = ask(address, request(), "").await;
    assert_eq!(packed.headers()["content-encoding"], "gzip", "{path}");
    assert!(plain.headers().get("content-encoding").is_none(), "{path}");
    for response in [&packed, &plain] {
        assert_eq!(response.headers()["vary"], "accept, accept-encoding", "{path}");
    }
    let (mut member, mut text) = (flate2::bufread::GzDecoder::new(&packed.body()[..]), String::new());
    member.read_to_string(&mut text).unwrap();
    assert!(member.into_inner().is_empty(), "{path}: nothing follows the one member");
    assert!(
        packed.body().len() * 3 < text.len(),
        "{path}: {} bytes for {}",
        packed.body().len(),
        text.len()
    );
    [text, String::from_utf8(plain.body().to_vec()).unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn large_pages_and_listings_are_compressed_for_clients_that_accept_it() {
    let proxy = Proxy::start().await;
    let faulty: serde_json::Map<String, Value> = (0..100).map(|number| (format!("app {number}"), "a 1\nb\n".into())).collect();
    proxy.tcp_say(Value::from(faulty).to_string().as_bytes()).await;
    proxy.send(Request::put("/apps/large/metrics"), bulk("m", 100_000)).await;
    for (path, accept, part) in [
        ("/", "text/html", "app 99"),
        ("/?q=app", "text/html", "app 99"),
        ("/apps", "*/*", "| app 99 "),
        ("/apps?format=json", "*/*", "\"app 99\""),
        ("/apps?format=wide&q=app", "*/*", "| app 99 "),
        ("/apps/large", "text/html", "<h1>large</h1>"),
        ("/api/status", "*/*", "\"app 99\""),
    ] {
        let texts = packed_and_plain(proxy.http, path, accept).await;
        assert!(texts.iter().all(|text| text.contains(part)), "{path}: {texts:?}");
        let [packed, plain] = texts.map(|text| text.len());
        // Ages grow meanwhile.
        assert!(packed.abs_diff(plain) < 300, "{path}: {packed} and {plain} bytes");
    }
    for path in ["/apps?q=app%2099", "/apps/large?format=json"] {
        let small = proxy.ask(Request::get(path).header("accept-encoding", "gzip")).await;
        assert!(small.headers().get("content-encoding").is_none(), "{path}");
        assert_eq!(small.headers()["vary"], "accept, accept-encoding", "{path}");
    }
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let live = b"GET /ui/live HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n";
    stream.write_all(live).await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("text/event-stream") && !head.contains("content-encoding"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_app_alone_is_compressed_and_always_true() {
    for mode in ["merge", "raw"] {
        let proxy = Proxy::with(&format!("exposition.mode = \"{mode}\"")).await;
        let put = async |app: &str, value: u32| {
            let body = bulk("m", 50_000).replace("} 1\n", &format!("}} {value}\n"));
            let answer = proxy.send(Request::put(format!("/apps/{app}/metrics")), body).await;
            assert_eq!(answer.status(), 200);
        };
        put("a", 1).await;
        let paths = ["/metrics?app=a&own=false", "/apps/a/metrics"];
        for path in paths {
            until("it is compressed", async || zipped(&proxy, path).await.1 < 10_000).await;
            assert_eq!(zipped(&proxy, path).await.0, proxy.text(path).await);
        }
        // Somebody else's push makes a label necessary, the next one changes nothing for this app, its own changes all.
        for (app, value) in [("b", 2), ("b", 3), ("a", 4)] {
            put(app, value).await;
            let everything = proxy.text("/metrics?own=false").await;
            for (path, labelled) in paths.into_iter().zip([mode == "merge", false]) {
                let (text, _) = zipped(&proxy, path).await;
                assert_eq!(text, proxy.text(path).await);
                let value = if app == "a" { value } else { 1 };
                let first = if labelled {
                    format!("m{{n=\"00000000\",app=\"a\"}} {value}\n")
                } else {
                    format!("m{{n=\"00000000\"}} {value}\n")
                };
                assert!(text.starts_with(&first), "{mode} {path}: {}", &text[..100]);
                assert!(everything.contains(&text) || !labelled, "all see the same of it");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_may_be_packed_and_is_bounded_both_ways() {
    let proxy = Proxy::with("receiver.max_message_bytes = \"64KiB\"").await;
    let pack = |text: &[u8]| {
        let mut packed = Vec::new();
        flate2::read::GzEncoder::new(text, flate2::Compression::best())
            .read_to_end(&mut packed)
            .unwrap();
        packed
    };
    let push = || Request::put("/apps/a/metrics").header("content-encoding", "gzip");
    assert_eq!(proxy.send(push(), pack(b"packed 1\n")).await.status(), 200);
    assert_eq!(proxy.text("/metrics?own=false").await, "packed 1\n");
    let bomb = proxy.send(push(), pack(&vec![b'#'; 10 << 20])).await;
    assert_eq!(bomb.status(), 413);
    assert!(
        String::from_utf8_lossy(bomb.body()).contains("receiver.max_message_bytes"),
        "{bomb:?}"
    );
    assert_eq!(proxy.send(Request::put("/apps/a/metrics"), vec![b'#'; 100_000]).await.status(), 413);
    assert_eq!(proxy.send(push(), "no gzip").await.status(), 400);
    assert_eq!(
        proxy
            .send(Request::put("/apps/a/metrics").header("content-encoding", "br"), "x")
            .await
            .status(),
        415
    );
    assert_eq!(
        proxy
            .send(Request::put("/apps/a/metrics"), &b"m{a=\"\xff\"} 1\n"[..])
            .await
            .status(),
        400
    );
    assert_eq!(
        proxy.text("/metrics?own=false").await,
        "packed 1\n",
        "what is refused harms nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_may_write() {
    let proxy = Proxy::with("http.write_from = [\"10.1.0.0/16\"]\nhttp.trusted_proxies = [\"127.0.0.1\"]").await;
    let refused = proxy.send(Request::put("/apps/a/metrics"), "m 1").await;
    assert_eq!(refused.status(), 403);
    assert!(String::from_utf8_lossy(refused.body()).contains("http.write_from"), "{refused:?}");
    assert_eq!(proxy.ask(Request::delete("/apps/a")).await.status(), 403);
    let counted = "exporter_proxy_rejected_total{source=\"http\",reason=\"forbidden\"}";
    assert_eq!(proxy.own(counted).await, Some(2.0));
    for role in ["push", "admin"] {
        let counted = format!("exporter_proxy_http_access_refused_total{{identity=\"anonymous\",role=\"{role}\"}}");
        assert_eq!(proxy.own(&counted).await, Some(1.0));
    }
    let forwarded = Request::put("/apps/a/metrics").header("x-forwarded-for", "10.1.2.3");
    assert_eq!(proxy.send(forwarded, "m 1").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_may_not_write() {
    let proxy = Proxy::start().await;
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let refused = proxy.send(Request::post("/apps/a/metrics").header(name, value), "m 1").await;
        assert_eq!(refused.status(), 403, "{name}");
    }
    assert_eq!(
        proxy
            .send(Request::post("/apps/a/metrics").header("sec-fetch-site", "same-origin"), "m 1")
            .await
            .status(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn by_dns_rebinding_a_page_may_not_write() {
    let proxy = Proxy::with("http.allowed_hosts = [\"metrics.example\"]\nhttp.trusted_proxies = [\"127.0.0.2\"]").await;
    let write = |method: &str, host: &str| {
        let path = if method == "PUT" { "/apps/a/metrics" } else { "/apps/a" };
        let request = Request::builder().method(method).uri(path).header("host", host);
        request.header("origin", format!("http://{host}"))
    };
    for method in ["PUT", "DELETE"] {
        let refused = proxy.send(write(method, "evil.example:6555"), "m 1\n").await;
        assert_eq!(refused.status(), 403, "{method}");
        let text = String::from_utf8_lossy(refused.body()).into_owned();
        assert!(
            text.contains("\"evil.example:6555\"") && text.contains("http.allowed_hosts"),
            "{text}"
        );
    }
    for host in ["metrics.example", "localhost:6555", "127.0.0.1"] {
        assert_eq!(proxy.send(write("PUT", host), "m 1\n").await.status(), 200, "{host}");
    }
    assert_eq!(proxy.own("exporter_proxy_http_cross_site_refused_total").await, Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_takes_no_events() {
    let proxy = Proxy::with("events.scraper_identity = \"param:scraper\"\nevents.scrapers = [\"prom-a\"]").await;
    assert_eq!(proxy.send(Request::post("/event?what=deploy"), "").await.status(), 200);
    let as_image = |name: &str, value: &str| Request::get("/metrics?scraper=prom-a").header(name, value);
    for (name, value) in [
        ("referer", "http://evil.example/"),
        ("sec-fetch-site", "cross-site"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0"),
    ] {
        for path in ["/metrics", "/event/metrics"] {
            let request = Request::get(format!("{path}?scraper=prom-a")).header(name, value);
            assert_eq!(proxy.ask(request).await.status(), 200);
        }
        let shown = proxy.ask(as_image(name, value)).await;
        assert!(String::from_utf8_lossy(shown.body()).contains("deploy"), "{name}");
    }
    let scraped = proxy.text("/metrics?scraper=prom-a").await;
    assert!(
        scraped.contains("events_to_metrics{what=\"deploy\"} 1"),
        "the event is still there for its scraper"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_one_host() {
    let proxy = Proxy::start().await;
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\nHost:\r\n", "200"),
        ("GET /healthz HTTP/1.0\r\n", "200"),
        ("GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n", "400"),
    ] {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream
            .write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.split(' ').nth(1) == Some(status), "{head:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slash_at_the_end_of_a_path_leads_to_the_path_without() {
    let proxy = Proxy::start().await;
    proxy.send(Request::put("/apps/a/metrics"), "m 1\n").await;
    for (path, location) in [
        ("/apps/", "../apps"),
        ("/apps/?format=json", "../apps?format=json"),
        ("/metrics/", "../metrics"),
        ("/apps/a/", "../a"),
        ("/apps/a/metrics/", "../metrics"),
        ("/healthz/", "../healthz"),
        ("/-/healthy/", "../healthy"),
        ("/-/ready/?x=1", "../ready?x=1"),
        ("/api/v1/status/", "../status"),
        ("/ui/page.css/", "../page.css"),
    ] {
        let answer = proxy.get(path).await;
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
            (308, location),
            "{path}"
        );
    }
    for path in ["/", "//", "/nowhere/", "/apps//", "//apps/", "/apps/a/b/"] {
        assert!(proxy.get(path).await.headers().get("location").is_none(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_and_methods_are_told_what_is_right() {
    let proxy = Proxy::start().await;
    let nowhere = proxy.get("/metric").await;
    assert_eq!(nowhere.status(), 404);
    assert!(String::from_utf8_lossy(nowhere.body()).contains("GET /metrics\n"));
    let wrong = proxy.ask(Request::post("/metrics")).await;
    assert_eq!(
        (wrong.status().as_u16(), wrong.headers()["allow"].to_str().unwrap()),
        (405, "GET,HEAD")
    );
    let wrong = proxy.ask(Request::patch("/apps/a/metrics")).await;
    assert_eq!(wrong.status(), 405);
    let allow = wrong.headers()["allow"].to_str().unwrap();
    assert!(
        ["GET", "HEAD", "PUT", "POST"].iter().all(|method| allow.contains(method)),
        "{allow}"
    );
    let head = proxy.ask(Request::head("/metrics")).await;
    assert_eq!(head.status(), 200);
    assert!(head.body().is_empty() && head.headers()["content-length"] != "0");
    assert_eq!(
        proxy
            .send(Request::put(format!("/apps/{}/metrics", "x".repeat(256))), "m 1")
            .await
            .status(),
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_a_page_for_people() {
    let proxy = Proxy::start().await;
    proxy.send(Request::put("/apps/%3Cscript%3E/metrics"), "m 1").await;
    for path in ["/healthz", "/-/healthy", "/readyz", "/-/ready"] {
        assert_eq!(proxy.get(path).await.status(), 200, "{path}");
    }
    let page = proxy.ask(Request::get("/").header("accept", "text/html,*/*;q=0.8")).await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let page = String::from_utf8_lossy(page.body()).into_owned();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
    assert!(proxy.text("/").await.contains("GET /metrics"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lifecycle_endpoints_are_disabled_by_default() {
    let proxy = Proxy::start().await;
    assert_eq!(proxy.ask(Request::post("/-/reload")).await.status(), 403);
    assert_eq!(proxy.ask(Request::post("/-/quit")).await.status(), 403);
    let counted = "exporter_proxy_rejected_total{source=\"http\",reason=\"forbidden\"}";
    assert_eq!(proxy.own(counted).await, Some(2.0));
    let proxy = Proxy::with("http.enable_lifecycle = true").await;
    assert_eq!(proxy.ask(Request::post("/-/quit")).await.status(), 200);
    let report = proxy.finish().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_its_scrape_while_the_proxy_stops() {
    let proxy = Proxy::start().await;
    let body = bulk("m", 12 << 20) + "last_line 1\n";
    assert_eq!(proxy.send(Request::put("/apps/a/metrics"), body).await.status(), 200);
    let mut reader = TcpStream::connect(proxy.http).await.unwrap();
    reader.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut start = [0; 1024];
    reader.read_exact(&mut start).await.unwrap();
    let address = proxy.http;
    let finishing = tokio::spawn(proxy.finish());
    until("nobody new is let in", async || TcpStream::connect(address).await.is_err()).await;
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.unwrap();
    // The proxy waits up to 5 s for the other side to close as well.
    drop(reader);
    assert!(
        String::from_utf8_lossy(&rest).contains("last_line 1\n"),
        "the scrape was cut off after {} bytes",
        rest.len()
    );
    let report = finishing.await.unwrap();
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_keep_others_out() {
    let proxy = Proxy::with("exporter.concurrent_requests = 16").await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(proxy.http).await.unwrap());
    }
    assert_eq!(proxy.get("/healthz").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_metrics_are_exposition_that_promtool_takes() {
    let proxy = Proxy::start().await;
    proxy.tcp_say(br#"{"a":"a 1","b":7}"#).await;
    let Some(promtool) = crate::harness::peer("promtool") else { return };
    let file = proxy.folder.path().join("metrics.txt");
    let text = proxy.text("/metrics").await;
    std::fs::write(&file, text.strip_prefix("a 1\n").unwrap()).unwrap();
    let mut command = tokio::process::Command::new(promtool);
    command.args(["check", "metrics"]).stdin(std::fs::File::open(&file).unwrap());
    let told = command.output().await.unwrap();
    // The original's counter of events has the name that dashboards know; promtool's linter would have it end in _total.
    let lines = String::from_utf8(told.stderr).unwrap() + &String::from_utf8(told.stdout).unwrap();
    assert!(
        lines
            .lines()
            .all(|line| line.is_empty() || line.starts_with("events_to_metrics_event_count ")),
        "{lines}"
    );
}

#[tokio::test]
async fn a_wrong_query_parameter_is_named() {
    let proxy = Proxy::start().await;
    for (path, reason) in [
        ("/metrics?own=maybe", "own must be true or false"),
        ("/event/metrics?peek=1", "peek must be true or false"),
        ("/metrics?own=true&own=false", "duplicate field `own`"),
    ] {
        let response = proxy.get(path).await;
        assert_eq!(
            (response.status().as_u16(), &response.body()[..]),
            (400, reason.as_bytes()),
            "{path}"
        );
    }
    proxy.finish().await;
}
