//! Polls of programs that others wrote.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::rig::{Rig, endpoint, settings};

/// A program that runs until the test ends.
struct Program {
    child: Child,
    port: u16,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a program and finds the port it listens on: the number behind `before` in what it prints. `None`, with a word
/// about it, where the program is not installed; in continuous integration that is a failure.
fn start(command: &mut Command, before: &str) -> Option<Program> {
    // Both streams end up in one pipe, as programs differ in which of them they talk to.
    let (reader, writer) = std::io::pipe().unwrap();
    let started = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn();
    let child = match started {
        Ok(child) => child,
        Err(e) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: {command:?}: {e}");
            return None;
        }
        Err(e) => panic!("{command:?}: {e}"),
    };
    let mut program = Program { child, port: 0 };
    // The command holds the writing ends; without them the pipe ends with the program.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut lines = BufReader::new(reader).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let rest = line.split_once(before)?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    });
    program.port = port.unwrap_or_else(|| panic!("{command:?} did not say where it listens"));
    // What it prints from now on is read so that it never waits for us.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Some(program)
}

#[tokio::test]
async fn node_exporter() {
    let mut command = Command::new("prometheus-node-exporter");
    command.args([
        "--web.listen-address=127.0.0.1:0",
        "--collector.disable-defaults",
        "--collector.meminfo",
        "--collector.loadavg",
    ]);
    let Some(program) = start(&mut command, "address=127.0.0.1:") else {
        return;
    };
    let url = format!("http://127.0.0.1:{}/metrics", program.port);
    let rig = Rig::start(settings([endpoint(&url)]));
    let body = rig.body(&url).await;
    assert!(
        body.contains("\nnode_memory_MemTotal_bytes ") && body.contains("\n# TYPE node_load1 gauge\n"),
        "{body}"
    );
}

#[tokio::test]
async fn the_pages_of_a_plain_web_server() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("python_test_clients");
    let mut command = Command::new("python3");
    command
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        .current_dir(&pages);
    let Some(program) = start(&mut command, " port ") else { return };
    let urls = [1025, 1026, 1027].map(|page| format!("http://127.0.0.1:{}/{page}.html", program.port));
    let rig = Rig::start(settings(urls.iter().map(|url| endpoint(url))));
    for (url, page) in urls.iter().zip(["1025.html", "1026.html", "1027.html"]) {
        assert_eq!(rig.body(url).await, std::fs::read_to_string(pages.join(page)).unwrap());
    }
}
