//! The TCP receiver with TLS.

use std::process::Stdio;
use std::time::{Duration, Instant};

use http::Request;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpStream, UnixStream};

use crate::harness::{Proxy, over};
use crate::process::{config, program};
use crate::web_config::{TLS, WebFiles, certificates};

/// A proxy whose TCP receiver takes TLS only, on the terms of this web configuration.
async fn proxy(files: &WebFiles) -> Proxy {
    Proxy::with(&format!("http.web_config_file = {:?}\nreceiver.tls = true", files.path("web.yml"))).await
}

/// Sends `m 1` with the program, with these options; whether it was accepted, and what it printed.
fn send(files: &WebFiles, url: &str, options: &[&str]) -> (bool, String) {
    let metrics = files.path("metrics");
    std::fs::write(&metrics, "m 1\n").unwrap();
    let ca = files.path("server.pem");
    let mut arguments = vec![
        "send",
        "a",
        metrics.to_str().unwrap(),
        "--to",
        url,
        "--ca-file",
        ca.to_str().unwrap(),
    ];
    arguments.extend(options);
    let output = program(&arguments).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_needs_tls_and_the_certificate_that_is_required() {
    let files = WebFiles::new(TLS);
    let server = proxy(&files).await;
    let url = format!("tls://localhost:{}", server.tcp().port());
    for format in ["json", "capnp"] {
        let (accepted, text) = send(&files, &url, &["--format", format]);
        assert!(accepted && text.contains("1 series"), "{text}");
    }
    let (from, ca) = (format!("https://localhost:{}", server.http.port()), files.path("server.pem"));
    let listed = program(&["apps", "--from", &from, "--ca-file", ca.to_str().unwrap()])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("1 app, 1 series"), "{listed}");
    let (accepted, text) = send(&files, &format!("tcp://{}", server.tcp()), &[]);
    assert!(!accepted && text.contains("takes TLS only"), "{text}");

    certificates(&files, "sender.example.org");
    files.write(&format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client-ca.pem\n  \
         client_allowed_sans: [sender.example.org]\n"
    ));
    let strict = proxy(&files).await;
    let url = format!("tls://localhost:{}", strict.tcp().port());
    let with = |name: &str| {
        let [certificate, key] = ["", "-key"].map(|end| files.path(&format!("{name}{end}.pem")));
        let options = ["--cert-file", certificate.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
        send(&files, &url, &options)
    };
    let (accepted, text) = with("client");
    assert!(accepted, "{text}");
    let (accepted, text) = with("stranger");
    assert!(!accepted, "{text}");
    assert!(!send(&files, &url, &[]).0);
}

#[test]
fn without_certificates_the_program_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "receiver.tls = true\n");
    for command in ["check", "run"] {
        let output = program(&[command, "--config", path.to_str().unwrap()]).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("receiver.tls") && text.contains("http.web_config_file"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_sender_gives_way_to_another_one_after_its_grace() {
    /// That of every connection to a port with so few slots.
    const GRACE: Duration = Duration::from_millis(250);
    let files = WebFiles::new(TLS);
    let text = format!(
        "http.web_config_file = {:?}\nreceiver.tls = true\nexporter.concurrent_requests = 1",
        files.path("web.yml")
    );
    let server = Proxy::with(&text).await;
    let began = Instant::now();
    let mut silent = TcpStream::connect(server.tcp()).await.unwrap();
    let newcomer = TcpStream::connect(server.tcp()).await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(
        began.elapsed() >= GRACE,
        "it had no time to begin its handshake: {:?}",
        began.elapsed()
    );
    drop(newcomer);
    let (accepted, text) = send(&files, &format!("tls://localhost:{}", server.tcp().port()), &[]);
    assert!(accepted, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_not_allowed_gets_no_handshake() {
    let files = WebFiles::new(TLS);
    let socket = files.path("http.sock");
    let text = format!(
        "http.web_config_file = {:?}\nhttp.unix_socket = {socket:?}\nreceiver.tls = true\nreceiver.allow = []",
        files.path("web.yml")
    );
    let server = Proxy::with(&text).await;
    // A handshake would wait for its first byte.
    let mut stream = TcpStream::connect(server.tcp()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 49], "the alert access_denied");
    let (accepted, text) = send(&files, &format!("tls://localhost:{}", server.tcp().port()), &[]);
    assert!(!accepted && text.contains("AccessDenied"), "{text}");
    let scrape = Request::get("/metrics?only=own").header("host", "x");
    let own = over(UnixStream::connect(&socket).await.unwrap(), scrape, "").await;
    let own = String::from_utf8(own.into_body().to_vec()).unwrap();
    let refused = format!(
        "exporter_proxy_rejected_total{{source=\"{}\",reason=\"forbidden\"}} 2\n",
        server.tcp()
    );
    assert!(own.contains(&refused), "{own}");
}
