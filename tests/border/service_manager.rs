//! The program under a service manager such as systemd: notifications, the watchdog, and sockets that it has bound.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::Request;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::harness::{PATIENCE, ask};
use crate::process::{Process, program};

/// The next notification that is none of the watchdog's.
fn notification(socket: &UnixDatagram) -> String {
    loop {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if text.trim() != "WATCHDOG=1" {
            return text;
        }
    }
}

fn notify_socket(directory: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(directory.join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn configuration(directory: &Path, http: SocketAddr) -> std::path::PathBuf {
    let path = directory.join("config.toml");
    let unix = directory.join("receiver.sock");
    let text = format!(
        "[exporter]\nscrape_expose_endpoint = \"{http}\"\n[receiver]\nreceive_on_tcp_socket = false\nreceiver_unix_socket = \"{}\"\n",
        unix.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn readiness_reload_and_stop_are_notified() {
    let directory = tempfile::tempdir().unwrap();
    let socket = notify_socket(directory.path());
    let config = configuration(directory.path(), "127.0.0.1:0".parse().unwrap());
    let mut process =
        Process::spawn(program(&["run", "--config", config.to_str().unwrap()]).env("NOTIFY_SOCKET", directory.path().join("notify")));
    let ready = notification(&socket);
    assert!(ready.contains("READY=1\n") && ready.contains("STATUS=serving"), "{ready}");
    // Ready means that the port is bound.
    process.line("serving http://");

    process.signal(Signal::SIGHUP);
    let reloading = notification(&socket);
    assert!(
        reloading.contains("RELOADING=1\n") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(notification(&socket).contains("READY=1\nSTATUS=configuration reloaded"));

    std::fs::write(&config, "[nonsense]\n").unwrap();
    process.signal(Signal::SIGHUP);
    assert!(notification(&socket).contains("RELOADING=1"));
    assert!(notification(&socket).contains("READY=1\nSTATUS=the last reload failed"));

    process.signal(Signal::SIGTERM);
    assert!(notification(&socket).contains("STOPPING=1"));
    assert_eq!(process.ended(), Some(0));
}

#[test]
fn the_watchdog_is_reset_within_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let socket = notify_socket(directory.path());
    let config = configuration(directory.path(), "127.0.0.1:0".parse().unwrap());
    let _process = Process::spawn(
        program(&["run", "--config", config.to_str().unwrap()])
            .env("NOTIFY_SOCKET", directory.path().join("notify"))
            .env("WATCHDOG_USEC", "400000"),
    );
    let mut resets = 0;
    while resets < 3 {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        resets += usize::from(buffer[..length].starts_with(b"WATCHDOG=1"));
    }
}

/// Fills the queue of the socket, which then takes nothing more until it is read.
fn fill(directory: &Path) {
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(directory.join("notify")).unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send(b"FILLED=1").is_ok() {}
}

#[tokio::test]
async fn a_service_manager_that_reads_nothing_delays_no_request_and_no_stop() {
    let directory = tempfile::tempdir().unwrap();
    let _socket = notify_socket(directory.path());
    fill(directory.path());
    let config = configuration(directory.path(), "127.0.0.1:0".parse().unwrap());
    let text = std::fs::read_to_string(&config).unwrap();
    // On one thread for everything, a send that blocks would block all requests.
    std::fs::write(&config, text.replace("[exporter]\n", "[exporter]\nworker_threads = 0\n")).unwrap();
    let mut process = Process::spawn(
        program(&["run", "--config", config.to_str().unwrap()])
            .env("NOTIFY_SOCKET", directory.path().join("notify"))
            .env("WATCHDOG_USEC", "20000"),
    );
    let line = process.line("serving http://");
    let address: SocketAddr = line.rsplit("http://").next().unwrap().parse().unwrap();
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(ask(address, Request::get("/healthz"), "").await.status(), 200);
    }
    // One notification blocks its sender for 5 s.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    process.signal(Signal::SIGTERM);
    process.line("did not take the notification within 5 s");
    process.line("stopped");
    assert_eq!(process.ended(), Some(0));
}

fn activated(config: &Path, http: &TcpListener, unix: &UnixListener) -> Process {
    with_sockets("run", config, http.try_clone().unwrap().into(), unix.try_clone().unwrap().into())
}

/// Starts a command of the program with sockets as file descriptors 3 and 4, as systemd passes them.
fn with_sockets(command: &str, config: &Path, third: OwnedFd, fourth: OwnedFd) -> Process {
    let mut shell = std::process::Command::new("sh");
    let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"";
    let inner = program(&[command, "--config", config.to_str().unwrap()]);
    shell.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    shell.stdin(Stdio::from(third)).stdout(Stdio::from(fourth));
    Process::spawn(&mut shell)
}

#[tokio::test]
async fn a_restart_with_passed_sockets_loses_no_connection() {
    let directory = tempfile::tempdir().unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(directory.path().join("receiver.sock")).unwrap();
    let address = http.local_addr().unwrap();
    let config = configuration(directory.path(), address);

    let mut first = activated(&config, &http, &unix);
    first.line("serving http://");
    let answer = ask(address, Request::get("/healthz"), "").await;
    assert_eq!(answer.status(), 200);
    let log = first.stop();
    assert!(!log.contains("closed the socket"), "{log}");

    // Connections that come while nothing runs wait in the backlogs of the sockets.
    let mut waiting = TcpStream::connect(address).await.unwrap();
    waiting
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut pushing = UnixStream::connect(directory.path().join("receiver.sock")).await.unwrap();
    pushing.write_all(b"{\"waited\": \"metric 1\\n\"}\n").await.unwrap();

    let mut second = activated(&config, &http, &unix);
    let mut response = String::new();
    tokio::time::timeout(PATIENCE, waiting.read_to_string(&mut response))
        .await
        .unwrap()
        .unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    second.line("serving http://");
    crate::harness::until("the push that waited is stored", async || {
        let answer = ask(address, Request::get("/metrics"), "").await;
        String::from_utf8_lossy(answer.body()).contains("metric 1")
    })
    .await;
    second.stop();
    assert!(directory.path().join("receiver.sock").exists(), "the file is the service manager's");
}

/// A listener for IPv4 and IPv6, as of `ListenStream=PORT`; none where the system has no IPv6.
fn dual_stack() -> Option<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).ok()?;
    socket.set_only_v6(false).ok()?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).ok()?;
    socket.listen(16).unwrap();
    Some(socket.into())
}

