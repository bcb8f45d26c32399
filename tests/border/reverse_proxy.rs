//! The HTTP port of the proxy and of the bridge behind a real nginx, with the configuration of docs/reverse-proxy.md.

use std::net::SocketAddr;
use std::process::Stdio;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};

use crate::harness::{Proxy, ask, free_port, peer, repository, until};
use crate::links::{SECRET, TestBridge, p2p};

const TRUSTED: &str = "http.trusted_proxies = [\"127.0.0.1\"]\n";

/// The headers of the documentation, each a line.
const HEADERS: &str = "proxy_set_header";

/// A running nginx, killed when dropped.
struct Nginx {
    http: SocketAddr,
    _folder: TempDir,
    _process: Child,
}

/// The configuration of the documentation for this server, on a port without TLS.
fn documented(port: u16, to: SocketAddr) -> String {
    let page = std::fs::read_to_string(repository("docs/reverse-proxy.md")).unwrap();
    let block = page.split("```nginx\n").nth(1).unwrap().split("```").next().unwrap();
    let (listen, target) = (format!("listen 127.0.0.1:{port};"), format!("http://{to}/"));
    let block = block.replace("listen 443 ssl;", &listen).replace("http://127.0.0.1:6555/", &target);
    assert!(
        block.contains(&listen) && block.contains(&target) && block.contains(HEADERS),
        "{block}"
    );
    block
}

impl Nginx {
    /// nginx before a server, with the documented configuration as `change` leaves it.
    async fn before(to: SocketAddr, change: impl FnOnce(String) -> String) -> Option<Self> {
        let nginx = peer("nginx")?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let place = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
            .collect();
        let server = change(documented(port, to));
        let text = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{server}}}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let process = Command::new(nginx)
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let http = SocketAddr::from(([127, 0, 0, 1], port));
        until("nginx listens", async || TcpStream::connect(http).await.is_ok()).await;
        Some(Self {
            http,
            _folder: folder,
            _process: process,
        })
    }

    async fn ask(&self, request: http::request::Builder, body: &'static str) -> Response<Bytes> {
        ask(self.http, request, body).await
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.ask(Request::get(path), "").await;
        assert_eq!(answer.status(), 200, "{path}: {:?}", answer.body());
        String::from_utf8(answer.into_body().to_vec()).unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }
}

