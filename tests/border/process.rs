//! The program as a process: its commands, its signals, its exit codes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use http::Request;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Proxy, ask, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_exporter-proxy");

/// The program with nothing of the caller's environment but its path.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn output(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running proxy as a process of its own; killed when dropped.
pub struct Process {
    child: Child,
    log: BufReader<ChildStderr>,
    seen: String,
}

impl Process {
    pub fn start(config: &Path) -> Self {
        Self::command("run", config)
    }

    pub fn command(command: &str, config: &Path) -> Self {
        Self::spawn(&mut program(&[command, "--config", config.to_str().unwrap()]))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            log,
            seen: String::new(),
        }
    }

    /// Reads the log up to the line that holds `text`, and gives that line.
    pub fn line(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "the log ended without {text:?}:\n{}",
                self.seen
            );
            self.seen.push_str(&line);
            if line.contains(text) {
                return line.trim_end().to_owned();
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended, and gives its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Process {
    /// The log so far.
    pub fn log(&self) -> &str {
        &self.seen
    }

    /// Stops it gracefully and returns the log.
    pub fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        self.line("stopped");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.seen);
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a configuration with free ports and these settings.
pub fn config(folder: &Path, extra: &str) -> std::path::PathBuf {
    let file = folder.join("config.toml");
    let socket = folder.join("r.sock");
    let text = format!(
        "exporter.scrape_expose_endpoint = \"127.0.0.1:0\"\nreceiver.receiver_tcp_socket = \"127.0.0.1:0\"\nreceiver.receiver_unix_socket = {socket:?}\n{extra}"
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_listens_reloads_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "http.write_from = []\n");
    let mut process = Process::start(&file);
    process.line("receiving on tcp://127.0.0.1:");
    let serving = process.line("serving http://127.0.0.1:");
    let address = serving.rsplit_once("http://").unwrap().1.parse().unwrap();
    let example = process.line("to scrape: curl http://127.0.0.1:");
    assert!(!process.log().contains("to push:"), "no client may push: {example}");
    let push = || Request::put("/apps/a/metrics");
    assert_eq!(ask(address, push(), "m 1").await.status(), 403);
    process.line("refused: PUT /apps/a/metrics: 127.0.0.1 is not allowed to push; add it to http.write_from");

    config(
        folder.path(),
        "http.write_from = [\"127.0.0.1\"]\nexporter.concurrent_requests = 7\n",
    );
    process.signal(Signal::SIGHUP);
    process.line("exporter.concurrent_requests has changed and needs a restart");
    process.line("configuration reloaded");
    assert_eq!(ask(address, push(), "m 1").await.status(), 200);

    // Still to be restarted, and no more once the file says again what is in force.
    process.signal(Signal::SIGHUP);
    process.line("exporter.concurrent_requests has changed and needs a restart");
    process.line("configuration reloaded");
    config(folder.path(), "http.write_from = [\"127.0.0.1\"]\n");
    let before = process.log().len();
    process.signal(Signal::SIGHUP);
    process.line("configuration reloaded");
    assert!(!process.log()[before..].contains("needs a restart"), "{}", process.log());

    config(folder.path(), "http.write_form = []\n");
    process.signal(Signal::SIGHUP);
    let refused = process.line("stays in force");
    assert!(refused.contains("did you mean \"write_from\"?"), "{refused}");
    assert_eq!(ask(address, push(), "m 1").await.status(), 200);
    let own = text(ask(address, Request::get("/metrics"), "").await.body());
    assert!(own.contains("exporter_proxy_config_last_reload_successful 0\n"), "{own}");

    process.signal(Signal::SIGTERM);
    process.line("stopped");
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    assert!(!folder.path().join("r.sock").exists(), "the socket file is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_without_the_file_of_the_start_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "http.write_from = []\n");
    let away = folder.path().join("away.toml");
    let mut process = Process::spawn(program(&["run"]).current_dir(folder.path()));
    let serving = process.line("serving http://127.0.0.1:");
    let address = serving.rsplit_once("http://").unwrap().1.parse().unwrap();
    std::fs::rename(&file, &away).unwrap();
    process.signal(Signal::SIGHUP);
    process.line("configuration not reloaded, the previous one stays in force");
    assert!(
        process
            .log()
            .contains("./config.toml: cannot read it (the configuration in force was read from it): No such file"),
        "{}",
        process.log()
    );
    let push = || Request::put("/apps/a/metrics");
    assert_eq!(ask(address, push(), "m 1").await.status(), 403, "the defaults would permit it");
    std::fs::rename(&away, &file).unwrap();
    process.signal(Signal::SIGHUP);
    process.line("configuration reloaded, no changes");
    config(folder.path(), "http.write_from = [\"127.0.0.1\"]\n");
    process.signal(Signal::SIGHUP);
    process.line("configuration reloaded");
    assert_eq!(ask(address, push(), "m 1").await.status(), 200);
    process.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_reload_has_found_is_needed_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(&["run"]);
    let variables = [
        ("EXPORTER_PROXY__EXPORTER__SCRAPE_EXPOSE_ENDPOINT", "127.0.0.1:0"),
        ("EXPORTER_PROXY__RECEIVER__RECEIVE_ON_TCP_SOCKET", "false"),
        ("EXPORTER_PROXY__RECEIVER__RECEIVE_ON_UNIX_SOCKET", "false"),
    ];
    let mut process = Process::spawn(command.current_dir(folder.path()).envs(variables));
    assert!(process.line("configured by").contains("built-in defaults"), "{}", process.log());
    let serving = process.line("serving http://127.0.0.1:");
    let address = serving.rsplit_once("http://").unwrap().1.parse().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "http.write_from = []\n").unwrap();
    process.signal(Signal::SIGHUP);
    process.line("configuration reloaded");
    std::fs::remove_file(&file).unwrap();
    process.signal(Signal::SIGHUP);
    process.line("configuration not reloaded");
    assert_eq!(ask(address, Request::put("/apps/a/metrics"), "m 1").await.status(), 403);
    process.stop();
}

#[test]
fn a_bridge_keeps_its_configuration_where_the_file_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[bridge]\nhttp_listen = \"127.0.0.1:0\"\nquic_listen = \"127.0.0.1:0\"\nkey_file = \"bridge.key\"\nsecret = \"{}\"\n",
        "1".repeat(64)
    );
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    let mut bridge = Process::spawn(program(&["bridge"]).current_dir(folder.path()));
    bridge.line("serving http://");
    std::fs::remove_file(&file).unwrap();
    bridge.signal(Signal::SIGHUP);
    bridge.line("configuration not reloaded");
    bridge.stop();
}

