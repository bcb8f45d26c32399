//! The log when standard error is closed, full, or on a full disk.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use http::Request;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::full_disk::{mount, run_where_it_may_mount, take_room};
use crate::harness::{ask, free_port, until};
use crate::process::{config, program};

/// A proxy with a standard error of the test's choice; killed when dropped.
struct Logging {
    child: Child,
    http: SocketAddr,
}

impl Logging {
    /// Starts a proxy on a port that is known without its log.
    fn start(folder: &Path, stderr: Stdio) -> Self {
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let file = config(folder, "");
        write_config(&file, http, "");
        let child = program(&["--config", file.to_str().unwrap()]).stderr(stderr).spawn().unwrap();
        Self { child, http }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    async fn dropped(&self) -> f64 {
        let answer = ask(self.http, Request::get("/metrics?only=own"), "").await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let line = text
            .lines()
            .find(|line| line.starts_with("exporter_proxy_log_lines_dropped_total "));
        line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or_default()
    }

    async fn is_up(&self) -> bool {
        tokio::net::TcpStream::connect(self.http).await.is_ok() && ask(self.http, Request::get("/healthz"), "").await.status() == 200
    }

    /// Has the proxy log a line about a request that is refused.
    async fn refuse_something(&self) {
        let answer = ask(self.http, Request::put("/apps/a/metrics"), "no exposition\n").await;
        assert_eq!(answer.status(), 400);
    }

    /// Has the proxy log so much that its queue overflows: the faults of a configuration are one line.
    async fn overflow(&mut self, folder: &Path) {
        let faults: String = (0..2_000).map(|n| format!("unknown_key_{n} = 1\n")).collect();
        write_config(&folder.join("config.toml"), self.http, &faults);
        let before = self.dropped().await;
        until("lines are dropped", async || {
            self.signal(Signal::SIGHUP);
            self.dropped().await > before
        })
        .await;
        assert!(self.child.try_wait().unwrap().is_none());
    }

    /// Stops it, and gives its exit code.
    async fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        let mut code = None;
        until("it ends", async || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        })
        .await;
        code.unwrap().code()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(file: &Path, http: SocketAddr, extra: &str) {
    let text = format!(
        "exporter.scrape_expose_endpoint = \"{http}\"\nreceiver.receive_on_tcp_socket = false\nreceiver.receive_on_unix_socket = false\n{extra}"
    );
    fs::write(file, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_after_the_first_line_does_not_end_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let mut proxy = Logging::start(folder.path(), Stdio::piped());
    let mut log = BufReader::new(proxy.child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("exporter-proxy "), "{line}");
    drop(log);
    until("it serves", async || proxy.is_up().await).await;
    proxy.refuse_something().await;
    until("the lost line is counted", async || proxy.dropped().await >= 1.0).await;
    assert!(proxy.is_up().await);
    assert_eq!(proxy.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_error_that_is_closed_from_the_start_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut proxy = Logging::start(folder.path(), writer.into());
    until("it serves", async || proxy.is_up().await).await;
    until("the lost lines are counted", async || proxy.dropped().await >= 1.0).await;
    assert_eq!(proxy.stop().await, Some(0));
}

#[test]
fn a_command_that_cannot_say_its_error_still_has_its_exit_code() {
    for arguments in [&["send", "app", "--to", "tcp://127.0.0.1:1"][..], &["--config", "/nonexistent"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = program(arguments).stdin(Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(1), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pipe_costs_lines_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut proxy = Logging::start(folder.path(), Stdio::piped());
    let log = proxy.child.stderr.take().unwrap();
    until("it serves", async || proxy.is_up().await).await;
    proxy.overflow(folder.path()).await;
    for _ in 0..20 {
        proxy.refuse_something().await;
    }

    // The reader is back, and is told what it missed.
    let (found, told) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut log = BufReader::new(log);
        let mut line = String::new();
        while log.read_line(&mut line).unwrap() > 0 {
            if line.contains("log lines dropped: ") {
                found.send(line).unwrap();
                return log;
            }
            line.clear();
        }
        panic!("the log has ended");
    });
    let line = tokio::task::block_in_place(|| told.recv_timeout(Duration::from_secs(30))).unwrap();
    assert!(line.contains("dropped="), "{line}");

    // It stops reading again. A signal is obeyed all the same, and the exit code is that of a clean end.
    let _log = tokio::task::block_in_place(|| reading.join().unwrap());
    proxy.overflow(folder.path()).await;
    assert_eq!(proxy.stop().await, Some(0));
}

#[test]
fn a_log_on_a_full_disk_costs_lines_and_nothing_else() {
    const NAME: &str = "log::a_log_on_a_full_disk_costs_lines_and_nothing_else";
    if !run_where_it_may_mount(NAME) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = mount(folder.path(), "1m");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let file = disk.join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&file).unwrap();
        let mut proxy = Logging::start(folder.path(), log.into());
        until("it serves", async || proxy.is_up().await).await;
        let filler = disk.join("filler");
        take_room(&filler);
        until("lines are lost", async || {
            proxy.signal(Signal::SIGHUP);
            proxy.dropped().await >= 1.0
        })
        .await;
        proxy.refuse_something().await;
        fs::remove_file(&filler).unwrap();
        let mut text = String::new();
        until("the log says what it lacks", async || {
            text.clear();
            File::open(&file).unwrap().read_to_string(&mut text).unwrap();
            text.contains("log lines dropped: ")
        })
        .await;
        assert!(
            text.lines().all(|line| !line.contains("dropped: ") || line.contains("Z  WARN ")),
            "{text}"
        );
        assert_eq!(proxy.stop().await, Some(0));
    });
}
