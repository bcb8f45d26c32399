//! A proxy inside the test process, and the real programs it is tested against.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use exporter_proxy::config::{self, ConfigOrigin, Environment, Loaded};
use exporter_proxy::daemon::{ConfigSource, Daemon};
use exporter_proxy::supervise::{Report, Stop};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// How long anything may take that is expected to happen; only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running proxy, with a folder of its own. It is stopped when dropped.
pub struct Proxy {
    pub http: SocketAddr,
    pub folder: TempDir,
    tcp: Option<SocketAddr>,
    unix: Option<PathBuf>,
    pub stream: Vec<SocketAddr>,
    /// The multiaddresses of the Bitswap monitor.
    #[cfg(feature = "bitswap")]
    pub bitswap: Vec<String>,
    pub stop: Stop,
    running: Option<JoinHandle<Report>>,
}

impl Proxy {
    /// A proxy with default settings on free ports.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// A proxy with these settings on free ports. Sections that the harness needs itself are written as
    /// `[receiver]`-less lines: `receiver.format = "json"`.
    pub async fn with(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("receiver.sock");
        let text = format!(
            "exporter.scrape_expose_endpoint = \"127.0.0.1:0\"\nreceiver.receiver_tcp_socket = \"127.0.0.1:0\"\n\
             receiver.receiver_unix_socket = {socket:?}\n{extra}\n"
        );
        let environment = || Environment::from_pairs(std::iter::empty::<(String, String)>());
        let settings = config::parse(&text, "test", &environment()).unwrap_or_else(|faults| panic!("{faults}"));
        let loaded = Loaded {
            settings,
            source: ConfigOrigin {
                file: None,
                variables: Vec::new(),
            },
        };
        let daemon = Daemon::bind(
            loaded,
            ConfigSource {
                file: None,
                environment: environment(),
            },
        )
        .await
        .unwrap();
        let addresses = daemon.addresses().clone();
        let stop = daemon.stop();
        let running = Some(tokio::spawn(daemon.run()));
        Self {
            http: addresses.http[0],
            folder,
            tcp: addresses.tcp,
            unix: addresses.unix,
            stream: addresses.stream,
            #[cfg(feature = "bitswap")]
            bitswap: addresses.bitswap,
            stop,
            running,
        }
    }

    pub fn tcp(&self) -> SocketAddr {
        self.tcp.expect("the TCP receiver is on")
    }

    pub fn unix(&self) -> &Path {
        self.unix.as_deref().expect("the Unix receiver is on")
    }

    /// Stops gracefully and says how it ended.
    pub async fn finish(mut self) -> Report {
        self.stop.graceful.cancel();
        self.running.take().unwrap().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Response<Bytes> {
        self.ask(Request::get(path)).await
    }

    /// The text of an answer that must be 200.
    pub async fn text(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}: {:?}", answer.body());
        String::from_utf8(answer.into_body().to_vec()).unwrap()
    }

    pub async fn ask(&self, request: http::request::Builder) -> Response<Bytes> {
        self.send(request, "").await
    }

    pub async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Response<Bytes> {
        ask(self.http, request, body).await
    }

    /// Sends bytes to the TCP receiver, ends, and gives what came back until the proxy closed.
    pub async fn tcp_say(&self, bytes: &[u8]) -> String {
        converse(TcpStream::connect(self.tcp()).await.unwrap(), bytes).await
    }

    /// As [`Proxy::tcp_say`], on the Unix socket.
    pub async fn unix_say(&self, bytes: &[u8]) -> String {
        converse(UnixStream::connect(self.unix()).await.unwrap(), bytes).await
    }

    /// The value of one of the proxy's own samples, by its line's start.
    pub async fn own(&self, series: &str) -> Option<f64> {
        let text = self.text("/metrics").await;
        let line = text
            .lines()
            .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit_once(' ').and_then(|(_, value)| value.parse().ok())
    }