/// Pushes to an address from another one of this machine and returns the response.
async fn push_from(from: &str, to: SocketAddr, path: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let request = format!("PUT {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\nm 1\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_prefix_of_nginx_links_redirects_and_targets_are_right() {
    let proxy = Proxy::with(TRUSTED).await;
    let Some(nginx) = Nginx::before(proxy.http, |server| server).await else {
        return;
    };
    let push = Request::put("/exporter-proxy/apps/a/metrics").header("host", "metrics.example");
    assert_eq!(nginx.ask(push, "m 1\n").await.status(), 200);

    let targets = nginx.json("/exporter-proxy/sd").await;
    assert_eq!(targets[0]["targets"][0], nginx.http.to_string());
    let labels = &targets[0]["labels"];
    assert_eq!((&labels["app"], &labels["__scheme__"]), (&"a".into(), &"http".into()));
    assert_eq!(labels["__metrics_path__"], "/exporter-proxy/metrics");
    assert_eq!(targets[1]["labels"]["__param_only"], "own");
    let scraped = format!(
        "{}?app={}&own={}",
        labels["__metrics_path__"].as_str().unwrap(),
        labels["__param_app"].as_str().unwrap(),
        labels["__param_own"].as_str().unwrap()
    );
    assert_eq!(nginx.text(&scraped).await, "m 1\n");

    let page = nginx.ask(Request::get("/exporter-proxy/").header("accept", "text/html"), "").await;
    let page = String::from_utf8(page.into_body().to_vec()).unwrap();
    let links: Vec<&str> = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(links.contains(&"apps/a") && links.contains(&"./sd"), "{links:?}");
    let paths = links.iter().filter(|link| !link.starts_with("data:"));
    for link in paths.map(|link| link.trim_start_matches("./")) {
        assert!(!link.starts_with('/'), "{link}");
        let status = nginx.ask(Request::get(format!("/exporter-proxy/{link}")), "").await.status();
        assert_eq!(status, 200, "{link}");
    }
    let moved = nginx.ask(Request::get("/exporter-proxy/apps/"), "").await;
    assert_eq!(
        (moved.status().as_u16(), &moved.headers()["location"]),
        (308, &"../apps".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_under_a_prefix_of_nginx_has_its_targets_there() {
    let trusting = "[http]\ntrusted_proxies = [\"127.0.0.1\"]";
    let bridge = TestBridge::with(tempfile::tempdir().unwrap(), free_port(), trusting).await;
    let folder = tempfile::tempdir().unwrap();
    let registered = format!("alias = \"north\"\nsecret = \"{SECRET}\"");
    let proxy = Proxy::with(&p2p(&[&bridge], &folder, &registered)).await;
    proxy.send(Request::put("/apps/a/metrics"), "m 1\n").await;
    bridge.up("north").await;
    let Some(nginx) = Nginx::before(bridge.http, |server| server).await else {
        return;
    };

    let targets = nginx.json("/exporter-proxy/sd").await;
    let labels = &targets[1]["labels"];
    assert_eq!(targets[1]["targets"][0], nginx.http.to_string());
    assert_eq!((&labels["__scheme__"], &labels["app"]), (&"http".into(), &"a".into()));
    let path = labels["__metrics_path__"].as_str().unwrap();
    assert_eq!(path, "/exporter-proxy/scrape/north/metrics");
    assert_eq!(nginx.text(&format!("{path}?app=a&own=false")).await, "m 1\n");
    let page = nginx.ask(Request::get("/exporter-proxy/").header("accept", "text/html"), "").await;
    let page = String::from_utf8(page.into_body().to_vec()).unwrap();
    assert!(page.contains("href=\"scrape/north/metrics\""), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_prefix_the_external_url_stands_for_headers() {
    let proxy = Proxy::with("http.external_url = \"https://metrics.example/\"").await;
    let bare = |server: String| {
        let lines = server.lines().filter(|line| !line.contains(HEADERS));
        lines.collect::<Vec<_>>().join("\n").replace("/exporter-proxy/", "/")
    };
    let Some(nginx) = Nginx::before(proxy.http, bare).await else {
        return;
    };
    let targets = nginx.json("/sd").await;
    let labels = &targets[0]["labels"];
    assert_eq!(targets[0]["targets"][0], "metrics.example");
    assert_eq!(
        (&labels["__scheme__"], &labels["__metrics_path__"]),
        (&"https".into(), &"/metrics".into())
    );
    let page = Request::put("/apps/a/metrics").header("origin", "https://metrics.example");
    assert_eq!(nginx.ask(page, "m 1\n").await.status(), 200);
    let page = Request::put("/apps/a/metrics").header("origin", "https://other.example");
    assert_eq!(nginx.ask(page, "m 1\n").await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_nginx_opens_writes_to_its_clients_only_if_they_may_write() {
    let path = "/exporter-proxy/apps/a/metrics";
    let trusting = Proxy::with(&format!("{TRUSTED}http.write_from = [\"127.0.0.1\", \"127.0.0.2\"]")).await;
    let Some(nginx) = Nginx::before(trusting.http, |server| server).await else {
        return;
    };
    assert!(push_from("127.0.0.2", nginx.http, path).await.starts_with("HTTP/1.1 200 "));
    let refused = push_from("127.0.0.3", nginx.http, path).await;
    assert!(
        refused.starts_with("HTTP/1.1 403 ") && refused.contains("127.0.0.3 is not allowed to push; add it to http.write_from"),
        "{refused}"
    );

    let proxy = Proxy::start().await;
    let nginx = Nginx::before(proxy.http, |server| server).await.unwrap();
    for from in ["127.0.0.1", "127.0.0.2"] {
        let refused = push_from(from, nginx.http, path).await;
        assert!(
            refused.starts_with("HTTP/1.1 403 ") && refused.contains("http.trusted_proxies"),
            "{refused}"
        );
    }
    assert_eq!(nginx.text("/exporter-proxy/metrics?own=false").await, "");
    let event = nginx.ask(Request::post("/exporter-proxy/event?a=b"), "").await;
    assert_eq!(event.status(), 200, "events.post_from allows all addresses");
}