#[test]
fn a_reload_warns_of_what_a_start_warns_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "");
    let mut process = Process::start(&file);
    process.line("to scrape");
    config(
        folder.path(),
        "poll_external.other_scrape_endpoints = [\"http://127.0.0.1:1/metrics\"]\n",
    );
    process.signal(Signal::SIGHUP);
    process.line("poll_external.other_scrape_endpoints has 1 endpoint, but polling is disabled");
    process.line("configuration reloaded");
    process.stop();

    let (_root, [file, _]) = with_one_key("bridge");
    let mut bridge = Process::command("bridge", &file);
    bridge.line("serving http://");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}[p2p]\nalias = \"a\"\n")).unwrap();
    bridge.signal(Signal::SIGHUP);
    bridge.line("p2p.alias without effect: a bridge reads [bridge], and [p2p] is for proxies");
    bridge.line("configuration reloaded");
    bridge.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_has_become_a_fifo_is_refused_and_freezes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "");
    let mut process = Process::start(&file);
    let serving = process.line("serving http://127.0.0.1:");
    let address = serving.rsplit_once("http://").unwrap().1.parse().unwrap();
    std::fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    process.signal(Signal::SIGHUP);
    let refused = process.line("configuration not reloaded");
    assert!(refused.contains("it is a FIFO and no regular file"), "{refused}");
    assert_eq!(ask(address, Request::get("/healthz"), "").await.status(), 200);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended(), Some(0));
    let refused = output(&mut program(&["run", "--config", file.to_str().unwrap()]), "");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("it is a FIFO and no regular file"), "{refused:?}");
}