    /// Waits until `/metrics` holds this text.
    pub async fn shows(&self, text: &str) {
        until(&format!("/metrics shows {text:?}"), async || {
            self.text("/metrics").await.contains(text)
        })
        .await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.immediate.cancel();
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

/// Sends a request over a connection of its own, to the host that it names or to the address.
pub async fn ask(address: SocketAddr, request: http::request::Builder, body: impl Into<Bytes>) -> Response<Bytes> {
    let named = request.headers_ref().is_some_and(|headers| headers.contains_key("host"));
    let request = if named {
        request
    } else {
        request.header("host", address.to_string())
    };
    over(TcpStream::connect(address).await.unwrap(), request, body).await
}

/// Sends a request with its host over a new connection.
pub async fn over<S>(stream: S, request: http::request::Builder, body: impl Into<Bytes>) -> Response<Bytes>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = request.body(Full::new(body.into())).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        driver.abort();
        Response::from_parts(head, body)
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("the proxy answers")
}

pub async fn converse(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, bytes: &[u8]) -> String {
    let talk = async {
        // A proxy that refuses may close before all is written; what it said is what counts.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
        String::from_utf8(heard).unwrap()
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("the proxy closes")
}

/// Waits for something that will happen, and fails with its name when it does not.
pub async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened().await {
        assert!(Instant::now() < deadline, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Path of a real program, if it is installed. Under CI a missing one is a failure, elsewhere its test is skipped aloud.
pub fn peer(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    missing(found, program)
}

/// Path of a real program in a version newer than the system's, where `scripts/test` has put it.
pub fn newer_peer(program: &str) -> Option<PathBuf> {
    let file = repository("target/prometheus-3/usr/bin").join(program);
    missing(
        file.is_file().then_some(file),
        &format!("{program} 3.5 (scripts/bench/get-peers target/prometheus-3 prometheus)"),
    )
}

/// Path of a program of VictoriaMetrics, where `scripts/test` has put it.
pub fn victoria_metrics(program: &str) -> Option<PathBuf> {
    let file = repository("target/victoria-metrics/usr/bin").join(program);
    missing(
        file.is_file().then_some(file),
        &format!("{program} (scripts/bench/get-peers target/victoria-metrics victoria-metrics)"),
    )
}

/// A Python that has these modules, in the environment that `scripts/test` makes or in the system.
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let candidates = [root.join("target/peers/bin/python3"), "python3".into()];
    let imports = modules.iter().map(|module| format!("import {module}\n")).collect::<String>();
    let has_all = |python: &PathBuf| {
        let tried = Command::new(python)
            .args(["-c", &imports])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    missing(
        candidates.into_iter().find(has_all),
        &format!("python3 with {}", modules.join(", ")),
    )
}

/// Passes on what was found; where nothing was, fails under CI and says elsewhere that the test is skipped.
pub fn missing(found: Option<PathBuf>, what: &str) -> Option<PathBuf> {
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{what} is not installed, and under CI nothing may be skipped"
        );
        eprintln!("skipped: {what} is not installed");
    }
    found
}

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a program to its end and gives its standard output; its failure is the test's.
pub async fn run(command: &mut tokio::process::Command) -> String {
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output())
        .await
        .expect("the program ends")
        .unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Exposition text of about this many bytes, every series another.
pub fn bulk(metric: &str, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 100);
    for n in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(&format!("{metric}{{n=\"{n:08}\"}} 1\n"));
    }
    text
}

/// Ports for programs that cannot be given port 0. The system gives port 0 a number from 32768 on, so nothing else takes these.
const RESERVED_PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Locked files, one for each reserved port, until this process ends: tests run in several processes at the same time.
static RESERVED: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Reserves a port that is free for TCP and UDP, in both address families.
pub fn free_port() -> u16 {
    let directory = std::env::temp_dir().join("exporter-proxy-test-ports");
    std::fs::create_dir_all(&directory).unwrap();
    let can_bind = |host: &str, port: u16| TcpListener::bind((host, port)).is_ok() && UdpSocket::bind((host, port)).is_ok();
    let hosts: Vec<&str> = ["0.0.0.0", "::"].into_iter().filter(|host| can_bind(host, 0)).collect();
    for port in RESERVED_PORTS {
        // The file may belong to another user.
        let Ok(file) = File::create(directory.join(port.to_string())) else {
            continue;
        };
        if file.try_lock().is_ok() && hosts.iter().all(|host| can_bind(host, port)) {
            RESERVED.lock().unwrap().push(file);
            return port;
        }
    }
    panic!("all of {RESERVED_PORTS:?} are in use")
}
