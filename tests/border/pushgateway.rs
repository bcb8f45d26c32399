//! The API of Pushgateway: groups, their failures and expiry, access, and real client libraries.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::harness::{PATIENCE, Proxy, missing, python, repository, run, until};

const GROUP: &str = "/metrics/job/backup/instance/db1";
const APP: &str = "/apps/pushgateway%3A%20job%3D%22backup%22,instance%3D%22db1%22";

async fn put(proxy: &Proxy, path: &str, text: &str) -> Response<Bytes> {
    proxy.send(Request::put(path), text.to_owned()).await
}

/// The samples of all groups but for the times of pushes, without headers, sorted.
async fn samples(proxy: &Proxy) -> Vec<String> {
    let text = proxy.text("/metrics?own=false").await;
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("push_"));
    let mut samples: Vec<String> = lines.map(str::to_owned).collect();
    samples.sort_unstable();
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_pushed_replaced_in_parts_and_deleted() {
    let proxy = Proxy::start().await;
    let answer = put(&proxy, GROUP, "# TYPE size gauge\nsize{job=\"own\"} 1\nfiles 2\n").await;
    assert_eq!((answer.status().as_u16(), answer.body().len()), (200, 0));
    let size = "size{job=\"backup\",instance=\"db1\"} 1";
    assert_eq!(samples(&proxy).await, ["files{job=\"backup\",instance=\"db1\"} 2", size]);
    let answer = proxy.send(Request::post(GROUP), "files 3\nmore 4\n").await;
    assert_eq!(answer.status(), 200);
    let [files, more] = ["files", "more"].map(|name| format!("{name}{{job=\"backup\",instance=\"db1\"}}"));
    assert_eq!(samples(&proxy).await, [format!("{files} 3"), format!("{more} 4"), size.to_owned()]);
    put(&proxy, GROUP, "more 5\n").await;
    assert_eq!(samples(&proxy).await, [format!("{more} 5")]);
    let text = proxy.text("/metrics?own=false").await;
    assert!(text.contains("push_time_seconds{job=\"backup\",instance=\"db1\"} 1"), "{text}");
    assert!(
        text.contains("push_failure_time_seconds{job=\"backup\",instance=\"db1\"} 0\n"),
        "{text}"
    );
    let facts: Value = serde_json::from_str(&proxy.text(&format!("{APP}?format=json")).await).unwrap();
    assert_eq!((&facts["source"], &facts["series"]), (&Value::from("pushgateway"), &Value::from(3)));
    for _ in 0..2 {
        assert_eq!(proxy.ask(Request::delete(GROUP)).await.status(), 202);
        assert_eq!(proxy.text("/metrics?own=false").await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_contradict_each_other_are_exposed_together() {
    let proxy = Proxy::start().await;
    for (job, kind) in [("a", "histogram"), ("b", "gauge")] {
        let text = match kind {
            "histogram" => "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 1\nm_sum 1\nm_count 1\n",
            _ => "# TYPE m gauge\nm 1\n",
        };
        assert_eq!(put(&proxy, &format!("/metrics/job/{job}"), text).await.status(), 200);
    }
    assert_eq!(samples(&proxy).await.len(), 4);
    let facts = proxy.text("/apps?format=wide").await;
    assert!(facts.contains("pushgateway: job=\"a\"") && facts.contains("histogram"), "{facts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_strict_a_push_that_contradicts_another_group_changes_nothing() {
    let proxy = Proxy::with("pushgateway.strict = true").await;
    put(&proxy, "/metrics/job/a", "# TYPE m gauge\nm 1\n").await;
    for (path, text) in [
        ("/metrics/job/b", "# TYPE m summary\nm_sum 1\nm_count 1\n"),
        ("/metrics/job/a/instance/", "m 2\n"),
    ] {
        let answer = put(&proxy, path, text).await;
        assert_eq!(answer.status(), 400, "{path}");
        let start = "pushed metrics are invalid or inconsistent with existing metrics: ";
        assert!(answer.body().starts_with(start.as_bytes()), "{:?}", answer.body());
        assert_eq!(samples(&proxy).await, ["m{job=\"a\",instance=\"\"} 1"]);
    }
    // The label that tells equal series apart was not added by the refused push.
    assert_eq!(put(&proxy, "/metrics/job/b", "# TYPE m gauge\nm 3\n").await.status(), 200);
    assert_eq!(samples(&proxy).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_push_is_noted_in_its_group_and_keeps_the_rest() {
    let proxy = Proxy::start().await;
    put(&proxy, GROUP, "a 1\n").await;
    let updated = async || {
        let facts: Value = serde_json::from_str(&proxy.text(&format!("{APP}?format=json")).await).unwrap();
        facts["last_update"].as_str().unwrap().to_owned()
    };
    let pushed = updated().await;
    let answer = put(&proxy, GROUP, "a 2 1000\n").await;
    assert_eq!(updated().await, pushed, "the group is no younger");
    let expected = "pushed metrics are invalid or inconsistent with existing metrics: pushed metrics must not have timestamps\n";
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (400, expected.as_bytes()));
    assert_eq!(samples(&proxy).await, ["a{job=\"backup\",instance=\"db1\"} 1"]);
    let text = proxy.text("/metrics?own=false").await;
    assert!(
        text.contains("push_failure_time_seconds{job=\"backup\",instance=\"db1\"} 1"),
        "{text}"
    );
    let facts: Value = serde_json::from_str(&proxy.text(&format!("{APP}?format=json")).await).unwrap();
    assert_eq!(facts["status"], "fault");
    assert!(facts["detail"].as_str().unwrap().starts_with("the last push failed: "), "{facts}");
    put(&proxy, GROUP, "a 3\n").await;
    let facts: Value = serde_json::from_str(&proxy.text(&format!("{APP}?format=json")).await).unwrap();
    assert_eq!(facts["status"], "ok", "{facts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_are_stripped_or_kept_where_that_is_configured() {
    for (rule, expected) in [
        ("strip", "a{job=\"x\",instance=\"\"} 1"),
        ("keep", "a{job=\"x\",instance=\"\"} 1 4000000000000"),
    ] {
        let proxy = Proxy::with(&format!("pushgateway.timestamps = {rule:?}")).await;
        assert_eq!(put(&proxy, "/metrics/job/x", "a 1 4000000000000\n").await.status(), 200);
        assert_eq!(samples(&proxy).await, [expected]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_push_is_lost_of_many_at_once_to_one_group() {
    let proxy = Proxy::start().await;
    let pushes = (0..40).map(|n| proxy.send(Request::post(GROUP), format!("family_{n} {n}\n")));
    for answer in futures_util::future::join_all(pushes).await {
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(samples(&proxy).await.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_expires_when_its_pushes_say_so() {
    let proxy = Proxy::start().await;
    let with = |path: &str, age: &str| Request::post(path).header("X-Expire-After", age.to_owned());
    assert_eq!(proxy.send(with("/metrics/job/kept", "5m"), "a 1\n").await.status(), 200);
    assert_eq!(proxy.send(with("/metrics/job/gone", "1"), "b 1\n").await.status(), 200);
    let answer = proxy.send(Request::put("/apps/app/metrics?expire_after=1h30m"), "c 1\n").await;
    assert_eq!(answer.status(), 200);
    // A push that says nothing leaves a part of the group and its age as they are; one that replaces the group resets the age.
    proxy.send(Request::post("/metrics/job/kept"), "d 1\n").await;
    let facts = async |app: &str| proxy.text(&format!("/apps/{app}")).await;
    assert!(
        facts("pushgateway:%20job=%22kept%22")
            .await
            .contains("Expires:      5m after its last update")
    );
    assert!(facts("app").await.contains("Expires:      1h30m after its last update"));
    proxy.send(Request::put("/metrics/job/kept"), "d 1\n").await;
    assert!(facts("pushgateway:%20job=%22kept%22").await.contains("Expires:      never"));
    until("the group is gone", async || {
        !proxy.text("/metrics?own=false").await.contains("job=\"gone\"")
    })
    .await;
    for age in ["soon", "10ms", "11y", "-1"] {
        let answer = proxy.send(with("/metrics/job/x", age), "a 1\n").await;
        assert_eq!(answer.status(), 400, "{age}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_their_ages_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!("store.path = {:?}", directory.path());
    let proxy = Proxy::with(&config).await;
    proxy.send(Request::put(GROUP).header("x-expire-after", "7m"), "a 1\n").await;
    let before = proxy.text("/metrics?own=false").await;
    proxy.finish().await;
    let proxy = Proxy::with(&config).await;
    assert_eq!(proxy.text("/metrics?own=false").await, before);
    let facts = proxy.text(APP).await;
    assert!(
        facts.contains("Source:       pushgateway\n") && facts.contains("Expires:      7m after"),
        "{facts}"
    );
    proxy.send(Request::post(GROUP), "b 1\n").await;
    assert_eq!(samples(&proxy).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_lists_groups_and_wipes_them() {
    let proxy = Proxy::start().await;
    proxy.send(Request::put("/apps/other/metrics"), "o 1\n").await;
    for n in 0..150 {
        put(&proxy, &format!("/metrics/job/x/n/{n}"), "# TYPE a counter\na 1500000\n").await;
    }
    let answer: Value = serde_json::from_str(&proxy.text("/api/v1/metrics").await).unwrap();
    let groups = answer["data"].as_array().unwrap();
    assert_eq!((answer["status"].as_str(), groups.len()), (Some("success"), 150));
    assert_eq!(groups[7]["labels"], serde_json::json!({"job": "x", "n": "7"}));
    assert_eq!(groups[7]["a"]["metrics"][0]["value"], "1.5e+06");
    assert_eq!(proxy.ask(Request::put("/api/v1/admin/wipe")).await.status(), 202);
    assert_eq!(samples(&proxy).await, ["o 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_prefix_and_switched_off() {
    let proxy = Proxy::with("pushgateway.route_prefix = \"/pushgateway/\"").await;
    assert_eq!(put(&proxy, "/metrics/job/x", "a 1\n").await.status(), 404);
    assert_eq!(put(&proxy, "/pushgateway/metrics/job/x", "a 1\n").await.status(), 200);
    let text = proxy.text("/pushgateway/metrics?own=false").await;
    assert!(text.starts_with("a{job=\"x\",instance=\"\"} 1\n"), "{text}");
    assert_eq!(proxy.get("/pushgateway/api/v1/status").await.status(), 200);
    let proxy = Proxy::with("pushgateway.enabled = false").await;
    for path in ["/metrics/job/x", "/api/v1/admin/wipe"] {
        assert_eq!(put(&proxy, path, "a 1\n").await.status(), 404, "{path}");
    }
    assert_eq!(proxy.get("/api/v1/metrics").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_for_some_groups_is_for_these_alone() {
    let tables = "[[http.access]]\nanonymous = true\nroles = [\"push\"]\napps = [\"pushgateway: job=\\\"mine\\\"*\"]\n\
                  [[http.access]]\nanonymous = true\nroles = [\"scrape\"]\n";
    let proxy = Proxy::with(tables).await;
    assert_eq!(put(&proxy, "/metrics/job/mine/instance/a", "a 1\n").await.status(), 200);
    assert_eq!(put(&proxy, "/metrics/job@base64/bWluZQ", "a 1\n").await.status(), 200);
    for (method, path) in [
        ("PUT", "/metrics/job/other"),
        ("DELETE", "/metrics/job/other"),
        ("PUT", "/metrics/job/mine/a"),
        ("PUT", "/api/v1/admin/wipe"),
        ("GET", "/api/v1/metrics"),
    ] {
        let answer = proxy.ask(Request::builder().method(method).uri(path)).await;
        assert_eq!(answer.status(), 403, "{method} {path}");
    }
    assert_eq!(proxy.ask(Request::delete("/metrics/job/mine/instance/a")).await.status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_grows_beyond_its_bound_by_its_labels_is_refused() {
    let proxy = Proxy::with("receiver.max_message_bytes = \"64KiB\"\nreceiver.max_inflight_bytes = \"64KiB\"").await;
    let text = (0..1_000).map(|n| format!("a{{n=\"{n}\"}} 1\n")).collect::<String>();
    let answer = put(&proxy, &format!("/metrics/job/x/l/{}", "v".repeat(2_000)), &text).await;
    assert_eq!(answer.status(), 413);
    // Many pushes that add families come to the same bound.
    let mut refused = 0;
    for n in 0..12 {
        let text = (0..700).map(|m| format!("family_{n}_{m} 1\n")).collect::<String>();
        let answer = proxy.send(Request::post(GROUP), text).await;
        refused += usize::from(answer.status() == 413);
    }
    assert!((1..12).contains(&refused), "{refused}");
}

async fn import(source: &str, to: &Proxy) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exporter-proxy"));
    let to = format!("http://{}", to.http);
    run(command.args(["import", "pushgateway", source, "--to", &to])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_two_versions_are_imported_whole_and_once() {
    for (version, groups, families) in [("1.5.1", 5, 9), ("1.11.2", 7, 11)] {
        let proxy = Proxy::start().await;
        let file = repository(&format!("tests/fixtures/pushgateway/{version}.gob"))
            .display()
            .to_string();
        assert_eq!(
            import(&file, &proxy).await,
            format!("imported {groups} groups with {families} families\n")
        );
        let again = import(&file, &proxy).await;
        assert!(
            again.starts_with(&format!("imported 0 groups with 0 families; {groups} groups there already")),
            "{again}"
        );
        let text = proxy.text("/metrics?own=false").await;
        for line in [
            "# TYPE h histogram",
            "h_bucket{le=\"1\",job=\"backup\",instance=\"db1\"} 1",
            "s{quantile=\"0.5\",job=\"backup\",instance=\"db1\"} 1",
            "a{b=\"q\\\"\\\\\\n\",instance=\"\",job=\"titan/é\",path=\"/var/tmp\"} NaN",
            "pb_untyped{instance=\"\",job=\"pb\"} 7",
            "push_time_seconds{job=\"failed\",instance=\"\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{version}: {line} is missing in {text}");
        }
        // When the real program took the push that failed, not now.
        let failed = text
            .lines()
            .find(|line| line.starts_with("push_failure_time_seconds{job=\"failed\""))
            .unwrap();
        assert!(failed.contains("} 17959880"), "{failed}");
        let has_native = proxy.text("/apps?format=wide").await.contains("native only: 1 series");
        assert_eq!(has_native, version == "1.11.2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_imported_from_a_running_program() {
    let (source, target) = (Proxy::start().await, Proxy::start().await);
    put(&source, GROUP, "# HELP a Help.\n# TYPE a counter\na{b=\"1\"} 3\n").await;
    put(&source, "/metrics/job/x/instance/", "a 4\n").await;
    source.send(Request::put("/apps/other/metrics"), "other 1\n").await;
    let told = import(&format!("http://{}", source.http), &target).await;
    assert_eq!(told, "imported 2 groups with 2 families\n");
    let without_other = |text: String| {
        text.lines()
            .filter(|line| !line.contains("other"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (mut before, mut after) = (
        without_other(source.text("/metrics?own=false").await),
        without_other(target.text("/metrics?own=false").await),
    );
    let sort_labels = |lines: &mut Vec<String>| {
        for line in lines.iter_mut().filter(|line| !line.starts_with('#')) {
            // A number keeps its value, not its digits.
            let (series, value) = line.rsplit_once(' ').unwrap();
            let mut labels: Vec<&str> = series.split(['{', ',', '}']).collect();
            labels.sort_unstable();
            *line = format!("{} {}", labels.join(" "), value.parse::<f64>().unwrap());
        }
        lines.sort_unstable();
    };
    sort_labels(&mut before);
    sort_labels(&mut after);
    assert_eq!(before, after);
    // What is no Pushgateway, and what is no file of one.
    let mut command = Command::new(env!("CARGO_BIN_EXE_exporter-proxy"));
    let wrong = repository("Cargo.toml");
    let output = command
        .args(["import", "pushgateway"])
        .arg(wrong)
        .args(["--to", &format!("http://{}", target.http)])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("not a persistence file of Pushgateway"), "{told}");
}

/// A server that answers paths that begin as those of `answers` with their bodies, and everything else with this status. It keeps the heads of all requests, in
/// lower case.
async fn recorder(answers: Vec<(&'static str, Bytes)>, otherwise: u16) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let head = loop {
                let text = String::from_utf8_lossy(&request).to_lowercase();
                if let Some((head, _)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let at = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
                    // An unread body would reset the connection.
                    if request.len() >= at + 4 + length.map_or(0, |length| length.parse().unwrap()) {
                        break format!("{head}\r\n");
                    }
                }
                assert!(stream.read_buf(&mut request).await.unwrap() > 0, "{text}");
            };
            let path = head.split(' ').nth(1).unwrap_or_default();
            let answer = answers.iter().find(|(known, _)| path.starts_with(known));
            let (status, body) = answer.map_or((otherwise, Bytes::new()), |(_, body)| (200, body.clone()));
            let answer = format!(
                "HTTP/1.1 {status} x\r\nwww-authenticate: Basic realm=\"x\"\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            seen.lock().unwrap().push(head);
            let _ = stream.write_all(&[answer.as_bytes(), &body].concat()).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, heads)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushgateway_gets_its_own_credentials_and_not_those_of_the_proxy() {
    let real = Proxy::start().await;
    put(&real, GROUP, "a 3\n").await;
    let api = real.get("/api/v1/metrics").await.into_body();
    let protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8";
    let metrics = real.ask(Request::get("/metrics").header("accept", protobuf)).await.into_body();
    let (source, to_source) = recorder(vec![("/api/v1/metrics", api), ("/metrics", metrics)], 404).await;
    // The group is not there, and is taken.
    let (proxy, to_proxy) = recorder(vec![("/metrics/job", Bytes::new())], 404).await;
    let folder = tempfile::tempdir().unwrap();
    let credentials = folder.path().join("credentials");
    std::fs::write(&credentials, "old:password\n").unwrap();
    let import = async |source: SocketAddr, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exporter-proxy"));
        command.args([
            "import",
            "pushgateway",
            &format!("http://{source}"),
            "--to",
            &format!("http://{proxy}"),
        ]);
        command.args(arguments).env("EXPORTER_PROXY_TOKEN", "s3cret");
        let output = command.output().await.unwrap();
        (
            output.status.success(),
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        )
    };
    let of_source = format!("--source-credentials-file={}", credentials.display());
    for (arguments, authorization) in [(&[][..], None), (&[&*of_source], Some("\nauthorization: basic b2xkonbhc3n3b3jk\r"))] {
        let (good, told) = import(source, arguments).await;
        assert!(good && told.starts_with("imported 1 group with 1 family\n"), "{told}");
        // Of a file that all users can read.
        assert_eq!(told.matches(" WARN ").count(), arguments.len(), "{told}");
        let heads = std::mem::take(&mut *to_source.lock().unwrap());
        assert_eq!(heads.len(), 2, "{heads:?}");
        for head in heads {
            assert!(!head.contains("s3cret"), "{head}");
            match authorization {
                Some(line) => assert!(head.contains(line), "{head}"),
                None => assert!(!head.contains("authorization"), "{head}"),
            }
        }
        let heads = std::mem::take(&mut *to_proxy.lock().unwrap());
        assert_eq!(heads.len(), 2, "{heads:?}");
        assert!(
            heads.iter().all(|head| head.contains("\nauthorization: bearer s3cret\r")),
            "{heads:?}"
        );
    }
    let (locked, _) = recorder(Vec::new(), 401).await;
    let (good, told) = import(locked, &[]).await;
    assert!(
        !good && told.contains("401") && told.contains("; set --source-credentials-file\n"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn python_libraries_push() {
    let Some(python) = python(&["prometheus_client", "aioprometheus"]) else {
        return;
    };
    let proxy = Proxy::start().await;
    let script = repository("tests/peers/push_clients.py");
    let shown = run(Command::new(python).arg(script).arg(proxy.http.to_string())).await;
    assert_eq!(shown, "done\n");
    let samples = samples(&proxy).await;
    for expected in [
        "pushed_total{job=\"push\",instance=\"\"} 1.0",
        "added_total{job=\"push\",instance=\"\"} 2.0",
        "packed_total{job=\"packed\",instance=\"\"} 3.0",
        "in_a_group{job=\"a/b\",zone=\"\",instance=\"\"} 4.0",
    ] {
        assert!(
            samples.iter().any(|sample| sample == expected),
            "{expected} is missing in {samples:#?}"
        );
    }
    assert!(
        samples
            .iter()
            .any(|sample| sample.starts_with("aio_total{") && sample.contains("job=\"aio\"")),
        "{samples:#?}"
    );
    assert!(samples.iter().any(|sample| sample.starts_with("aio_gauge{")), "{samples:#?}");
    assert!(!samples.iter().any(|sample| sample.contains("deleted")), "{samples:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_pushes_with_a_password() {
    let Some(python) = python(&["prometheus_client", "aioprometheus"]) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let web = directory.path().join("web.yml");
    let hash = bcrypt::hash("secret", 4).unwrap();
    std::fs::write(&web, format!("basic_auth_users:\n  alice: {hash}\n")).unwrap();
    let proxy = Proxy::with(&format!("http.web_config_file = {web:?}")).await;
    let script = repository("tests/peers/push_clients.py");
    let mut command = Command::new(python);
    command.arg(script).arg(proxy.http.to_string()).args(["alice", "secret"]);
    assert_eq!(run(&mut command).await, "401 without a password\ndone\n");
}

/// Where `scripts/test --all` installs the JavaScript programs.
fn node_modules() -> Option<PathBuf> {
    let directory = repository("target/hyperdht-peers/node_modules");
    let found = directory.join("prom-client").is_dir().then_some(directory);
    missing(found, "the npm package prom-client")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the programs that scripts/test --all installs"]
async fn the_client_of_node_pushes() {
    let Some(modules) = node_modules() else { return };
    let proxy = Proxy::start().await;
    let mut command = Command::new("node");
    command.arg(repository("tests/peers/push_client.js")).arg(proxy.http.to_string());
    assert_eq!(run(command.env("NODE_PATH", modules)).await, "done\n");
    let samples = samples(&proxy).await;
    for expected in [
        "pushed_total{job=\"node\",instance=\"\"} 1",
        "added_total{job=\"node\",instance=\"\"} 2",
        "in_a_group{zone=\"z\",job=\"node/x\",instance=\"\"} 3",
    ] {
        let labels = |text: &str| {
            let mut parts: Vec<&str> = text.split(['{', ',', '}']).collect();
            parts.sort_unstable();
            parts.join(" ")
        };
        assert!(
            samples.iter().any(|sample| labels(sample) == labels(expected)),
            "{expected} is missing in {samples:#?}"
        );
    }
    assert!(!samples.iter().any(|sample| sample.contains("deleted")), "{samples:#?}");
}

/// A hundred and more requests to two versions of Pushgateway and two proxies take half a minute on a busy machine.
const COMPARISON: Duration = Duration::from_secs(8 * PATIENCE.as_secs());

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs packages that scripts/test --all gets"]
async fn answers_are_those_of_two_versions_of_pushgateway() {
    let (Some(_), Some(python)) = (crate::harness::peer("prometheus-pushgateway"), python(&["json"])) else {
        return;
    };
    let mut command = Command::new(python);
    command
        .arg(repository("scripts/faults/compare-pushgateway"))
        .args(["--proxy", env!("CARGO_BIN_EXE_exporter-proxy")])
        .kill_on_drop(true);
    let output = tokio::time::timeout(COMPARISON, command.output())
        .await
        .expect("the script ends")
        .unwrap();
    let (told, faults) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{faults}");
}
