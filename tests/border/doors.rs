//! Further doors: HTTP on a Unix socket, and the senders that the receivers let in.

use std::path::Path;

use exporter_proxy::config::{self, Environment};
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::harness::{Proxy, free_port, until};
use crate::links::TestBridge;
use crate::process::program;

/// Sends a request over a Unix socket and returns the whole response.
async fn over(socket: &Path, method: &str, path: &str, headers: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn http_on_a_unix_socket_reads_and_writes() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock");
    let proxy = Proxy::with(&format!("http.unix_socket = {{ path = {socket:?}, mode = \"0600\" }}")).await;
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let pushed = over(&socket, "PUT", "/apps/a/metrics", "", "m 1\n").await;
    assert!(pushed.starts_with("HTTP/1.1 200 "), "{pushed}");
    assert!(over(&socket, "GET", "/metrics?own=false", "", "").await.ends_with("\r\n\r\nm 1\n"));
    assert_eq!(proxy.text("/metrics?own=false").await, "m 1\n");
    let forwarded = over(&socket, "PUT", "/apps/a/metrics", "x-forwarded-for: 9.9.9.9\r\n", "m 2\n").await;
    assert!(
        forwarded.starts_with("HTTP/1.1 403 ") && forwarded.contains("http.trusted_proxies"),
        "{forwarded}"
    );
    let own = proxy.text("/metrics?only=own").await;
    assert!(own.contains(&format!("listener=\"{}\"", socket.display())), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_id_is_of_the_peer_and_not_of_those_it_forwards_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock");
    let own = nix::unistd::geteuid().as_raw();
    let table = |uid: u32| format!("[http]\nunix_socket = {socket:?}\n[[http.access]]\nuid = {uid}\nroles = [\"push\", \"scrape\"]\n");
    let push = async |headers: &str| {
        let answer = over(&socket, "PUT", "/apps/a/metrics", headers, "m 1\n").await;
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let proxy = Proxy::with(&table(own)).await;
    assert_eq!(push("").await, "200");
    for header in [
        "x-forwarded-for: 9.9.9.9\r\n",
        "forwarded: for=9.9.9.9\r\n",
        "via: 1.1 nginx\r\n",
        "x-real-ip: 9.9.9.9\r\n",
    ] {
        assert_eq!(push(header).await, "403", "{header}");
    }
    // No table grants anything to a client over TCP, which has no user id.
    assert_eq!(proxy.get("/metrics").await.status(), 403);
    proxy.finish().await;
    let _other = Proxy::with(&table(own + 1)).await;
    assert_eq!(push("").await, "403");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("of http%20.sock");
    let _proxy = Proxy::with(&format!("http.unix_socket = {socket:?}")).await;
    let metrics = folder.path().join("m.txt");
    std::fs::write(&metrics, "m 1\n").unwrap();
    let (unix, http) = (format!("unix:{}", socket.display()), format!("http+unix:{}", socket.display()));
    let metrics = metrics.to_str().unwrap().to_owned();
    for (arguments, expected) in [
        (&["send", "a", &metrics, "--to", &http][..], "1 series"),
        (&["apps", "--from", &unix], " a "),
        (&["healthcheck", &unix], "ready"),
    ] {
        let mut command = program(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains(expected), "{arguments:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_has_a_unix_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bridge.sock");
    let text = format!("[http]\nunix_socket = {socket:?}");
    let _bridge = TestBridge::with(tempfile::tempdir().unwrap(), free_port(), &text).await;
    let listed = over(&socket, "GET", "/sd", "", "").await;
    assert!(listed.starts_with("HTTP/1.1 200 ") && listed.trim_end().ends_with("[]"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock");
    let polled = Proxy::with(&format!("http.unix_socket = {socket:?}")).await;
    polled.send(Request::put("/apps/a/metrics"), "polled_over_unix 1\n").await;
    let url = format!("unix:{}:/metrics?own=false", socket.display());
    let proxy = Proxy::with(&format!(
        "poll_external.poll_other_scrape_endpoints = true\npoll_external.poll_interval = \"100ms\"\n\
         poll_external.other_scrape_endpoints = [{url:?}]"
    ))
    .await;
    proxy.shows("polled_over_unix 1\n").await;
    let apps = proxy.text("/apps?format=wide").await;
    assert!(apps.contains(&format!("external_poll: unix:{}", socket.display())), "{apps}");
    // The same connection is used again, and a lost socket is a failed poll.
    polled.send(Request::put("/apps/a/metrics"), "polled_over_unix 2\n").await;
    proxy.shows("polled_over_unix 2\n").await;
    polled.finish().await;
    until("the poll fails", async || {
        proxy.text("/apps?format=wide").await.contains("cannot connect to /")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_take_only_the_senders_that_are_allowed() {
    let own = nix::unistd::geteuid().as_raw();
    let other = own.wrapping_add(12_345);
    let only = |uid: u32| format!("receiver.allow = [\"10.0.0.0/8\"]\nreceiver.unix_socket_allow_users = [\"{uid}\"]");
    let proxy = Proxy::with(&only(other)).await;
    let update = br#"{"a":"m 1"}"#;
    let refused = proxy.tcp_say(update).await;
    assert_eq!(
        refused,
        "{\"error\":\"127.0.0.1 is not allowed to send; add it to receiver.allow\"}\n"
    );
    let refused = proxy.unix_say(update).await;
    assert!(
        refused.contains(&format!(
            "user {own} is not allowed to send; add it to receiver.unix_socket_allow_users"
        )),
        "{refused}"
    );
    assert_eq!(proxy.text("/metrics?own=false").await, "");
    let counted = format!("exporter_proxy_rejected_total{{source=\"{}\",reason=\"forbidden\"}}", proxy.tcp());
    assert_eq!(proxy.own(&counted).await, Some(1.0));
    let proxy = Proxy::with(&only(own)).await;
    assert_eq!(proxy.unix_say(update).await, "");
    assert_eq!(proxy.text("/metrics?own=false").await, "m 1\n");
}

#[test]
fn sockets_with_one_path_and_unknown_users_are_faults() {
    let faults = |text: &str| config::parse(text, "c.toml", &Environment::default()).unwrap_err().to_string();
    let both = faults("[receiver]\nreceiver_unix_socket = \"/run/a\"\n[http]\nunix_socket = \"/run/a\"\n");
    assert!(both.contains("both have the same path"), "{both}");
    let user = faults("[receiver]\nunix_socket_allow_users = [\"no-such-user-of-this-test\"]\n");
    assert!(user.contains("unknown user \"no-such-user-of-this-test\""), "{user}");
    let endpoint = faults("[poll_external]\nother_scrape_endpoints = [\"unix:run/a.sock:/m\", \"unix:/run/a.sock\"]\n");
    assert!(
        endpoint.contains("must begin with a slash") && endpoint.contains("is missing"),
        "{endpoint}"
    );
    let key = faults("[poll_external]\nother_scrape_endpoints = [{ url = \"https://h/\", cert_file = \"/c\" }]\n");
    assert!(key.contains("need each other"), "{key}");
}
