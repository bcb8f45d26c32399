//! `scripts/faults/hostile`, which sends what nobody should send and looks at what everybody else gets meanwhile, and
//! `scripts/faults/process`, which does the same to processes and their files.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::full_disk::can_mount;
use crate::harness::{python, repository};

/// A machine that is busy with other tests may need some times the minutes that the script takes by itself.
const PATIENCE: Duration = Duration::from_secs(1_200);

async fn passes(python: &Path, script: &str, options: &[&str]) {
    let mut command = Command::new(python);
    command
        .arg(repository(script))
        .args(options)
        .arg(env!("CARGO_BIN_EXE_exporter-proxy"))
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
#[ignore = "takes minutes: scripts/test --all runs it"]
async fn bad_input_gets_what_the_documentation_says() {
    let Some(python) = python(&["ssl", "multiprocessing"]) else {
        return;
    };
    passes(&python, "scripts/faults/hostile", &["--quick"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disks_damage_and_kills_leave_every_file_whole() {
    let Some(python) = python(&["ssl", "multiprocessing"]) else {
        return;
    };
    if can_mount() {
        let rooms = ["--room", "disk", "--room", "damage", "--room", "crashes"];
        passes(&python, "scripts/faults/process", &[&["--quick"][..], &rooms].concat()).await;
    }
}
