//! Polls of programs that others wrote.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::rig::{Rig, endpoint, settings};
use crate::harness::{Proxy, peer, python, repository};

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

/// Starts a program and finds the port it listens on: the number behind `before` in what it prints.
fn start(command: &mut Command, before: &str) -> Program {
    // Both streams end up in one pipe, as programs differ in which of them they talk to.
    let (reader, writer) = std::io::pipe().unwrap();
    let command = command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
    let child = command.spawn().unwrap();
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
    program
}

#[tokio::test]
async fn node_exporter() {
    let Some(path) = peer("prometheus-node-exporter") else { return };
    let mut command = Command::new(path);
    command.args([
        "--web.listen-address=127.0.0.1:0",
        "--collector.disable-defaults",
        "--collector.meminfo",
        "--collector.loadavg",
    ]);
    let program = start(&mut command, "address=127.0.0.1:");
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
    let Some(python) = python(&["http.server"]) else { return };
    let pages = repository("python_test_clients");
    let mut command = Command::new(python);
    command
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        .current_dir(&pages);
    let program = start(&mut command, " port ");
    let names = ["1025.html", "1026.html", "1027.html"];
    let urls = names.map(|name| format!("http://127.0.0.1:{}/{name}", program.port));
    let proxy = Proxy::with(&format!(
        "[poll_external]\npoll_other_scrape_endpoints = true\nother_scrape_endpoints = {urls:?}"
    ))
    .await;
    for name in names {
        let app = format!("external_poll: 127.0.0.1:{}/{name}", program.port);
        proxy.shows(&format!("exporter_proxy_poll_up{{endpoint=\"{app}\"}} 1\n")).await;
        let page = std::fs::read_to_string(pages.join(name)).unwrap();
        let exposed = proxy.text("/metrics").await;
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let series = line.rsplit_once(' ').map_or(line, |(series, _)| series.trim_end());
            assert!(exposed.contains(series), "{series} of {name} is not exposed");
        }
        let table = proxy.text("/apps?format=wide").await;
        assert!(table.contains(&app), "{table}");
    }
}
