//! Restarts on a directory of `store.path`: after a kill, after damage, after an upgrade.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::Request;
use tempfile::TempDir;

use crate::harness::{ask, until};
use crate::process::{Process, config};

/// A directory for a proxy, and its configuration.
struct Place {
    root: TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let file = config(root.path(), &format!("store.path = {:?}\n", root.path().join("data")));
        Self { root, file }
    }

    fn log(&self, number: usize) -> PathBuf {
        self.root.path().join(format!("data/apps-{number:08}.log"))
    }

    fn start(&self) -> (Process, SocketAddr) {
        let mut process = Process::start(&self.file);
        let serving = process.line("serving http://127.0.0.1:");
        let address = serving.rsplit_once("http://").unwrap().1.parse().unwrap();
        (process, address)
    }

    async fn is_written(&self, text: &str) {
        until(&format!("{text:?} is on the disk"), async || {
            (1..9).any(|number| find(&fs::read(self.log(number)).unwrap_or_default(), text).is_some())
        })
        .await;
    }
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}

async fn push(address: SocketAddr, app: &str, text: String) {
    let pushed = ask(address, Request::put(format!("/apps/{app}/metrics")), text).await;
    assert_eq!(pushed.status(), 200, "{pushed:?}");
}

async fn get(address: SocketAddr, path: &str) -> String {
    let answer = ask(address, Request::get(path), "").await;
    assert_eq!(answer.status(), 200, "{path}");
    String::from_utf8(answer.into_body().to_vec()).unwrap()
}

async fn apps(address: SocketAddr) -> BTreeSet<String> {
    let list: serde_json::Value = serde_json::from_str(&get(address, "/apps?format=json").await).unwrap();
    let names = list["apps"].as_array().unwrap().iter();
    names.map(|app| app["name"].as_str().unwrap().to_owned()).collect()
}

/// Twenty applications, pushed in one batch or a few.
async fn fill(address: SocketAddr) {
    for n in 0..20 {
        push(address, &format!("app{n}"), format!("metric_{n}_of_app {n}\n")).await;
    }
}

fn flip(file: &Path, text: &str) {
    let mut bytes = fs::read(file).unwrap();
    let at = find(&bytes, text).unwrap();
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_costs_one_app_and_the_file_is_replaced() {
    let place = Place::new();
    let (process, address) = place.start();
    fill(address).await;
    process.stop();
    flip(&place.log(1), "metric_13_of_app");

    let (process, address) = place.start();
    let told = process.log();
    assert!(told.contains("skipped damaged records, 19 apps kept; lost: app13"), "{told}");
    let left = apps(address).await;
    assert_eq!((left.len(), left.contains("app13")), (19, false));
    assert!(get(address, "/metrics").await.contains("\nmetric_19_of_app 19\n"));
    until("the damaged file is replaced", async || !place.log(1).exists()).await;
    drop(process);

    let (process, address) = place.start();
    assert_eq!(apps(address).await, left);
    assert!(!process.log().contains("damaged"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_at_the_end_of_a_killed_run_costs_one_app() {
    let place = Place::new();
    let (process, address) = place.start();
    fill(address).await;
    place.is_written("metric_19_of_app").await;
    drop(process);
    let file = place.log(1);
    let bytes = fs::read(&file).unwrap();
    // Up to the end of the last record: the seal behind it has not arrived.
    let end = find(&bytes, "metric_19_of_app 19\n").unwrap() + "metric_19_of_app 19\n".len();
    fs::write(&file, &bytes[..end]).unwrap();
    flip(&file, "metric_19_of_app");

    let (process, address) = place.start();
    let told = process.log();
    assert!(told.contains("skipped incomplete or damaged records, 19 apps kept"), "{told}");
    assert_eq!(apps(address).await.len(), 19);
    drop(process);
    let (process, _) = place.start();
    assert!(!process.log().contains("torn"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_keeps_what_each_life_has_written() {
    let place = Place::new();
    for life in 0..4 {
        let (_killed, address) = place.start();
        assert_eq!(apps(address).await.len(), life);
        let app = format!("life{life}");
        push(address, &app, format!("{app}_metric 1\n")).await;
        place.is_written(&format!("{app}_metric")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_version_1_is_taken_over() {
    let place = Place::new();
    let (old, data) = (
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store/v1"),
        place.root.path().join("data"),
    );
    fs::create_dir(&data).unwrap();
    for file in ["apps-00000001.log", "events.log"] {
        fs::copy(old.join(file), data.join(file)).unwrap();
    }
    for _ in 0..2 {
        let (process, address) = place.start();
        assert!(process.log().contains("apps=4 accepted=5"), "{}", process.log());
        let metrics = get(address, "/metrics?peek=true").await;
        for line in [
            "jobs_done_total{queue=\"b\"} 9",
            "latency_seconds_sum 1.5",
            "only_here 3",
            "shared{app=\"json app\"} 1",
        ] {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
        process.stop();
    }
    assert_eq!(fs::read(data.join("events.log")).unwrap()[12], 2);
}