/// Two configurations with one key file, for this command.
fn with_one_key(command: &str) -> (tempfile::TempDir, [std::path::PathBuf; 2]) {
    let root = tempfile::tempdir().unwrap();
    let key = root.path().join("one.key");
    let files = ["a", "b"].map(|name| {
        let folder = root.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let links = match command {
            "bridge" => format!(
                "[bridge]\nhttp_listen = \"127.0.0.1:0\"\nquic_listen = \"127.0.0.1:0\"\nkey_file = {key:?}\n\
                 secret = \"{}\"\ntargets_file = {:?}\n",
                "1".repeat(64),
                folder.join("targets.json")
            ),
            _ => format!(
                "[p2p]\nenabled = true\nkey_file = {key:?}\nlisten = \"127.0.0.1:0\"\nallow = [\"{}\"]\n",
                "1".repeat(64)
            ),
        };
        config(&folder, &links)
    });
    (root, files)
}

#[test]
fn two_processes_cannot_use_one_key_and_a_restart_may_overlap() {
    for command in ["run", "bridge"] {
        let (_root, [one, other]) = with_one_key(command);
        let mut first = Process::command(command, &one);
        first.line("serving http://");
        let mut second = Process::command(command, &other);
        let waiting = second.line("waiting up to 15 s for it");
        let holder = format!(
            "one.key ({}.key_file): it is in use by process {};",
            if command == "run" { "p2p" } else { command },
            first.id()
        );
        assert!(waiting.contains(&holder), "{waiting}");
        // Its destructor is a `kill -9`.
        drop(first);
        second.line("serving http://");
        // A third one is stopped while it waits.
        let mut third = Process::command(command, &one);
        third.line("waiting up to 15 s for it");
        third.signal(Signal::SIGTERM);
        third.line("stopped by SIGTERM before anything was served");
        assert_eq!(third.ended(), Some(0));
    }
}

#[test]
fn a_reload_while_the_key_is_in_use_is_done_after_the_start() {
    for command in ["run", "bridge"] {
        let (_root, [one, other]) = with_one_key(command);
        let mut first = Process::command(command, &one);
        first.line("serving http://");
        let mut second = Process::command(command, &other);
        second.line("waiting up to 15 s for it");
        second.signal(Signal::SIGHUP);
        drop(first);
        second.line("serving http://");
        second.line("configuration reloaded, no changes");
        second.stop();
    }
}

#[test]
fn a_key_that_stays_in_use_is_refused_with_the_process_that_uses_it() {
    let (_root, [one, other]) = with_one_key("run");
    let mut first = Process::start(&one);
    first.line("serving http://");
    let mut second = Process::start(&other);
    let refused = second.line("two processes cannot share a key");
    assert!(refused.contains(&format!("in use by process {}", first.id())), "{refused}");
    assert_eq!(second.ended(), Some(1));
}

/// The number of threads of a proxy with this setting. Threads for blocking work may exist while they are counted, so it is the smallest
/// of several runs.
fn threads(setting: &str) -> usize {
    (0..4).map(|_| threads_once(setting)).min().unwrap()
}

fn threads_once(setting: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(&config(folder.path(), setting));
    // The last line of the greeting: by now all threads are there that do not come and go.
    process.line("to scrape: curl http://");
    std::fs::read_dir(format!("/proc/{}/task", process.child.id())).unwrap().count()
}

#[test]
fn worker_threads_says_how_many_threads_serve() {
    let one = threads("exporter.worker_threads = 1\n");
    let nine = threads("exporter.worker_threads = 9\n");
    assert!((one + 6..=one + 10).contains(&nine), "{one} and {nine}");
    assert!(threads("exporter.worker_threads = 0\n") <= one);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_them_do_not_take_each_others_socket() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "");
    let mut first = Process::start(&file);
    first.line("to scrape");
    let second = output(&mut program(&["-c", file.to_str().unwrap()]), "");
    assert_eq!(second.status.code(), Some(1));
    let told = text(&second.stderr);
    assert!(
        told.contains("receiver.receiver_unix_socket") && told.contains("another process is listening there"),
        "{told}"
    );
    assert!(folder.path().join("r.sock").exists());
    first.signal(Signal::SIGKILL);
    first.child.wait().unwrap();
    let mut third = Process::start(&file);
    third.line("to scrape");
}

