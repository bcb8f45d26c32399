//! The commands of the documentation, run page by page as they stand there.
//!
//! A fenced block is one step of its page, by the words after its fence:
//!
//! | fence | meaning |
//! | --- | --- |
//! | `sh` | a shell runs it, and each command must succeed |
//! | `sh background` | it is started, and the next step waits until it is ready |
//! | `sh no-run=REASON` | not run; the reasons are in [`REASONS`] |
//! | `text output` | lines that the step before has printed, with `...` for any text |
//! | `toml FILE`, `yaml FILE`, `text FILE` | written to that file first |
//!
//! Each page has a directory, and a network and a `/run` of its own, so that the usual ports and sockets are free.

use std::fmt::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{missing, peer, python, repository};

/// Reasons not to run a block.
const REASONS: &[&str] = &[
    "build",          // builds this program
    "engine",         // needs a container engine or a cluster
    "other-machine",  // reaches for another machine by name
    "public-network", // needs the internet
    "root",           // changes the machine
    "feature",        // needs another set of cargo features
];

/// Programs that pages use and a system may lack.
const OTHER_PROGRAMS: &[&str] = &[
    "curl",
    "nc",
    "openssl",
    "pgrep",
    "prometheus-node-exporter",
    "prometheus-pushgateway",
    "promtool",
];

/// What precedes the steps of each page.
///
/// `cargo run --release` starts the program of this test. `ready N` waits until N programs in the background have notified that they are ready; `listening N` until more than N TCP sockets listen.
const PREAMBLE: &str = r#"
ip link set lo up
cargo() { shift 2; exporter-proxy "$@"; }
mount -t tmpfs none /run
sockets() { cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == "0A"' | wc -l; }
within_a_minute() { for _ in $(seq 1200); do if "$@"; then return; fi; sleep 0.05; done; echo "not ready within a minute"; exit 1; }
has_notified() { [ "$(wc -l < "$STATE/ready")" -ge "$1" ]; }
ready() { within_a_minute has_notified "$1"; }
has_listener() { [ "$(sockets)" -gt "$1" ]; }
listening() { within_a_minute has_listener "$1"; }
"#;

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Its first line in the page, counted from 1.
    line: usize,
    /// The words after the fence.
    fence: Vec<String>,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(fence), None) => {
                open = Some(Block {
                    line: index + 2,
                    fence: fence.split_whitespace().map(str::to_owned).collect(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fenced block is not closed: {open:?}");
    found
}

/// One step of a page.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Run,
    Background,
    Skip,
    Output,
    File(String),
    /// An example that is not a step, such as part of another program's configuration.
    Example,
}

fn step(block: &Block) -> Step {
    let words: Vec<&str> = block.fence.iter().map(String::as_str).collect();
    match words[..] {
        ["sh"] => Step::Run,
        ["sh", "background"] => Step::Background,
        ["sh", reason] if reason.strip_prefix("no-run=").is_some_and(|reason| REASONS.contains(&reason)) => Step::Skip,
        ["text", "output"] => Step::Output,
        ["toml" | "yaml" | "text" | "json", file] => Step::File(file.to_owned()),
        ["sh", ..] => panic!("line {}: unknown kind of block {words:?}", block.line),
        _ => Step::Example,
    }
}

/// The script that runs the steps. Files of step N are `STATE/out-N`.
fn script(steps: &[(Step, Block)]) -> String {
    let mut script = format!("set -euo pipefail\n{PREAMBLE}");
    let mut daemons = 0;
    for (number, (step, block)) in steps.iter().enumerate() {
        match step {
            Step::Run => {
                let _ = writeln!(
                    script,
                    "echo {number} > $STATE/step; exec > $STATE/out-{number} 2>&1\n{}",
                    block.text
                );
            }
            Step::Background => {
                let is_daemon = block.text.lines().any(is_daemon);
                daemons += usize::from(is_daemon);
                let wait = match is_daemon {
                    true => format!("ready {daemons}"),
                    false => "listening $before".to_owned(),
                };
                let _ = writeln!(
                    script,
                    "echo {number} > $STATE/step; exec > $STATE/out-{number} 2>&1; before=$(sockets)\n{{\n{}}} &\n{wait}",
                    block.text
                );
            }
            Step::File(file) => {
                let _ = writeln!(script, "cat > {file} <<'END OF THE FILE'\n{}END OF THE FILE", block.text);
            }
            Step::Skip | Step::Output | Step::Example => {}
        }
    }
    script
}

/// Whether a command starts the proxy or a bridge, which notify that they are ready.
fn is_daemon(line: &str) -> bool {
    if line.starts_with("cargo run --release") {
        return true;
    }
    let words: Vec<&str> = line.split_whitespace().filter(|word| !word.contains('=')).collect();
    let Some(at) = words.iter().position(|word| *word == "exporter-proxy") else {
        return false;
    };
    matches!(words.get(at + 1), None | Some(&("run" | "bridge" | "-c" | "--config" | "#" | "&")))
}

/// Whether one of the lines has the pieces of a pattern, between which there may be any text.
fn has_line(lines: &str, pattern: &str) -> bool {
    lines.lines().any(|line| {
        let mut rest = line;
        pattern.split("...").all(|piece| match rest.find(piece.trim()) {
            Some(at) => {
                rest = &rest[at + piece.trim().len()..];
                true
            }
            None => false,
        })
    })
}

/// Writes a line for each program that notifies that it is ready.
fn count_notifications(socket: &UnixDatagram, file: &Path, done: &AtomicBool) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 4096];
    let mut lines = String::new();
    while !done.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        if buffer[..length].starts_with(b"READY=1") || buffer[..length].windows(8).any(|part| part == b"\nREADY=1") {
            lines.push_str("ready\n");
            std::fs::write(file, &lines).unwrap();
        }
    }
}

