//! The monitoring stream, its relay and its API, against clients and servers that know only the protocol.

use std::path::PathBuf;
use std::process::Stdio;

use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{PATIENCE, Proxy, python, repository, until};

/// A Python program of ours that is running, and the lines that it prints.
struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(python: &PathBuf, file: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(python);
        command.arg(repository("tests/peers").join(file)).args(arguments);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line())
            .await
            .expect("the script says something");
        line.unwrap().expect("the script goes on")
    }

    /// All that it still prints; its failure is the test's.
    async fn finish(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        let rest = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                events.push(serde_json::from_str(&line).unwrap());
            }
            self.child.wait_with_output().await.unwrap()
        };
        let output = tokio::time::timeout(PATIENCE, rest).await.expect("the script ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        events
    }
}

/// A stand-in for the original server, and its address.
async fn original(python: &PathBuf, arguments: &[&str]) -> (Script, String) {
    let mut server = Script::start(python, "monitor_server.py", arguments);
    let port = server.line().await;
    (server, format!("127.0.0.1:{port}"))
}

const LISTEN: &str = "stream.listen_addresses = [\"127.0.0.1:0\"]";

async fn has_subscribers(proxy: &Proxy, wanted: f64) {
    until(&format!("{wanted} subscribers"), async || {
        proxy.own("exporter_proxy_stream_subscribers").await == Some(wanted)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_from_the_protocol_alone_follows_what_happens() {
    let Some(python) = python(&["zlib"]) else { return };
    let proxy = Proxy::with(LISTEN).await;
    let server = proxy.stream[0].to_string();
    let client = Script::start(
        &python,
        "monitor_client.py",
        &[&server, "--count", "3", "--ask", "app_update,app_expired"],
    );
    has_subscribers(&proxy, 1.0).await;
    proxy
        .send(Request::put("/apps/foo/metrics"), "# TYPE a gauge\na 1\na{b=\"c\"} 2\nb 3\n")
        .await;
    assert_eq!(proxy.tcp_say(br#"{"b\"r": "x 1\n"}"#).await, "");
    proxy.send(Request::delete("/apps/foo"), "").await;
    let events = client.finish().await;
    assert_eq!(
        events[0]["app_update"],
        json!({"app": "foo", "source": "http", "families": 2, "series": 3, "bytes": 34})
    );
    assert_eq!(events[1]["app_update"]["app"], "b\"r");
    assert_eq!(events[2]["app_expired"], json!({"app": "foo"}));
    has_subscribers(&proxy, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_are_relayed_to_their_own_kind_of_client_and_counted() {
    const EVENTS: usize = 400;
    const MISDEEDS: [&str; 5] = ["late", "garbage", "half", "member", "bomb"];
    let Some(python) = python(&["zlib"]) else { return };
    let settings = |upstreams: &str| {
        let more = "stream.events = [\"bitswap\"]";
        format!("{LISTEN}\nstream.upstreams = [{upstreams}]\n{more}")
    };
    let (mut servers, mut upstreams) = (Vec::new(), Vec::new());
    for misdeed in MISDEEDS {
        let (server, address) = original(&python, &["--wait", "--events", &EVENTS.to_string(), "--misdeed", misdeed]).await;
        servers.push(server);
        upstreams.push(address);
    }
    let (_old, old) = original(&python, &["--version", "2"]).await;
    let all = upstreams
        .iter()
        .chain([&old])
        .map(|upstream| format!("{upstream:?}"))
        .collect::<Vec<_>>();
    let proxy = Proxy::with(&settings(&all.join(", "))).await;
    for upstream in &upstreams {
        let up = format!("exporter_proxy_stream_upstream_up{{upstream=\"{upstream}\"}}");
        until("the upstream is followed", async || proxy.own(&up).await == Some(1.0)).await;
    }
    let client = [
        &*proxy.stream[0].to_string(),
        "--count",
        &(EVENTS * MISDEEDS.len()).to_string(),
        "--strict",
    ];
    let client = Script::start(&python, "monitor_client.py", &client);
    has_subscribers(&proxy, 1.0).await;
    for server in &mut servers {
        server.child.stdin.as_mut().unwrap().write_all(b"begin\n").await.unwrap();
    }
    let events = client.finish().await;
    for (upstream, misdeed) in upstreams.iter().zip(MISDEEDS) {
        let times = events
            .iter()
            .filter(|event| event["monitor"] == upstream.as_str())
            .map(|event| event["timestamp"].as_str().unwrap());
        let times: Vec<&str> = times.collect();
        assert!(times.is_sorted(), "{upstream}: {times:?}");
        let connected = (0..EVENTS).step_by(6).len() + usize::from(misdeed == "late");
        proxy
            .shows(&format!("connection_events_connected{{monitor=\"{upstream}\"}} {connected}\n"))
            .await;
        proxy
            .shows(&format!(
                "bitswap_block_presences_received{{monitor=\"{upstream}\",presence_type=\"DONT_HAVE\"}} "
            ))
            .await;
        assert_eq!(
            proxy
                .own(&format!("exporter_proxy_stream_upstream_up{{upstream=\"{upstream}\"}}"))
                .await,
            Some(1.0)
        );
    }
    assert_eq!(
        proxy.own(&format!("exporter_proxy_stream_upstream_up{{upstream=\"{old}\"}}")).await,
        Some(0.0)
    );
    let apps = proxy.text("/apps?format=wide").await;
    assert!(apps.contains("stream failed: invalid handshake: its version is 2, not 3"), "{apps}");
    assert!(!proxy.text("/metrics").await.contains("12D3KooW"), "no peer is named in /metrics");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_default_settings_the_originals_client_keeps_its_connection_whatever_happens() {
    let Some(python) = python(&["zlib"]) else { return };
    let (mut server, upstream) = original(&python, &["--wait", "--events", "12"]).await;
    let polled = Proxy::start().await;
    let proxy = Proxy::with(&format!(
        "{LISTEN}\nstream.upstreams = [{upstream:?}]\nstore.expire_after = 1\n\
         poll_external = {{ poll_other_scrape_endpoints = true, other_scrape_endpoints = [\"http://{}/metrics\"] }}",
        polled.http
    ))
    .await;
    let up = format!("exporter_proxy_stream_upstream_up{{upstream=\"{upstream}\"}}");
    until("the upstream is followed", async || proxy.own(&up).await == Some(1.0)).await;
    let stream = proxy.stream[0].to_string();
    let client = Script::start(&python, "monitor_client.py", &[&stream, "--count", "12", "--strict"]);
    has_subscribers(&proxy, 1.0).await;
    // Everything that this proxy itself has events for, each of them seen by a client that asks, before the 12 that the other may have.
    let every = "app_update,app_expired,one_shot,poll";
    let asking = Script::start(
        &python,
        "monitor_client.py",
        &[&stream, "--count", "10000", "--ask", every, "--kinds", every],
    );
    has_subscribers(&proxy, 2.0).await;
    proxy.send(Request::put("/apps/foo/metrics"), "a 1\n").await;
    proxy.send(Request::post("/event?type=deploy"), "").await;
    asking.finish().await;
    server.child.stdin.as_mut().unwrap().write_all(b"begin\n").await.unwrap();
    let events = client.finish().await;
    assert!(events.iter().all(|event| event["monitor"] == upstream.as_str()));
    assert_eq!(events.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_in_a_chain_count_what_passes_and_a_circle_ends() {
    let Some(python) = python(&["zlib"]) else { return };
    let first = Proxy::with(LISTEN).await;
    let second = Proxy::with(&format!("{LISTEN}\nstream.upstreams = [\"{}\"]", first.stream[0])).await;
    has_subscribers(&first, 1.0).await;
    let client = Script::start(
        &python,
        "monitor_client.py",
        &[
            &second.stream[0].to_string(),
            "--count",
            "1000",
            "--ask",
            "app_update",
            "--app",
            "far",
        ],
    );
    has_subscribers(&second, 1.0).await;
    first.send(Request::put("/apps/far/metrics"), "a 1\n").await;
    let events = client.finish().await;
    let relayed = events.last().unwrap();
    assert_eq!(relayed["monitor"], first.stream[0].to_string());
    assert_eq!((&relayed["hops"], &relayed["app_update"]["series"]), (&json!(2), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_answers_on_the_port() {
    let proxy = Proxy::with(LISTEN).await;
    let base = "/metric_plugin/v1";
    let expected = format!("{{\"status\":200,\"result\":{{\"addresses\":[\"{}\"]}}}}\n", proxy.stream[0]);
    assert_eq!(proxy.text(&format!("{base}/ping")).await, expected);
    assert_eq!(proxy.text(&format!("{base}/monitoring_addresses")).await, expected);
    let wrong = proxy.get(&format!("{base}/nothing")).await;
    assert_eq!((wrong.status().as_u16(), &wrong.body()[..]), (404, &b"404 page not found\n"[..]));
    let wrong = proxy.ask(Request::delete(format!("{base}/ping"))).await;
    assert_eq!(
        (wrong.status().as_u16(), &wrong.headers()["allow"]),
        (405, &"GET, HEAD, OPTIONS".parse().unwrap())
    );
    let options = proxy.ask(Request::options(format!("{base}/broadcast_want"))).await;
    assert_eq!(
        (options.status().as_u16(), &options.headers()["allow"]),
        (200, &"OPTIONS, POST".parse().unwrap())
    );
    let probe = proxy
        .send(Request::post(format!("{base}/broadcast_want")), r#"{"cids":[{"/":"bafk"}]}"#)
        .await;
    assert_eq!(
        (probe.status().as_u16(), &probe.body()[..]),
        (400, &b"{\"status\":400,\"error\":\"Bitswap probe not enabled\"}\n"[..])
    );
    let head = proxy.ask(Request::head(format!("{base}/ping"))).await;
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_node_gives_the_plugins_metrics() {
    let Some(python) = python(&["http.server"]) else { return };
    let mut kubo = Script::start(&python, "kubo.py", &["--token", "swordfish"]);
    let port = kubo.line().await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "wrong\n").unwrap();
    let node =
        format!("[[ipfs]]\napi = \"http://127.0.0.1:{port}\"\nname = \"node\"\npopulate_interval = 1\nauthorization_file = {token:?}");
    let proxy = Proxy::with(&node).await;
    until("the refusal is shown", async || {
        proxy
            .text("/apps?format=wide")
            .await
            .contains("the response has status 403 Forbidden")
    })
    .await;
    std::fs::write(&token, "swordfish\n").unwrap();
    proxy.shows("plugin_metric_export_wiretap_peers 16\n").await;
    let metrics = proxy.text("/metrics?own=false").await;
    for line in [
        "plugin_metric_export_wiretap_connections 32\n",
        "plugin_metric_export_peers_by_agent_version{agent_version=\"kubo/0.40.0/\"} 2\n",
        "plugin_metric_export_peers_by_agent_version{agent_version=\"others\"} 2\n",
        "plugin_metric_export_peers_by_agent_version{agent_version=\"evil\\\"} 1\u{fffd}# TYPE x counter\u{fffd}x{a=\\\"\"} 2\n",
        "plugin_metric_export_peers_supported_protocols{protocol=\"/ipfs/bitswap/1.2.0\"} 16\n",
        "plugin_metric_export_open_streams{protocol=\"/ipfs/kad/1.0.0\",direction=\"unknown\"} 24\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("12D3KooW") && !metrics.contains("203.0.113") && !metrics.contains('\u{1b}'));
    let apps = proxy.text("/apps?format=wide").await;
    assert!(apps.contains(&format!("ipfs: 127.0.0.1:{port}")), "{apps}");
    let sample = proxy.text("/metric_plugin/v1/sample_peer_metadata?only_connected=true").await;
    let sample: Value = serde_json::from_str(&sample).unwrap();
    assert_eq!((&sample["status"], &sample["result"]["num_connections"]), (&json!(200), &json!(32)));
    let peer = &sample["result"]["peer_metadata"][0];
    assert_eq!(
        (&peer["peer_id"], &peer["agent_version"], &peer["connectedness"]),
        (&json!("12D3KooWpeer0"), &json!("kubo/0.40.0/"), &json!(1))
    );
    assert_eq!(peer["connected_multiaddresses"].as_array().unwrap().len(), 2);
}

/// The `tap` command on a stream.
async fn tap(proxy: &Proxy, arguments: &[&str]) -> Script {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exporter-proxy"));
    command.args(["tap", "--from", &proxy.stream[0].to_string()]).args(arguments);
    let before = proxy.own("exporter_proxy_stream_subscribers").await.unwrap();
    let tap = Script::run(command);
    has_subscribers(proxy, before + 1.0).await;
    tap
}

#[tokio::test(flavor = "multi_thread")]
async fn tap_prints_what_happens_until_nobody_reads_or_the_stream_ends() {
    let proxy = Proxy::with(LISTEN).await;
    let (mut lines, mut json) = (tap(&proxy, &[]).await, tap(&proxy, &["--json"]).await);
    proxy.send(Request::put("/apps/foo/metrics"), "a 1\n").await;
    let line = lines.line().await;
    assert!(line.ends_with("app_update   foo: 4 bytes from http  #0"), "{line}");
    let message: Value = serde_json::from_str(&json.line().await).unwrap();
    assert_eq!(message["event"]["app_update"]["app"], "foo");
    // Whoever pipes it into `head` closes its standard output; that is no failure.
    drop(json.lines);
    proxy.send(Request::put("/apps/bar/metrics"), "a 1\n").await;
    assert_eq!(json.child.wait().await.unwrap().code(), Some(0));
    assert!(proxy.finish().await.is_clean());
    let ended = lines.child.wait_with_output().await.unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(told.contains("the server closed the connection"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shot_events_and_polls_are_told() {
    let Some(python) = python(&["zlib"]) else { return };
    let target = Proxy::start().await;
    let polls = format!(
        "poll_external = {{ poll_other_scrape_endpoints = true, other_scrape_endpoints = [{{ url = \"http://{}/metrics\", name = \"other\" }}] }}\n\
         stream.events = [\"one_shot\", \"poll\"]",
        target.http
    );
    let proxy = Proxy::with(&format!("{LISTEN}\n{polls}")).await;
    let client = Script::start(
        &python,
        "monitor_client.py",
        &[
            &proxy.stream[0].to_string(),
            "--count",
            "20",
            "--ask",
            "one_shot,poll",
            "--kinds",
            "one_shot,poll",
        ],
    );
    has_subscribers(&proxy, 1.0).await;
    let answer = proxy.send(Request::post("/event?who=me&what=a%22b&value=NaN"), "").await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
    let events = client.finish().await;
    let shot = events.iter().find_map(|event| event.get("one_shot")).expect("the event is told");
    assert_eq!(
        shot,
        &json!({"metric": "events_to_metrics", "labels": {"who": "me", "what": "a\"b"}, "value": "NaN"})
    );
    let poll = events
        .iter()
        .find_map(|event| event.get("poll"))
        .expect("the stream has a message about the poll");
    assert!(poll["endpoint"] == "other" && poll["up"] == true, "{poll:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_has_what_came_until_a_signal_and_is_replayed() {
    let proxy = Proxy::with(LISTEN).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.jsonl.gz");
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exporter-proxy"));
        command.arg("tap").args(arguments);
        command
    };
    let (server, path) = (proxy.stream[0].to_string(), file.display().to_string());
    let mut recording = program(&["--from", &server, "--record", &path, "--rotate", "hour"])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    has_subscribers(&proxy, 1.0).await;
    proxy.send(Request::put("/apps/foo/metrics"), "a 1\n").await;
    proxy.send(Request::delete("/apps/foo"), "").await;
    // It is written every second, and at the end.
    until("a recording", async || std::fs::metadata(&file).is_ok_and(|file| file.len() > 0)).await;
    let id = nix::unistd::Pid::from_raw(i32::try_from(recording.id().unwrap()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(recording.wait().await.unwrap().success());
    let shown = crate::harness::run(&mut program(&["--replay", &path])).await;
    assert!(
        shown.contains("app_update   foo: 4 bytes from http") && shown.contains("app_expired  foo"),
        "{shown}"
    );
    let json = crate::harness::run(&mut program(&["--replay", &path, "--json"])).await;
    let events: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.last().unwrap()["event"]["app_expired"], json!({"app": "foo"}));
}