#[test]
fn check_tells_everything_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let good = config(folder.path(), "");
    let fine = output(&mut program(&["check", "-c", good.to_str().unwrap()]), "");
    assert_eq!((fine.status.code(), text(&fine.stderr)), (Some(0), String::new()));
    assert!(text(&fine.stdout).contains("receives on    tcp 127.0.0.1:0"));
    assert!(!text(&fine.stdout).contains("\nbridge "), "nobody has set anything about one");
    let bridge = config(
        folder.path(),
        "[bridge]\nhttp_listen = \"127.0.0.1:0\"\ntargets_file = \"t.json\"\n",
    );
    let fine = text(&output(&mut program(&["check", "-c", bridge.to_str().unwrap()]), "").stdout);
    assert!(
        fine.contains("scraped at http://127.0.0.1:0") && fine.contains("lists them in t.json"),
        "{fine}"
    );
    let secret = "warning: exporter-proxy bridge would not start: bridge.secret_file is not set";
    assert!(fine.contains(secret), "{fine}");
    let shipped = crate::harness::repository("config.toml");
    let quiet = text(&output(&mut program(&["check", shipped.to_str().unwrap()]), "").stdout);
    assert!(
        !quiet.contains("exporter-proxy bridge would not start"),
        "it changes nothing about a bridge: {quiet}"
    );
    let deaf = config(folder.path(), "[bridge]\nquic_listen = \"\"\n");
    let faulty = output(&mut program(&["check", "-c", deaf.to_str().unwrap()]), "");
    let told = text(&faulty.stdout);
    assert!(
        faulty.status.code() == Some(1) && told.contains(":5:15: bridge.quic_listen: no proxy can register"),
        "{told}"
    );
    let refused = output(&mut program(&["bridge", "-c", deaf.to_str().unwrap()]), "");
    assert!(text(&refused.stderr).contains("no proxy can register"), "{}", text(&refused.stderr));
    let bad = config(folder.path(), "[receiver.x]\n[stor]\nmax_apps = 0\n[http]\nwrite_from = [\"no\"]\n");
    let faulty = output(&mut program(&["check", "-c", bad.to_str().unwrap()]), "");
    let told = text(&faulty.stdout);
    assert_eq!(faulty.status.code(), Some(1), "{told}");
    assert!(
        told.contains(":5:") && told.contains("did you mean [store]?") && told.contains(":8:"),
        "{told}"
    );
    let overridden = output(
        program(&["check", "-c", good.to_str().unwrap()]).env("EXPORTER_PROXY__RECEIVER__FORMATT", "json"),
        "",
    );
    assert_eq!(overridden.status.code(), Some(1));
    assert!(
        text(&overridden.stdout).contains("EXPORTER_PROXY__RECEIVER__FORMATT"),
        "{}",
        text(&overridden.stdout)
    );
}

#[test]
fn check_names_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    let extra = format!(
        "[receiver]\nunix_socket_user = \"no-such-user\"\nunix_socket_group = \"no-such-group\"\n[poll_external]\n\
         poll_other_scrape_endpoints = true\nother_scrape_endpoints = [\n  \"http://h:1/m?format=text&token=hunter2\",\n  \
         {{ url = \"https://h:2/m\", ca_file = \"{place}/ca.pem\" }},\n  \
         {{ url = \"http://h:3/m\", bearer_token_file = \"{place}/token\" }},\n]\n[p2p]\nenabled = true\n\
         key_file = \"{place}/p2p.key\"\nsecret_file = \"{place}/secret\"\nbridges = [\"quic://{key}@h:4\"]\n",
        key = "y".repeat(52)
    );
    let file = folder.path().join("config.toml");
    std::fs::write(&file, &extra).unwrap();
    let check = || {
        let checked = output(&mut program(&["check", "-c", file.to_str().unwrap()]), "");
        (checked.status.code(), text(&checked.stdout))
    };
    let (code, told) = check();
    let expected = [
        "config.toml:2:20: receiver.unix_socket_user: unknown user `no-such-user`",
        "config.toml:3:21: receiver.unix_socket_group: unknown group `no-such-group`",
        "poll_external.other_scrape_endpoints: the endpoint \"external_poll: h:2\": cannot read",
        "ca.pem: No such file",
        "poll_external.other_scrape_endpoints: the endpoint \"external_poll: h:3\": cannot read",
        "token: No such file",
        "p2p.secret_file: cannot read",
    ];
    assert!(code == Some(1) && expected.iter().all(|text| told.contains(text)), "{told}");
    assert_eq!(told.lines().count(), 5, "{told}");

    let rest = extra.split_once("[poll_external]").unwrap().1;
    std::fs::write(&file, format!("[poll_external]{rest}")).unwrap();
    std::fs::write(folder.path().join("token"), "t").unwrap();
    std::fs::write(folder.path().join("secret"), "1".repeat(64)).unwrap();
    for name in ["token", "secret"] {
        std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::write(folder.path().join("ca.pem"), "no certificate").unwrap();
    let (code, told) = check();
    assert!(code == Some(1) && told.contains("ca.pem") && told.lines().count() == 1, "{told}");
    let certificate = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), certificate.cert.pem()).unwrap();
    let (code, told) = check();
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("polls          http://h:1/m?format=text&token=MASKED every"),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");
    assert!(!folder.path().join("p2p.key").exists(), "nothing is made");
}