#[tokio::test]
async fn one_passed_socket_for_both_families_serves_both_configured_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let Some(http) = dual_stack() else { return };
    let port = http.local_addr().unwrap().port();
    let unix = UnixListener::bind(directory.path().join("receiver.sock")).unwrap();
    for order in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"]] {
        let config = configuration(directory.path(), http.local_addr().unwrap());
        let text = std::fs::read_to_string(&config).unwrap();
        let [first, second] = order.map(|host| format!("\"{host}:{port}\""));
        std::fs::write(&config, text.replace(&format!("\"[::]:{port}\""), &format!("[{first}, {second}]"))).unwrap();
        let mut process = activated(&config, &http, &unix);
        process.line(&format!("serving http://[::]:{port}"));
        for host in ["127.0.0.1", "[::1]"] {
            let address: SocketAddr = format!("{host}:{port}").parse().unwrap();
            assert_eq!(ask(address, Request::get("/healthz"), "").await.status(), 200, "{host}");
        }
        let log = process.stop();
        assert!(!log.contains("closed the socket"), "{log}");
    }
}

#[test]
fn one_passed_socket_for_two_keys_is_refused_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let Some(http) = dual_stack() else { return };
    let port = http.local_addr().unwrap().port();
    let unix = UnixListener::bind(directory.path().join("receiver.sock")).unwrap();
    let config = configuration(directory.path(), http.local_addr().unwrap());
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[stream]\nlisten_addresses = [\"0.0.0.0:{port}\"]\n")).unwrap();
    let mut process = activated(&config, &http, &unix);
    let line = process.line("stream.listen_addresses");
    assert!(
        line.contains(&format!("0.0.0.0:{port}")) && line.contains("BindIPv6Only=ipv6-only"),
        "{line}"
    );
    assert_eq!(process.ended(), Some(1));
}

#[test]
fn a_passed_socket_that_is_not_configured_is_closed_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = directory.path().join("other.sock");
    let unix = UnixListener::bind(&other).unwrap();
    let config = configuration(directory.path(), http.local_addr().unwrap());
    let mut process = activated(&config, &http, &unix);
    let line = process.line("closed the socket");
    assert!(line.contains(other.to_str().unwrap()), "{line}");
    process.stop();
}

#[test]
fn a_bridge_takes_its_http_and_udp_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (http_address, udp_address) = (http.local_addr().unwrap(), udp.local_addr().unwrap());
    let config = directory.path().join("bridge.toml");
    let directory = directory.path().display();
    let text = format!(
        "[bridge]\nhttp_listen = \"{http_address}\"\nquic_listen = \"{udp_address}\"\nkey_file = \"{directory}/key\"\n\
         secret = \"{}\"\ntargets_file = \"{directory}/targets.json\"\n",
        "5".repeat(64)
    );
    std::fs::write(&config, text).unwrap();
    // Both stay open here, so the bridge could not bind the addresses itself.
    let mut bridge = with_sockets("bridge", &config, http.try_clone().unwrap().into(), udp.try_clone().unwrap().into());
    bridge.line(&format!("serving http://{http_address}"));
    bridge.line(&format!("udp {udp_address}"));
    let health = program(&["healthcheck", "--role", "bridge", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(health.status.success(), "{}", String::from_utf8_lossy(&health.stderr));
    let log = bridge.stop();
    assert!(!log.contains("closed the socket"), "{log}");
}

#[test]
fn the_health_check_asks_the_configured_port() {
    let directory = tempfile::tempdir().unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(directory.path().join("receiver.sock")).unwrap();
    let config = configuration(directory.path(), http.local_addr().unwrap());
    let check = || {
        program(&["healthcheck", "--timeout", "1", "--config", config.to_str().unwrap()])
            .output()
            .unwrap()
    };
    // The listener is there and nothing accepts.
    let output = check();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did not answer within 1 s"));
    let mut process = activated(&config, &http, &unix);
    process.line("serving http://");
    let output = check();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    process.stop();
}
