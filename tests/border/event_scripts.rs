//! Short runs of the scripts that show how events are delivered by networks that break: docs/events.md has the long ones.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{peer, python, repository};

/// A machine that is busy with other tests may need some times the quarter of a minute that a script takes by itself.
const PATIENCE: Duration = Duration::from_secs(180);

async fn passes(python: PathBuf, script: &str, options: &[&str]) {
    let mut command = Command::new(python);
    command
        .arg(repository(script))
        .args(options)
        .args(["--binary", env!("CARGO_BIN_EXE_exporter-proxy")])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("the script ends")
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_records_each_event_once_while_scrapes_are_cut_off() {
    let (Some(_), Some(_), Some(python)) = (peer("prometheus"), peer("curl"), python(&["asyncio"])) else {
        return;
    };
    passes(python, "scripts/faults/prometheus-events", &["--events", "200", "--rate", "40"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_with_packets() {
    let (Some(_), Some(_), Some(python)) = (peer("unshare"), peer("nft"), python(&["socket"])) else {
        return;
    };
    let namespaces = Command::new("unshare")
        .args(["--map-root-user", "--net", "nft", "list", "tables"])
        .output()
        .await;
    if !namespaces.is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var_os("CI").is_none(),
            "no network namespace with nft can be made, and under CI nothing may be skipped"
        );
        eprintln!("skipped: no network namespace with nft can be made");
        return;
    }
    // Each kind of weather once, and one of them twice.
    passes(python, "scripts/faults/lossy-events", &["--seconds", "7"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_proxy_loses_no_event() {
    let Some(python) = python(&["http.client"]) else { return };
    passes(python, "scripts/faults/kill-events", &["--kills", "10", "--longest", "1"]).await;
}