/// The program that gives a command its own network, mounts and processes, if the system permits it.
fn namespace() -> Option<PathBuf> {
    let unshare = peer("unshare")?;
    let works = Command::new(&unshare)
        .args(["-r", "-n", "-m", "-p", "--fork", "--mount-proc", "ip", "link", "set", "lo", "up"])
        .output()
        .is_ok_and(|output| output.status.success());
    works.then_some(unshare)
}

/// Runs a page, and panics with the step that failed.
fn run(page: &str) {
    let Some(unshare) = missing(namespace(), "a network namespace") else {
        return;
    };
    let steps: Vec<(Step, Block)> = blocks(&std::fs::read_to_string(repository(page)).unwrap())
        .into_iter()
        .map(|block| (step(&block), block))
        .collect();
    assert!(steps.iter().any(|(step, _)| *step == Step::Run), "{page} has nothing to run");
    let commands: String = steps
        .iter()
        .filter(|(step, _)| matches!(step, Step::Run | Step::Background))
        .map(|(_, block)| block.text.as_str())
        .collect();
    let is_used = |word: &str| {
        commands
            .split(|c: char| c.is_whitespace() || "$()|;'\"".contains(c))
            .any(|part| part == word)
    };
    if OTHER_PROGRAMS.iter().any(|program| is_used(program) && peer(program).is_none()) {
        return;
    }
    let python = python(&["prometheus_client"]);
    if is_used("python3") && python.is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (work, state) = (directory.path().join("work"), directory.path().join("state"));
    for path in [&work, &state] {
        std::fs::create_dir(path).unwrap();
    }
    // The files that pages name by their path in the repository.
    for name in ["python_test_clients", "docs", "packaging"] {
        std::os::unix::fs::symlink(repository(name), work.join(name)).unwrap();
    }
    std::fs::write(state.join("ready"), "").unwrap();
    let socket = UnixDatagram::bind(state.join("notify")).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let counter = std::thread::spawn({
        let (done, file) = (done.clone(), state.join("ready"));
        move || count_notifications(&socket, &file, &done)
    });
    let mut path = vec![Path::new(env!("CARGO_BIN_EXE_exporter-proxy")).parent().unwrap().to_owned()];
    path.extend(python.and_then(|python| Some(python.parent()?.to_owned())));
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let output = Command::new(unshare)
        .args([
            "-r",
            "-n",
            "-m",
            "-p",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "timeout",
            "-k",
            "1",
            "120",
            "bash",
            "-c",
            &script(&steps),
        ])
        .current_dir(&work)
        .env_clear()
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("HOME", &work)
        .env("TMPDIR", directory.path())
        .env("STATE", &state)
        .env("NOTIFY_SOCKET", state.join("notify"))
        .output()
        .unwrap();
    done.store(true, Ordering::Relaxed);
    counter.join().unwrap();
    let printed = |number: usize| std::fs::read_to_string(state.join(format!("out-{number}"))).unwrap_or_default();
    if !output.status.success() {
        let number: usize = std::fs::read_to_string(state.join("step"))
            .unwrap_or_default()
            .trim()
            .parse()
            .unwrap_or(0);
        let all: String = (0..=number).map(printed).collect();
        panic!(
            "{page}, line {}: {}\n{all}\n{}",
            steps[number].1.line,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let mut last = 0;
    for (number, (step, block)) in steps.iter().enumerate() {
        match step {
            Step::Run | Step::Background => last = number,
            Step::Output => {
                for line in block.text.lines().filter(|line| !line.trim().is_empty()) {
                    assert!(
                        has_line(&printed(last), line),
                        "{page}, line {}: {line:?} is not in\n{}",
                        block.line,
                        printed(last)
                    );
                }
            }
            _ => {}
        }
    }
}

macro_rules! pages {
    ($($name:ident: $page:literal,)*) => {
        /// The pages whose commands are run.
        const PAGES: &[&str] = &[$($page),*];

        $(
            #[test]
            fn $name() {
                run($page);
            }
        )*
    };
}

pages! {
    the_readme: "README.md",
    first_metric: "docs/first-metric.md",
    receivers: "docs/receivers.md",
    pushing: "docs/pushing.md",
    pushgateway: "docs/pushgateway.md",
    polling: "docs/polling.md",
    events: "docs/events.md",
    links: "docs/p2p.md",
    operating: "docs/operating.md",
    commands: "docs/commands.md",
    http: "docs/http.md",
    exposition: "docs/exposition.md",
    formats: "docs/formats.md",
    stream: "docs/stream.md",
    migration_from_the_original: "docs/migration/exporter-proxy.md",
    migration_from_pushgateway: "docs/migration/pushgateway.md",
    migration_from_pushprox: "docs/migration/pushprox.md",
    migration_from_exporter_exporter: "docs/migration/exporter-exporter.md",
    migration_from_the_one_shot_metrics_server: "docs/migration/one-shot-metrics-server.md",
}

/// The pages of users: all but those that are records of measurements or of changes.
fn pages_of_users() -> Vec<String> {
    let mut found = vec!["README.md".to_owned()];
    let mut directories = vec![PathBuf::from("docs")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(repository(directory.to_str().unwrap())).unwrap() {
            let name = directory.join(entry.unwrap().file_name());
            match repository(name.to_str().unwrap()).is_dir() {
                true => directories.push(name),
                false => found.extend(name.to_str().filter(|name| name.ends_with(".md")).map(str::to_owned)),
            }
        }
    }
    found
}

#[test]
fn every_page_with_commands_is_run() {
    for page in pages_of_users() {
        let text = std::fs::read_to_string(repository(&page)).unwrap();
        let runs = blocks(&text)
            .iter()
            .any(|block| matches!(step(block), Step::Run | Step::Background));
        assert_eq!(
            runs,
            PAGES.contains(&page.as_str()),
            "{page} has commands, or is among the pages that are run, but not both"
        );
    }
}

/// Programs that begin a command. In an indented block no test would run it.
const PROGRAMS: &[&str] = &[
    "exporter-proxy ",
    "curl ",
    "echo ",
    "printf ",
    "cargo ",
    "openssl ",
    "nc ",
    "python3 ",
    "./scripts/",
];

#[test]
fn commands_stand_in_fenced_blocks() {
    for page in pages_of_users().iter().filter(|page| *page != "docs/benchmarks.md") {
        let text = std::fs::read_to_string(repository(page)).unwrap();
        let mut is_open = false;
        for (index, line) in text.lines().enumerate() {
            is_open ^= line.starts_with("```");
            let command = line.strip_prefix("    ").unwrap_or_default();
            assert!(
                is_open || !PROGRAMS.iter().any(|program| command.starts_with(program)),
                "{page}, line {}: a command outside of a fenced block: {command}",
                index + 1
            );
        }
    }
}

#[test]
fn blocks_are_found_with_their_kinds() {
    let page = "x\n```sh\na\nb\n```\n```toml config.toml\nc = 1\n```\n```text output\nd ... e\n```\n```sh no-run=root\nf\n```\n";
    let found = blocks(page);
    let kinds: Vec<Step> = found.iter().map(step).collect();
    assert_eq!(kinds, [Step::Run, Step::File("config.toml".to_owned()), Step::Output, Step::Skip]);
    assert_eq!((found[0].line, found[0].text.as_str()), (3, "a\nb\n"));
    assert!(has_line("1\nd and e f\n", "d ... e") && !has_line("e d\n", "d ... e"));
    assert!(is_daemon("A=b exporter-proxy bridge") && is_daemon("exporter-proxy") && !is_daemon("exporter-proxy check"));
}