#[test]
fn a_start_names_the_key_of_a_user_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    for key in ["unix_socket_user", "unix_socket_group"] {
        let file = config(folder.path(), &format!("receiver.{key} = \"no-such-one\"\n"));
        let refused = output(&mut program(&["-c", file.to_str().unwrap()]), "");
        let told = text(&refused.stderr);
        assert!(told.contains(&format!("receiver.{key}: cannot listen on unix")), "{told}");
    }
}

#[test]
fn a_scrape_that_fails_says_why_once_and_after_how_long() {
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("key");
    let key = "y".repeat(52);
    let (quic, far) = (format!("{key}@127.0.0.1:1"), format!("hyperdht://{key}"));
    let mut targets = vec![&quic];
    targets.extend(cfg!(feature = "hyperdht").then_some(&far));
    for target in targets {
        let began = std::time::Instant::now();
        let arguments = [
            "scrape",
            target,
            "--bootstrap",
            "127.0.0.1:1",
            "--identity",
            identity.to_str().unwrap(),
        ];
        let failed = output(&mut program(&arguments), "");
        let took = began.elapsed().as_secs_f64();
        let told = text(&failed.stderr);
        assert_eq!((failed.status.code(), told.lines().count()), (Some(1), 1), "{told}");
        if let Some((_, after)) = told.split_once("(after ") {
            let after: f64 = after.split(' ').next().unwrap().parse().unwrap();
            assert!(after <= took + 0.1, "{told} after {took}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_address_families_can_be_served_on_one_port() {
    let folder = tempfile::tempdir().unwrap();
    for order in [["0.0.0.0", "[::]"], ["[::]", "127.0.0.1"]] {
        let port = crate::harness::free_port();
        let file = folder.path().join("config.toml");
        let [first, second] = order.map(|host| format!("\"{host}:{port}\""));
        let text = format!(
            "exporter.scrape_expose_endpoint = [{first}, {second}]\nreceiver.receive_on_tcp_socket = false\n\
             receiver.receive_on_unix_socket = false\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut process = Process::start(&file);
        process.line("to scrape");
        for host in ["127.0.0.1", "::1"] {
            let address = std::net::SocketAddr::new(host.parse().unwrap(), port);
            assert_eq!(ask(address, Request::get("/healthz"), "").await.status(), 200);
        }
    }
}

/// A server that gives each client this answer to an HTTP request.
fn answering(answer: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        // Kept open: a reset would discard the answer.
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            // The head only: the program that asked reads while it may still be writing.
            while stream.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n";
            let head = if answer.starts_with("refused") {
                head
            } else {
                "HTTP/1.1 200 OK\r\nconnection: close\r\n"
            };
            let answer = format!("{head}content-length: {}\r\n\r\n{answer}", answer.len());
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            open.push(stream);
        }
    });
    address
}

#[test]
fn what_a_server_sends_cannot_control_the_terminal() {
    let accepts = format!("http://{}", answering("stored \u{1b}]0;title\u{7} \u{9b}2J \u{202e}\r\n"));
    let refuses = format!("http://{}", answering("refused \u{1b}]0;title\u{7} \u{9b}2J \u{202e}\r\n"));
    for (arguments, code) in [
        (&["apps", "--from", &accepts][..], 0),
        (&["apps", "--json", "--from", &accepts], 0),
        (&["apps", "--from", &refuses], 1),
        (&["send", "a", "--to", &accepts], 0),
        (&["send", "a", "--to", &refuses], 1),
    ] {
        let done = output(&mut program(arguments), "m 1\n");
        let printed = text(&done.stdout) + &text(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {printed}");
        assert!(printed.contains("]0;title"), "{arguments:?}: {printed}");
        let hidden = printed.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(hidden, None, "{arguments:?}: {printed:?}");
    }
}

#[test]
fn a_bridge_says_which_files_it_makes() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[bridge]\nhttp_listen = \"127.0.0.1:0\"\nquic_listen = \"127.0.0.1:0\"\nkey_file = \"bridge.key\"\nsecret = \"{}\"\n",
        "1".repeat(64)
    );
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    let place = folder.path().canonicalize().unwrap();
    let start = || Process::spawn(program(&["bridge", "-c", "config.toml"]).current_dir(folder.path()));
    let mut first = start();
    first.line(&format!("created a new key in {}/bridge.key", place.display()));
    first.line(&format!("created the targets file {}/prometheus/targets.json", place.display()));
    let mut told = first.stop();
    assert_eq!(told.matches("created ").count(), 2, "{told}");
    let mut second = start();
    second.line("proxies register at udp");
    told = second.stop();
    assert_eq!(told.matches("created ").count(), 0, "{told}");
}

