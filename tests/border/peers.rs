//! The walk-through of the README, with the real programs.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::harness::{Proxy, bulk, free_port, peer, python, repository, run, until, victoria_metrics};

/// Runs netcat as the walk-through does, with a file as standard input.
async fn netcat(arguments: &[&str], file: &str) -> Option<String> {
    let mut command = Command::new(peer("nc")?);
    let input = std::fs::File::open(repository("python_test_clients").join(file)).unwrap();
    Some(run(command.args(arguments).args(["-q", "0"]).stdin(input).stdout(Stdio::piped())).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn netcat_pushes_the_samples() {
    let proxy = Proxy::start().await;
    let (tcp, unix) = (proxy.tcp(), proxy.unix().display().to_string());
    let Some(told) = netcat(&["-U", &unix], "json_array.json").await else {
        return;
    };
    assert_eq!(told, "");
    let port = tcp.port().to_string();
    assert_eq!(
        netcat(&["-s", "127.0.0.1", "127.0.0.1", &port], "json_string.json")
            .await
            .as_deref(),
        Some("")
    );
    proxy
        .shows("http_requests_total_foo_bar_app0{method=\"post\",code=\"200\"} 1027\n")
        .await;
    proxy
        .shows("http_requests_total_foo_bar_app1{method=\"post\",code=\"400\"}    3\n")
        .await;
    let apps = proxy.text("/apps?format=wide").await;
    for shown in ["foo_bar_app0_metrics", "foo_bar_app1_metrics", &tcp.to_string(), &unix] {
        assert!(apps.contains(shown), "{shown} is missing in {apps}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pycapnp_pushes_the_samples() {
    let Some(python) = python(&["capnp"]) else { return };
    let proxy = Proxy::start().await;
    let folder = repository("python_test_clients");
    let tcp = proxy.tcp();
    let port = tcp.port().to_string();
    run(Command::new(&python)
        .arg(folder.join("test_send_tcp_socket_capnp.py"))
        .args(["127.0.0.1", &port]))
    .await;
    run(Command::new(&python)
        .arg(folder.join("test_send_unix_socket_capnp.py"))
        .arg(proxy.unix()))
    .await;
    for app in ["foo_bar_tcp_app0", "foo_bar_tcp_app1", "foo_bar_unix_app0", "foo_bar_unix_app1"] {
        proxy
            .shows(&format!("http_requests_total_{app}{{method=\"post\",code=\"200\"}} 1027\n"))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_old_are_taken_too() {
    let proxy = Proxy::start().await;
    for sample in ["array.json", "string.json"] {
        assert_eq!(
            proxy
                .tcp_say(&std::fs::read(repository("tests/fixtures/wire").join(sample)).unwrap())
                .await,
            ""
        );
    }
    assert_eq!(
        proxy
            .unix_say(&std::fs::read(repository("tests/fixtures/wire/message.capnp.bin")).unwrap())
            .await,
        ""
    );
    assert!(proxy.own("exporter_proxy_bytes").await.unwrap() > 500.0);
    proxy.shows("1395066363000\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_reads_gzip_as_one_member() {
    let Some(curl) = peer("curl") else { return };
    let proxy = Proxy::start().await;
    for app in 0..40 {
        let body = bulk(&format!("m{app}"), 20_000);
        proxy.send(http::Request::put(format!("/apps/app{app}/metrics")), body).await;
    }
    let url = format!("http://{}/metrics?own=false", proxy.http);
    let packed = run(Command::new(&curl).args(["-s", "--fail", "--compressed", &url])).await;
    let plain = run(Command::new(&curl).args(["-s", "--fail", &url])).await;
    assert_eq!(packed, plain);
    assert!(plain.contains("\nm39{n=\"00000000\"} 1\n"));
}

/// A Prometheus of our own, with its data in a folder of its own.
pub struct Prometheus {
    pub base: String,
    child: tokio::process::Child,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    pub async fn start(scrape_configs: &str) -> Option<Self> {
        Some(Self::with(peer("prometheus")?, &[], scrape_configs))
    }

    /// A certain Prometheus with these flags.
    pub fn with(program: std::path::PathBuf, flags: &[&str], scrape_configs: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        std::fs::write(
            &config,
            format!("global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n{scrape_configs}"),
        )
        .unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            base: address,
            child,
            _folder: folder,
        }
    }

    /// The body of a response; `None` while Prometheus is still starting.
    pub async fn get(&self, path: &str) -> Option<String> {
        let mut stream = tokio::net::TcpStream::connect(&self.base).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.base);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split(' ')
            .nth(1)
            .is_some_and(|status| status == "200")
            .then(|| body.to_owned())
    }

    /// The values of an instant query by the series' labels, nothing while Prometheus is still starting.
    pub async fn query(&self, query: &str) -> Vec<(serde_json::Value, String)> {
        let path = format!(
            "/api/v1/query?query={}",
            percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC)
        );
        let body = self.get(&path).await.unwrap_or_default();
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&body) else {
            return Vec::new();
        };
        let results = value["data"]["result"].as_array().cloned().unwrap_or_default();
        results
            .into_iter()
            .map(|r| (r["metric"].clone(), r["value"][1].as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    /// Waits until a query gives exactly one series with this value.
    pub async fn shows(&self, query: &str, value: &str) {
        until(&format!("{query} is {value} in Prometheus"), async || {
            let found = self.query(query).await;
            found.len() == 1 && found[0].1 == value
        })
        .await;
    }

    pub async fn stop(mut self) {
        let _ = self.child.kill().await;
    }
}

/// A vmagent that scrapes, and a VictoriaMetrics that it writes to.
pub struct VictoriaMetrics {
    agent: tokio::process::Child,
    storage: Prometheus,
}

impl VictoriaMetrics {
    /// Starts both with this configuration of scrapes; `None` where they are not installed.
    pub fn start(scrapes: &str) -> Option<Self> {
        let (agent, storage) = (victoria_metrics("vmagent")?, victoria_metrics("victoria-metrics")?);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("scrapes.yml");
        std::fs::write(&config, scrapes).unwrap();
        let (of_agent, of_storage) = (free_port(), free_port());
        let run = |program: &std::path::Path, port: u16, flags: &[String]| {
            Command::new(program)
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                .args(flags)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap()
        };
        let path = |name: &str| folder.path().join(name).display().to_string();
        let child = run(
            &storage,
            of_storage,
            &[
                format!("-storageDataPath={}", path("data")),
                "-search.latencyOffset=0s".to_owned(),
                "-search.disableCache".to_owned(),
            ],
        );
        let agent = run(
            &agent,
            of_agent,
            &[
                format!("-promscrape.config={}", config.display()),
                format!("-remoteWrite.url=http://127.0.0.1:{of_storage}/api/v1/write"),
                format!("-remoteWrite.tmpDataPath={}", path("queue")),
            ],
        );
        let storage = Prometheus {
            base: format!("127.0.0.1:{of_storage}"),
            child,
            _folder: folder,
        };
        Some(Self { agent, storage })
    }

    /// Waits until a query gives exactly one series with this value. It has the API of Prometheus.
    pub async fn shows(&self, query: &str, value: &str) {
        self.storage.shows(query, value).await;
    }

    pub async fn stop(mut self) {
        let _ = self.agent.kill().await;
        self.storage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_what_was_pushed() {
    let proxy = Proxy::start().await;
    proxy
        .tcp_say(&std::fs::read(repository("python_test_clients/json_array.json")).unwrap())
        .await;
    let job = format!("- job_name: proxy\n  static_configs: [{{targets: ['{}']}}]\n", proxy.http);
    let Some(prometheus) = Prometheus::start(&job).await else { return };
    prometheus.shows("up{job=\"proxy\"}", "1").await;
    prometheus
        .shows("http_requests_total_foo_bar_app1{method=\"post\",code=\"200\"}", "1027")
        .await;
    prometheus.shows("http_requests_total_foo_bar_app1{code=\"400\"}", "3").await;
    proxy
        .tcp_say(br#"{"foo_bar_app1_metrics":"http_requests_total_foo_bar_app1{method=\"post\",code=\"200\"} 1029"}"#)
        .await;
    prometheus.shows("http_requests_total_foo_bar_app1", "1029").await;
    prometheus.shows("exporter_proxy_apps", "1").await;
    prometheus.stop().await;
    tokio::time::timeout(Duration::from_secs(15), proxy.finish()).await.unwrap();
}

/// The time within which Prometheus has scraped each page in all ways, with room for a machine that is busy with other tests.
const COMPARISON_TIMEOUT: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_records_the_same_with_and_without_the_proxy() {
    let (Some(prometheus), Some(python)) = (peer("prometheus"), python(&["json"])) else {
        return;
    };
    let mut script = Command::new(python);
    script
        .arg(repository("scripts/faults/compare-expositions"))
        .args(["--short", "--proxy", env!("CARGO_BIN_EXE_exporter-proxy"), "--prometheus"])
        .arg(prometheus)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(COMPARISON_TIMEOUT, script.output())
        .await
        .expect("the script ends")
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}
