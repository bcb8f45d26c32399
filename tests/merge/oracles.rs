//! Other people's parsers.

#![allow(clippy::print_stderr, reason = "a test says aloud what it skips")]

use std::collections::HashSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Every file in a folder with this ending; at least one, because a check of nothing proves nothing.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = all.filter(|path| path.extension().is_some_and(|it| it == ending)).collect();
    assert!(!files.is_empty(), "no {ending} files");
    files
}

/// Runs a tool; nothing where it is missing, which CI does not allow.
fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            eprintln!("skipped: {command:?} is not installed");
            None
        }
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// The promtool of Prometheus 3.5, where `scripts/test` has put it: it also reports series that occur twice.
const NEWER_PROMTOOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/prometheus-3/usr/bin/promtool");

/// `promtool check metrics` of all text files, by the system's version and by 3.5. It exits with 1 for what it cannot parse, and with 3 for
/// what it does not like. None of its remarks may be one of `unwanted`.
pub(crate) fn promtool(folder: &Path, unwanted: &[&str]) {
    promtool_of("promtool", folder, unwanted);
    promtool_of(NEWER_PROMTOOL, folder, unwanted);
}

fn promtool_of(program: &str, folder: &Path, unwanted: &[&str]) {
    for file in files(folder, "text") {
        let Some(output) = run(Command::new(program).args(["check", "metrics"]).stdin(File::open(&file).unwrap())) else {
            return;
        };
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let is_unwanted = |line: &str| unwanted.iter().any(|remark| line.contains(remark)) && !is_of_several_times(line, &text);
        assert!(
            matches!(output.status.code(), Some(0 | 3)) && !why.lines().any(is_unwanted),
            "seed {}: {why}\n{text}",
            file.display(),
        );
    }
}

/// True if a remark about a series that occurs twice is about one with several timestamps, which Prometheus stores all; promtool does not look
/// at them.
fn is_of_several_times(remark: &str, text: &str) -> bool {
    let Some((family, "metric not unique")) = remark.split_once(' ') else {
        return false;
    };
    let (mut samples, mut series, mut has_several) = (HashSet::new(), HashSet::new(), false);
    for line in text.lines().filter(|line| line.starts_with(family)) {
        let end = line.rfind("} ").map_or_else(|| line.find(' ').unwrap(), |at| at + 1);
        let (name, rest) = line.split_at(end);
        let mut labels: Vec<&str> = name
            .split_inclusive(['{', ',', '}'])
            .map(|part| part.trim_end_matches([',', '}']))
            .collect();
        labels.sort_unstable();
        let timestamp = rest.split_ascii_whitespace().nth(1);
        if !samples.insert((labels.clone(), timestamp)) {
            return false;
        }
        has_several |= !series.insert(labels);
    }
    has_several
}

const STRICT: &str = r#"
import sys
try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
except ImportError:
    sys.exit(77)
bad = 0
for path in sys.argv[1:]:
    text = open(path, newline="").read()
    try:
        list(parse(text))
    except Exception as e:
        bad += 1
        if bad <= 5:
            print(f"{path}: {type(e).__name__} {e}\n{text}")
print(f"{bad} of {len(sys.argv) - 1} refused")
sys.exit(1 if bad else 0)
"#;

/// The strict OpenMetrics parser of `prometheus_client`, on all files at once.
pub(crate) fn prometheus_client(folder: &Path) {
    // The environment that scripts/test makes comes before the system's.
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/python3");
    let python = if own.is_file() { own } else { "python3".into() };
    let Some(output) = run(Command::new(python).args(["-c", STRICT]).args(files(folder, "openmetrics"))) else {
        return;
    };
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) => {}
        Some(77) if std::env::var_os("CI").is_none() => eprintln!("skipped: prometheus_client is not installed"),
        _ => panic!("{told}\n{}", String::from_utf8_lossy(&output.stderr)),
    }
}
