//! TLS, users, headers and the rate limit of the HTTP port, with real clients.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use exporter_proxy::config::{self, Environment};
use exporter_proxy::daemon::{ConfigSource, bind_bridge};
use exporter_proxy::http::read_web_config;
use exporter_proxy::sources::polls::client_tls;
use http::Request;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Proxy, ask, peer, repository, run, until};
use crate::peers::Prometheus;
use crate::process::program;

/// Hash of `secret` at the lowest cost.
pub const HASH: &str = "$2b$04$NdtBAEROJw2PmgWIkNLiw.gcPkgCoTsZhYmTrDjN2M7PF100NR./u";

fn fixture(name: &str) -> PathBuf {
    repository("tests/fixtures/web_config").join(name)
}

/// A directory with a web configuration file and the certificates of the fixtures.
pub struct WebFiles(TempDir);

impl WebFiles {
    pub fn new(text: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for name in ["server.pem", "server-key.pem", "other.pem", "other-key.pem"] {
            std::fs::copy(fixture(name), files.path(name)).unwrap();
        }
        files.write(text);
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces the file as a whole.
    pub fn write(&self, text: &str) {
        std::fs::write(self.path("new.yml"), text).unwrap();
        std::fs::rename(self.path("new.yml"), self.path("web.yml")).unwrap();
    }

    async fn proxy(&self) -> Proxy {
        Proxy::with(&format!("http.web_config_file = {:?}", self.path("web.yml"))).await
    }
}

pub const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server-key.pem\n";

fn users() -> String {
    format!("basic_auth_users:\n  alice: {HASH}\n")
}

/// The status that curl gets, with its exit code where there is none.
pub async fn curl(arguments: &[&str]) -> Option<String> {
    let output = Command::new(peer("curl")?)
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20"])
        .args(arguments)
        .output()
        .await
        .unwrap();
    let status = String::from_utf8(output.stdout).unwrap();
    Some(if status == "000" {
        format!("exit {}", output.status.code().unwrap())
    } else {
        status
    })
}

/// Returns true if the installed promtool is of Prometheus 3.
fn is_new(promtool: &Path) -> bool {
    let output = std::process::Command::new(promtool).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    !text.contains("version 2.")
}

#[test]
fn verdicts_are_those_of_the_table_and_of_promtool() {
    let promtool = peer("promtool");
    let newer = promtool.as_deref().is_some_and(is_new);
    let table = std::fs::read_to_string(fixture("verdicts.tsv")).unwrap();
    let mut names = Vec::new();
    for line in table.lines() {
        let [name, verdict, since, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let file = fixture(&format!("{name}.yml"));
        names.push(file.clone());
        match read_web_config(&file).outcome {
            Ok(_) => assert_eq!(verdict, "ok", "{name}"),
            Err(faults) => {
                assert_eq!(verdict, "bad", "{name}: {faults}");
                assert!(faults.to_string().contains(expected), "{name}: {faults}");
            }
        }
        let Some(promtool) = promtool.as_ref().filter(|_| newer || since == "2.42") else {
            continue;
        };
        let output = std::process::Command::new(promtool)
            .args(["check", "web-config"])
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(output.status.success(), verdict == "ok", "promtool, {name}: {output:?}");
    }
    let files = std::fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "yml"));
    names.sort();
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert_eq!(files, names, "every file has a row and every row a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_needs_the_ca_and_the_password() {
    let files = WebFiles::new(&format!(
        "{TLS}{}http_server_config: {{headers: {{X-Frame-Options: deny}}}}\n",
        users()
    ));
    let proxy = files.proxy().await;
    let (ca, url) = (files.path("server.pem"), format!("https://{}", proxy.http));
    let ca = ca.to_str().unwrap();
    let metrics = format!("{url}/metrics");
    let push = format!("{url}/apps/a/metrics");
    for (arguments, expected) in [
        (&["-u", "alice:secret", &metrics][..], "200"),
        (&["-u", "alice:Secret", &metrics], "401"),
        (&["-u", "bob:secret", &metrics], "401"),
        (&[&metrics], "401"),
        (&["--data-binary", "m 1\n", &push], "401"),
        (&["-u", "alice:secret", "--data-binary", "m 1\n", &push], "200"),
        (&["-u", "alice:secret", "--tlsv1.2", "--tls-max", "1.2", &metrics], "200"),
        (&[&format!("{url}/healthz")], "200"),
        (&[&format!("{url}/-/ready")], "200"),
    ] {
        let arguments: Vec<&str> = ["--cacert", ca].iter().chain(arguments).copied().collect();
        let Some(status) = curl(&arguments).await else { return };
        assert_eq!(status, expected, "{arguments:?}");
    }
    assert_eq!(curl(&["-u", "alice:secret", &metrics]).await.unwrap(), "exit 60", "without the CA");
    let head = run(Command::new(peer("curl").unwrap()).args(["-sI", "--cacert", ca, "--http2", &metrics])).await;
    for line in [
        "HTTP/1.1 401",
        "www-authenticate: Basic realm=\"exporter-proxy\"",
        "x-frame-options: deny",
    ] {
        assert!(head.contains(line), "{line} is missing in {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_on_a_port_with_tls_is_told_so() {
    let files = WebFiles::new(TLS);
    let proxy = files.proxy().await;
    let answer = ask(proxy.http, Request::get("/metrics"), "").await;
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.body(), "this port serves HTTPS only; use https://\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_over_https_with_a_user() {
    let files = WebFiles::new(&format!("{TLS}{}", users()));
    let proxy = files.proxy().await;
    let job = |name: &str, password: &str| {
        format!(
            "- job_name: {name}\n  scheme: https\n  tls_config: {{ca_file: {:?}}}\n  basic_auth: {{username: alice, password: {password}}}\n  \
             static_configs: [{{targets: ['{}']}}]\n",
            files.path("server.pem"),
            proxy.http
        )
    };
    let jobs = job("right", "secret") + &job("wrong", "guess");
    let Some(prometheus) = Prometheus::start(&jobs).await else { return };
    prometheus.shows("up{job=\"right\"}", "1").await;
    prometheus.shows("up{job=\"wrong\"}", "0").await;
    prometheus.shows("exporter_proxy_http_unauthorized_total > bool 0", "1").await;
    prometheus.stop().await;
}

/// A CA, and a certificate with this name that it has signed.
pub fn certificates(files: &WebFiles, name: &str) {
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let signed = ca.self_signed(&ca_key).unwrap();
    std::fs::write(files.path("client-ca.pem"), signed.pem()).unwrap();
    let issuer = Issuer::from_params(&ca, &ca_key);
    for (file, name) in [("client", name), ("stranger", "other.example.org")] {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(files.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(files.path(&format!("{file}-key.pem")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_verified_with_their_names() {
    let files = WebFiles::new("");
    certificates(&files, "prometheus.example.org");
    files.write(&format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client-ca.pem\n  \
         client_allowed_sans: [prometheus.example.org]\n"
    ));
    let proxy = files.proxy().await;
    let url = format!("https://{}/metrics", proxy.http);
    let ca = files.path("server.pem");
    let asked = async |certificate: &str| {
        let [pem, key] = ["", "-key"].map(|end| files.path(&format!("{certificate}{end}.pem")));
        let all = [
            "--cacert",
            ca.to_str().unwrap(),
            "--cert",
            pem.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
            &url,
        ];
        curl(&all).await
    };
    let Some(status) = asked("client").await else { return };
    assert_eq!(status, "200");
    for refused in ["stranger", "other"] {
        assert!(asked(refused).await.unwrap().starts_with("exit "), "{refused}");
    }
    assert!(curl(&["--cacert", ca.to_str().unwrap(), &url]).await.unwrap().starts_with("exit "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_presents_its_client_certificate() {
    let files = WebFiles::new("");
    certificates(&files, "poller.example.org");
    files.write(&format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client-ca.pem\n"
    ));
    let polled = files.proxy().await;
    let endpoint = |name: &str, certificate: &str| {
        let [ca, cert, key] = ["server.pem", &format!("{certificate}.pem"), &format!("{certificate}-key.pem")].map(|file| files.path(file));
        format!(
            "{{ name = {name:?}, url = \"https://{}/metrics?only=own\", ca_file = {ca:?}, cert_file = {cert:?}, key_file = {key:?} }}",
            polled.http
        )
    };
    let proxy = Proxy::with(&format!(
        "poll_external.poll_other_scrape_endpoints = true\npoll_external.poll_interval = \"100ms\"\n\
         poll_external.other_scrape_endpoints = [{}, {}]",
        endpoint("good", "client"),
        endpoint("bad", "other")
    ))
    .await;
    proxy.shows("exporter_proxy_poll_up{endpoint=\"good\"} 1").await;
    until("the other is refused", async || {
        proxy.text("/apps/bad").await.contains("poll failed")
    })
    .await;
    proxy.shows("exporter_proxy_poll_up{endpoint=\"bad\"} 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_read_again_and_a_broken_one_is_not_used() {
    let files = WebFiles::new(&users());
    let proxy = files.proxy().await;
    let status = async |path: &str| ask(proxy.http, Request::get(path), "").await.status().as_u16();
    assert_eq!(status("/apps").await, 401);
    files.write("basic_auth_users:\n  alice: nothing\n");
    let ready = async || String::from_utf8(ask(proxy.http, Request::get("/readyz"), "").await.into_body().to_vec()).unwrap();
    until("the fault is shown", async || {
        ready().await.contains("not reloaded, the previous one is in force")
    })
    .await;
    assert_eq!(status("/apps").await, 401);
    files.write("http_server_config:\n  headers:\n    X-XSS-Protection: 0\n");
    until("the users are gone", async || status("/apps").await == 200).await;
    assert!(!ready().await.contains("not reloaded"));
    let answer = ask(proxy.http, Request::get("/apps"), "").await;
    assert_eq!(answer.headers()["x-xss-protection"], "0");
    assert_eq!(proxy.own("exporter_proxy_web_config_last_reload_successful").await, Some(1.0));
    // Switching TLS on needs a restart.
    files.write(TLS);
    until("the fault is shown", async || {
        ready().await.contains("switching TLS on needs a restart")
    })
    .await;
    assert_eq!(proxy.own("exporter_proxy_web_config_last_reload_successful").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_new_connections() {
    let files = WebFiles::new(TLS);
    let proxy = files.proxy().await;
    let url = format!("https://localhost:{}/healthz", proxy.http.port());
    let resolve = format!("localhost:{}:127.0.0.1", proxy.http.port());
    let ca = files.path("old.pem");
    std::fs::copy(files.path("server.pem"), &ca).unwrap();
    let trusts_old = async || curl(&["--resolve", &resolve, "--cacert", ca.to_str().unwrap(), &url]).await;
    let Some(status) = trusts_old().await else { return };
    assert_eq!(status, "200");
    std::fs::copy(files.path("other.pem"), files.path("server.pem")).unwrap();
    std::fs::copy(files.path("other-key.pem"), files.path("server-key.pem")).unwrap();
    until("the new certificate is shown", async || trusts_old().await.unwrap() == "exit 60").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_holds_for_all_but_health_checks() {
    let files = WebFiles::new("rate_limit:\n  interval: 1h\n  burst: 2\n");
    let proxy = files.proxy().await;
    let mut answers = Vec::new();
    for path in ["/apps", "/healthz", "/apps", "/apps", "/healthz"] {
        answers.push(ask(proxy.http, Request::get(path), "").await);
    }
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 200]);
    assert_eq!(answers[3].headers()["retry-after"], "3600");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_a_port_with_tls_and_users() {
    let files = WebFiles::new(&format!("{TLS}{}", users()));
    let proxy = files.proxy().await;
    let url = format!("https://{}", proxy.http);
    std::fs::write(files.path("credentials"), "alice:secret\n").unwrap();
    std::fs::write(files.path("metrics.txt"), "jobs_done 7\n").unwrap();
    let config = format!(
        "exporter.scrape_expose_endpoint = \"{}\"\nhttp.web_config_file = {:?}\n",
        proxy.http,
        files.path("web.yml")
    );
    std::fs::write(files.path("config.toml"), config).unwrap();
    let [ca, credentials, metrics, config] =
        ["server.pem", "credentials", "metrics.txt", "config.toml"].map(|name| files.path(name).to_str().unwrap().to_owned());
    let outcome = async |arguments: &[&str], secret: Option<&str>| {
        let mut command = program(arguments);
        command.envs(secret.map(|secret| ("EXPORTER_PROXY_CREDENTIALS", secret)));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let send = [
        "send",
        "a",
        &metrics,
        "--to",
        &url,
        "--ca-file",
        &ca,
        "--credentials-file",
        &credentials,
    ];
    let (sent, text) = outcome(&send, None).await;
    assert!(sent && text.contains("1 series"), "{text}");
    let apps = ["apps", "--from", &url, "--ca-file", &ca];
    let (shown, text) = outcome(&apps, Some("alice:secret")).await;
    assert!(shown && text.contains(" a "), "{text}");
    let (shown, text) = outcome(&apps, None).await;
    assert!(!shown && text.contains("401") && text.contains("--credentials-file"), "{text}");
    let (shown, text) = outcome(&["apps", "--from", &url], Some("alice:secret")).await;
    assert!(!shown && text.contains("--ca-file names the CA to trust"), "{text}");
    let (ready, text) = outcome(&["healthcheck", "--config", &config, "--role", "proxy"], None).await;
    assert!(ready && text.contains("ready"), "{text}");
    let (valid, text) = outcome(&["check", "--config", &config], None).await;
    assert!(valid && text.contains("web.yml"), "{text}");
    let bad = fixture("cert_missing.yml");
    let web = files.path("web.yml");
    let (valid, text) = outcome(&["check", "web-config", web.to_str().unwrap(), bad.to_str().unwrap()], None).await;
    assert!(
        !valid && text.contains("web.yml: valid, TLS, users") && text.contains("cert_missing.yml:2:3: "),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_has_the_same_door() {
    let files = WebFiles::new(&format!("{TLS}{}", users()));
    let text = format!(
        "[bridge]\nhttp_listen = \"127.0.0.1:0\"\nquic_listen = \"127.0.0.1:0\"\nkey_file = {:?}\nsecret = \"{}\"\ntargets_file = {:?}\n\
         [http]\nweb_config_file = {:?}\n",
        files.path("bridge.key"),
        "5".repeat(64),
        files.path("targets.json"),
        files.path("web.yml")
    );
    let nothing = Environment::from_pairs(std::iter::empty::<(String, String)>());
    let settings = config::parse(&text, "test", &nothing).unwrap_or_else(|faults| panic!("{faults}"));
    let bridge = bind_bridge(&settings, ConfigSource::default()).await.unwrap();
    let (addresses, stop) = (*bridge.addresses(), bridge.stop());
    assert!(addresses.https);
    let address = addresses.http.unwrap();
    let running = tokio::spawn(bridge.run());
    let ca = files.path("server.pem");
    let asked = async |arguments: &[&str], path: &str| {
        let url = format!("https://{address}{path}");
        let all = [&["--cacert", ca.to_str().unwrap()], arguments, &[&url]].concat();
        curl(&all).await
    };
    if asked(&[], "/healthz").await.is_some() {
        assert_eq!(asked(&[], "/aliases").await.unwrap(), "401");
        assert_eq!(asked(&["-u", "alice:secret"], "/aliases").await.unwrap(), "200");
        assert_eq!(asked(&[], "/readyz").await.unwrap(), "200");
    }
    assert_eq!(ask(address, Request::get("/metrics"), "").await.status(), 400);
    stop.graceful.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_delivered_once_over_tls() {
    let files = WebFiles::new(TLS);
    let proxy = files.proxy().await;
    let Some(program) = peer("curl") else { return };
    let ca = files.path("server.pem");
    let asked = async |arguments: &[&str]| {
        run(Command::new(&program)
            .args(["-s", "--cacert", ca.to_str().unwrap()])
            .args(arguments))
        .await
    };
    let (scrape, event) = (
        format!("https://{}/metrics", proxy.http),
        format!("https://{}/event?job=a", proxy.http),
    );
    let delivered = |text: &str| text.lines().filter(|line| line.starts_with("events_to_metrics{")).count();
    assert_eq!(delivered(&asked(&[&scrape]).await), 0);
    asked(&["-X", "POST", &event]).await;
    // On a connection of its own each, acknowledged by its end.
    assert_eq!(delivered(&asked(&[&scrape]).await), 1);
    assert_eq!(delivered(&asked(&[&scrape]).await), 0);
    // Two on one connection, the first acknowledged by the second request.
    asked(&["-X", "POST", &event]).await;
    assert_eq!(delivered(&asked(&[&scrape, &scrape]).await), 1);
    assert_eq!(delivered(&asked(&[&scrape]).await), 0);
}

/// A TLS client that trusts the certificate of the fixtures.
async fn tls_client(to: SocketAddr) -> TlsStream<TcpStream> {
    let config = client_tls(Some(&fixture("server.pem"))).await.unwrap();
    let stream = TcpStream::connect(to).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(config).connect(name, stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_when_it_has_the_response_gets_no_event_again() {
    let proxy = WebFiles::new(TLS).proxy().await;
    let mut poster = tls_client(proxy.http).await;
    poster
        .write_all(b"POST /event?a=b HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    assert!(response(&mut poster).await.starts_with("HTTP/1.1 200 "));
    let scrape = b"GET /event/metrics HTTP/1.1\r\nhost: x\r\nuser-agent: Prometheus\r\nconnection: close\r\n\r\n";
    for has_event in [true, false, false] {
        let mut client = tls_client(proxy.http).await;
        client.write_all(scrape).await.unwrap();
        assert_eq!(response(&mut client).await.contains("events_to_metrics{"), has_event);
        if has_event {
            // An alert that is unread when the client closes would reset the connection.
            let early = tokio::time::timeout(Duration::from_millis(100), client.get_ref().0.peek(&mut [0])).await;
            assert!(early.is_err(), "the end of the session came before the client closed: {early:?}");
        }
        drop(client);
    }
}

/// Reads one response by its length, and nothing beyond it.
async fn response(stream: &mut TlsStream<TcpStream>) -> String {
    let mut text = Vec::new();
    loop {
        text.push(stream.read_u8().await.unwrap());
        let shown = String::from_utf8_lossy(&text);
        let Some((head, body)) = shown.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() == length.unwrap().parse::<usize>().unwrap() {
            return shown.into_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_handshakes_hold_nothing_up() {
    let files = WebFiles::new(TLS);
    let proxy = files.proxy().await;
    let mut slow = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        // Nothing, or the head of a handshake record that never ends.
        if number % 2 == 0 {
            stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        }
        slow.push(stream);
    }
    let ca = files.path("server.pem");
    let url = format!("https://{}/metrics", proxy.http);
    let began = Instant::now();
    let Some(status) = curl(&["--cacert", ca.to_str().unwrap(), &url]).await else {
        return;
    };
    assert_eq!(status, "200");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // They are closed after ten seconds.
    let closed = tokio::time::timeout(Duration::from_secs(30), async {
        for stream in &mut slow {
            let _ = stream.read(&mut [0; 64]).await;
        }
    });
    closed.await.expect("slow handshakes are closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_passwords_leaves_known_users_alone() {
    // A usual cost, so that the flood has something to wait for.
    let mut hash = String::new();
    std::fs::File::open(fixture("users.yml"))
        .unwrap()
        .read_to_string(&mut hash)
        .unwrap();
    let files = WebFiles::new(&format!("{hash}  carol: {HASH}\n"));
    let proxy = files.proxy().await;
    let authorization = |user: &str, password: &str| {
        use base64::Engine as _;
        let text = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
        Request::get("/apps").header("authorization", format!("Basic {text}"))
    };
    assert_eq!(ask(proxy.http, authorization("carol", "secret"), "").await.status(), 200);
    let address = proxy.http;
    let flood: Vec<_> = (0..200)
        .map(|number| {
            let request = authorization("alice", &number.to_string());
            tokio::spawn(async move { ask(address, request, "").await.status().as_u16() })
        })
        .collect();
    let began = Instant::now();
    assert_eq!(ask(proxy.http, authorization("carol", "secret"), "").await.status(), 200);
    let took = began.elapsed();
    let mut statuses = Vec::new();
    for answered in flood {
        statuses.push(answered.await.unwrap());
    }
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
}
