//! A disk that fills up under `store.path`, on a file system of its own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use exporter_proxy::peer::{Alias, Client, ClientSettings, Identity, LinkEvents, Registration, RunningClient, metrics_service};
use http::{Request, StatusCode};

use crate::harness::{PATIENCE, ask, bulk, until};
use crate::process::{Process, config};

/// Set in the copy of this test that runs where it may mount.
const INSIDE: &str = "EXPORTER_PROXY_TEST_INSIDE_MOUNTS";

/// Room for the logs' beginnings and some thousand events.
const DISK_BYTES: &str = "1m";

/// Whether this machine lets us mount a small disk; under CI it must.
pub fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"])
        .output();
    let can = tried.is_ok_and(|output| output.status.success());
    if !can {
        assert!(
            std::env::var_os("CI").is_none(),
            "no file system can be mounted, and under CI nothing may be skipped"
        );
        eprintln!("skipped: no file system can be mounted");
    }
    can
}

/// Runs the test of this name again, in a process of its own that may mount. True in that process, where the test goes on; false
/// where it is over.
pub fn run_where_it_may_mount(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if can_mount() {
        let output = Command::new("unshare")
            .args(["--map-root-user", "--mount"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        // With a name that no test has, nothing runs and the exit code is 0 as well.
        assert!(
            output.status.success() && printed.contains("1 passed"),
            "{name} in a process of its own: {}\n{printed}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    false
}

/// A small disk mounted in this directory.
pub fn mount(folder: &Path, size: &str) -> PathBuf {
    let disk = folder.join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
        .arg(&disk)
        .status();
    assert!(mounted.unwrap().success());
    disk
}

/// Runs the test of this name, which calls this, in a process of its own that may mount, on a small disk.
pub fn on_a_small_disk<R: Future<Output = ()>>(name: &str, size: &str, test: impl FnOnce(PathBuf, PathBuf) -> R) {
    if !run_where_it_may_mount(name) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = mount(folder.path(), size);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(test(folder.path().to_owned(), disk));
}

#[test]
fn a_full_disk_takes_no_events_and_loses_none() {
    on_a_small_disk("full_disk::a_full_disk_takes_no_events_and_loses_none", DISK_BYTES, fill);
}

#[test]
fn a_full_disk_leaves_polled_events_with_their_server() {
    on_a_small_disk(
        "full_disk::a_full_disk_leaves_polled_events_with_their_server",
        DISK_BYTES,
        fill_while_polling,
    );
}

/// A proxy on that disk, and its address.
fn start(file: &Path) -> (Process, SocketAddr) {
    let mut process = Process::start(file);
    let serving = process.line("serving http://127.0.0.1:");
    let address = serving.rsplit_once("http://").unwrap().1.parse().unwrap();
    (process, address)
}

/// What the proxy says of one event, and of what it was asked.
async fn post(address: SocketAddr, n: u32) -> (StatusCode, String) {
    let answer = ask(address, Request::post(format!("/event?n={n}")), "").await;
    (answer.status(), String::from_utf8_lossy(answer.body()).into_owned())
}

async fn get(address: SocketAddr, path: &str) -> (StatusCode, String) {
    let answer = ask(address, Request::get(path).header("user-agent", "p"), "").await;
    (answer.status(), String::from_utf8_lossy(answer.body()).into_owned())
}

/// The events in a scrape.
async fn scrape(address: SocketAddr) -> BTreeSet<u32> {
    let (_, text) = get(address, "/metrics").await;
    let samples = text.lines().filter_map(|line| line.strip_prefix("events_to_metrics{n=\""));
    samples.map(|rest| rest.split_once('"').unwrap().0.parse().unwrap()).collect()
}

/// Takes all the room that there is.
pub fn take_room(filler: &Path) {
    let mut file = File::create(filler).unwrap();
    while file.write_all(&[0; 4_096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
}

async fn fill(folder: PathBuf, disk: PathBuf) {
    let data = disk.join("data");
    let file = config(&folder, &format!("store.path = {data:?}\n"));
    let (process, address) = start(&file);
    let (mut accepted, mut refused) = (BTreeSet::new(), BTreeSet::new());
    assert!(scrape(address).await.is_empty());
    for n in 0..20 {
        assert_eq!(post(address, n).await.0, StatusCode::OK);
        accepted.insert(n);
    }
    let delivered = scrape(address).await;
    assert_eq!(delivered, accepted);

    let filler = disk.join("filler");
    take_room(&filler);
    // What is left of the last page still takes some.
    for n in 20..1_000 {
        let (status, told) = post(address, n).await;
        if status == StatusCode::OK {
            accepted.insert(n);
        } else {
            assert!(told.contains("events.log") && told.contains("No space left"), "{status} {told}");
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            refused.insert(n);
        }
        if refused.len() > 5 {
            break;
        }
    }
    assert_eq!(refused.len(), 6, "the disk is full");
    // More than the last page of a file may have left.
    let body = format!("pushed_while_full 1\n{}", bulk("bulk", 20_000));
    let pushed = ask(address, Request::put("/apps/a/metrics"), body).await;
    assert_eq!(pushed.status(), StatusCode::OK);
    assert!(get(address, "/metrics?peek=true").await.1.contains("pushed_while_full 1\n"));
    for log in ["events.log", "apps-00000001.log"] {
        until(&format!("/readyz names {log}"), async || {
            let (status, told) = get(address, "/readyz").await;
            status == StatusCode::SERVICE_UNAVAILABLE && told.contains(log) && told.contains("No space left")
        })
        .await;
    }

    fs::remove_file(&filler).unwrap();
    until("it is ready by itself", async || get(address, "/readyz").await.0 == StatusCode::OK).await;
    for n in 1_000..1_010 {
        assert_eq!(post(address, n).await.0, StatusCode::OK);
        accepted.insert(n);
    }
    // Its destructor is a `kill -9`.
    drop(process);

    let (_process, address) = start(&file);
    assert!(get(address, "/metrics?peek=true").await.1.contains("pushed_while_full 1\n"));
    let after = scrape(address).await;
    assert!(after.is_disjoint(&refused), "{after:?} and {refused:?}");
    assert_eq!(&after | &delivered, accepted);
    assert!(after.is_disjoint(&delivered), "a recorded delivery comes again");
}

async fn fill_while_polling(folder: PathBuf, disk: PathBuf) {
    let (first_folder, data) = (tempfile::tempdir().unwrap(), disk.join("data"));
    let (_first, server) = start(&config(first_folder.path(), ""));
    let polls = format!(
        "poll_external = {{ poll_other_scrape_endpoints = true, poll_interval = \"100ms\", \
         other_scrape_endpoints = [{{ url = \"http://{server}/metrics\", name = \"A\" }}] }}"
    );
    let (_second, address) = start(&config(&folder, &format!("store.path = {data:?}\n{polls}\n")));
    let pending = async || {
        let (_, text) = get(server, "/metrics?peek=true").await;
        let line = "events_to_metrics_scraper_counts{scraper=\"127.0.0.1 exporter-proxy\"} ";
        text.lines().find_map(|of| of.strip_prefix(line)).map(str::to_owned)
    };
    assert!(scrape(address).await.is_empty());
    until("the server knows its scraper", async || pending().await.as_deref() == Some("0")).await;
    take_room(&disk.join("filler"));
    // The last page of the log may still take some.
    for n in 0..400 {
        let query = format!("/event?n={n}&text={}", "x".repeat(100));
        assert_eq!(ask(server, Request::post(query), "").await.status(), StatusCode::OK);
    }
    until("the table says why", async || {
        let (_, apps) = get(address, "/apps?format=wide").await;
        apps.contains("cannot record its one-shot events") && apps.contains("No space left")
    })
    .await;
    assert_ne!(pending().await.as_deref(), Some("0"), "what is not recorded has not been received");
    fs::remove_file(disk.join("filler")).unwrap();
    let mut got = Vec::new();
    until("all events come", async || {
        let (_, text) = get(address, "/metrics").await;
        got.extend(
            text.lines()
                .filter(|line| line.starts_with("events_to_metrics{"))
                .map(str::to_owned),
        );
        got.len() >= 400
    })
    .await;
    until("all are known to have been received", async || {
        pending().await.as_deref() == Some("0")
    })
    .await;
    got.extend(scrape(address).await.iter().map(ToString::to_string));
    assert_eq!(got.len(), 400);
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 400, "each of them once");
}

/// A bridge whose targets file is on the disk, and its address.
fn start_bridge(folder: &Path, targets: &Path) -> (Process, SocketAddr, String) {
    let text = format!(
        "[bridge]\nhttp_listen = \"127.0.0.1:0\"\nquic_listen = \"127.0.0.1:0\"\nkey_file = {:?}\nsecret = \"{}\"\ntargets_file = {targets:?}\n",
        folder.join("bridge.key"),
        "1".repeat(64)
    );
    let mut process = Process::command("bridge", &config(folder, &text));
    let serving = process.line("serving http://127.0.0.1:");
    let address = serving.rsplit_once("http://").unwrap().1.parse().unwrap();
    let line = process.line("proxies register at udp 127.0.0.1:");
    let at = line.split_once("udp ").unwrap().1.split(':').nth(1).unwrap().to_owned();
    let key = line.split_once("quic://").unwrap().1.split('@').next().unwrap();
    (process, address, format!("quic://{key}@127.0.0.1:{at}"))
}

/// Registers an alias as long as aliases can be, so that the file grows by more than the last page of the disk may have left.
async fn register(bridge: &str, n: usize) -> RunningClient {
    let alias = format!("{n:03}{}", "a".repeat(240));
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![bridge.parse().unwrap()],
        registration: Registration {
            alias: Alias::new(&alias).unwrap(),
            service: "s".repeat(250),
            hostname: "h".repeat(250),
            secret: "1".repeat(64).parse().unwrap(),
            interval: Duration::from_secs(3_600),
        },
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let service = metrics_service(|| async { Ok::<_, String>("a 1\n".to_owned()) });
    let mut running = Client::bind(settings, service, LinkEvents::default()).await.unwrap().start();
    tokio::time::timeout(PATIENCE, running.ready()).await.expect("it registers");
    running
}

/// How many aliases the file has; none where it is no targets file.
fn targets(file: &Path) -> Option<usize> {
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    Some(value[0]["targets"].as_array()?.len())
}

async fn fill_under_targets(folder: PathBuf, disk: PathBuf) {
    targets_survive(&folder, &disk, &disk.join("prometheus/targets.json")).await;
}

/// The file is a mount of its own, as in a container, so nothing can be renamed onto it.
async fn fill_under_mounted_targets(folder: PathBuf, disk: PathBuf) {
    let (inside, outside) = (disk.join("targets.json"), folder.join("targets.json"));
    fs::write(&inside, "").unwrap();
    fs::write(&outside, "").unwrap();
    let mounted = Command::new("mount").arg("--bind").args([&inside, &outside]).status();
    assert!(mounted.unwrap().success());
    targets_survive(&folder, &disk, &outside).await;
}

async fn targets_survive(folder: &Path, disk: &Path, file: &Path) {
    let (process, _, bridge) = start_bridge(folder, file);
    let mut clients = vec![register(&bridge, 0).await];
    until("the file has one", async || targets(file) == Some(1)).await;
    take_room(&disk.join("filler"));
    // The last page of the file may still take some.
    for n in 1..30 {
        clients.push(register(&bridge, n).await);
    }
    let kept = targets(file).expect("it still is a targets file");
    assert!((1..30).contains(&kept), "{kept}");
    drop(clients);
    // Its destructor is a `kill -9`; there still is no room.
    drop(process);
    let (process, address, _) = start_bridge(folder, file);
    let listed = get(address, "/aliases?format=json").await.1;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), kept, "it starts with what it had");
    assert_eq!(targets(file), Some(kept));
    fs::remove_file(disk.join("filler")).unwrap();
    let forget = format!("/aliases/{}", listed[0]["alias"].as_str().unwrap());
    assert_eq!(ask(address, Request::delete(forget), "").await.status(), StatusCode::ACCEPTED);
    until("the file is written again", async || targets(file) == Some(kept - 1)).await;
    let beside = fs::read_dir(file.parent().unwrap()).unwrap();
    let left: Vec<_> = beside
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains(".new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    drop(process);
}

#[test]
fn a_full_disk_leaves_a_bridge_its_targets() {
    on_a_small_disk("full_disk::a_full_disk_leaves_a_bridge_its_targets", DISK_BYTES, fill_under_targets);
}

#[test]
fn a_full_disk_leaves_a_bridge_its_targets_where_the_file_is_a_mount() {
    let name = "full_disk::a_full_disk_leaves_a_bridge_its_targets_where_the_file_is_a_mount";
    on_a_small_disk(name, DISK_BYTES, fill_under_mounted_targets);
}