#[test]
fn a_limit_on_file_sizes_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("bridge.key");
    let text = format!(
        "[bridge]\nhttp_listen = \"127.0.0.1:0\"\nquic_listen = \"127.0.0.1:0\"\nkey_file = {key:?}\nsecret = \"{}\"\ntargets_file = {:?}\n",
        "1".repeat(64),
        folder.path().join("targets.json")
    );
    let file = config(folder.path(), &text);
    let limited = Command::new("sh")
        .args([
            "-c",
            "ulimit -f 0; exec \"$@\"",
            "sh",
            PROGRAM,
            "bridge",
            "-c",
            file.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&limited.stderr);
    assert_eq!(limited.status.code(), Some(1), "{told}");
    assert!(told.contains("bridge.key: File too large"), "{told}");
    assert!(!key.exists(), "a file that cannot be used is left");
    Process::command("bridge", &file).line("serving http://");
}

#[tokio::test(flavor = "multi_thread")]
async fn send_reaches_every_way_in() {
    let proxy = Proxy::start().await;
    let (tcp, unix, http) = (
        format!("tcp://{}", proxy.tcp()),
        format!("unix:{}", proxy.unix().display()),
        format!("http://{}", proxy.http),
    );
    for (n, arguments) in [
        &["--to", &tcp][..],
        &["--to", &tcp, "--format", "capnp"],
        &["--to", &unix],
        &["--to", &http],
    ]
    .iter()
    .enumerate()
    {
        let app = format!("app {n}");
        let says = if arguments[1] == http {
            "stored app 3: 1 family, 1 series"
        } else {
            "1 family, 1 series; "
        };
        let sent = tokio::task::block_in_place(|| output(program(&["send", &app]).args(*arguments), &format!("m{n} 1\n")));
        assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
        assert!(text(&sent.stdout).contains(says), "{}", text(&sent.stdout));
        proxy.shows(&format!("m{n} 1\n")).await;
    }
    let table = tokio::task::block_in_place(|| output(&mut program(&["apps", "--from", &http]), ""));
    assert!(text(&table.stdout).contains("| app 3"), "{}", text(&table.stdout));
    let list = tokio::task::block_in_place(|| output(&mut program(&["apps", "--json", "--from", &http]), ""));
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&list.stdout).unwrap()["apps"][3]["name"],
        "app 3"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_updates_and_messages_are_logged_at_debug_and_trace() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "");
    let mut command = program(&["--config", file.to_str().unwrap()]);
    let mut process = Process::spawn(command.env("RUST_LOG", "exporter_proxy=trace"));
    let receiving = process.line("receiving on tcp://127.0.0.1:");
    let serving = process.line("serving http://127.0.0.1:");
    let port = |line: &str| line.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let send = ["send", "tcp_app", "--to", &format!("tcp://127.0.0.1:{}", port(&receiving))].map(str::to_owned);
    let sent = output(&mut program(&send.each_ref().map(String::as_str)), "m 1\n");
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    process.line("connection opened");
    for line in ["message received", "update received"] {
        assert!(process.line(line).contains("tcp_app"), "{}", process.log());
    }
    process.line("connection closed: by the sender");
    let http = (std::net::Ipv4Addr::LOCALHOST, port(&serving)).into();
    assert_eq!(ask(http, Request::put("/apps/http_app/metrics"), "m 1").await.status(), 200);
    assert!(process.line("update pushed").contains("http_app"), "{}", process.log());
    assert_eq!(ask(http, Request::delete("/apps/http_app"), "").await.status(), 202);
    assert!(process.line("deleted by request").contains("http_app"), "{}", process.log());
    let rejected = ask(http, Request::put("/apps/http_app/metrics"), "m one\n").await;
    assert_eq!(rejected.status(), 400);
    assert!(
        process.line("refused: http_app: line 1, column 3").contains("invalid"),
        "{}",
        process.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn send_says_what_the_proxy_refused() {
    let proxy = Proxy::with("receiver.format = \"capnp\"\nhttp.write_from = []").await;
    let (tcp, http) = (format!("tcp://{}", proxy.tcp()), format!("http://{}", proxy.http));
    for (to, told) in [
        (&*tcp, "takes only Cap'n Proto"),
        (&*http, "http.write_from"),
        ("tcp://127.0.0.1:1", "cannot connect"),
    ] {
        let sent = tokio::task::block_in_place(|| output(&mut program(&["send", "app", "--to", to]), "m 1\n"));
        assert_eq!(sent.status.code(), Some(1), "{to}");
        assert!(text(&sent.stderr).contains(told), "{}", text(&sent.stderr));
    }
    let usage = output(&mut program(&["send", "app", "--to", "ftp://x:1"]), "");
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn tap_says_which_key_opens_a_stream() {
    let tap = output(&mut program(&["tap", "--from", "127.0.0.1:1"]), "");
    assert_eq!(tap.status.code(), Some(1));
    assert!(text(&tap.stderr).contains("stream.listen_addresses"), "{}", text(&tap.stderr));
}

#[test]
fn help_and_completions() {
    let help = text(&output(&mut program(&["--help"]), "").stdout);
    for command in ["run", "check", "send", "apps", "completions", "--config", "--log-format"] {
        assert!(help.contains(command), "{command} is missing in {help}");
    }
    let script = text(&output(&mut program(&["completions", "bash"]), "").stdout);
    assert!(script.contains("complete -F _exporter__proxy"), "{script}");
    assert_eq!(output(&mut program(&["nonsense"]), "").status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "");
    let mut process = Process::start(&file);
    let tcp = process.line("receiving on tcp://").rsplit_once("tcp://").unwrap().1.to_owned();
    let address = process.line("serving http://").rsplit_once("http://").unwrap().1.parse().unwrap();
    process.line("to scrape");
    let mut half = std::net::TcpStream::connect(&tcp).unwrap();
    half.write_all(b"{\"half\":").unwrap();
    // Connections are accepted in order, so once this one's message is there the other's has been seen to begin.
    std::net::TcpStream::connect(&tcp)
        .unwrap()
        .write_all(b"{\"whole\":\"m 1\"}")
        .unwrap();
    until("the whole message is stored", async || {
        text(ask(address, Request::get("/apps?format=wide"), "").await.body()).contains("whole")
    })
    .await;
    process.signal(Signal::SIGTERM);
    process.line("send again to stop now");
    process.signal(Signal::SIGTERM);
    // The HTTP port may not have let go of the last answer yet.
    let end = process.line("gave up waiting for ");
    assert!(end.contains("receiver "), "{end}");
    assert_eq!(process.child.wait().unwrap().code(), Some(1));
}

#[test]
fn logs_can_be_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = config(folder.path(), "");
    let mut child = program(&["--log-format", "json", "-c", file.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["level"], "INFO");
    child.kill().unwrap();
    child.wait().unwrap();
}
