//! `scripts/faults/hostile`, which sends what nobody should send and looks at what everybody else gets meanwhile.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{python, repository};

/// A machine that is busy with other tests may need some times the minute that the script takes by itself.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: scripts/test --all runs it"]
async fn bad_input_gets_what_the_documentation_says() {
    let Some(python) = python(&["ssl", "multiprocessing"]) else {
        return;
    };
    let mut script = Command::new(python);
    script
        .arg(repository("scripts/faults/hostile"))
        .args(["--quick", env!("CARGO_BIN_EXE_exporter-proxy")])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, script.output())
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
