use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Instant, sleep, timeout};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_suspension_is_noticed_within_seconds_and_a_pause_is_none() {
    let seconds = AtomicU64::new(1_000);
    let resumed = resumed_by(|| Duration::from_secs(seconds.load(Ordering::SeqCst)));
    tokio::pin!(resumed);
    // Days of work, then a suspension that is too short.
    assert!(timeout(Duration::from_secs(200_000), &mut resumed).await.is_err());
    seconds.fetch_add(9, Ordering::SeqCst);
    assert!(timeout(Duration::from_secs(60), &mut resumed).await.is_err());
    seconds.fetch_add(4 * 3_600, Ordering::SeqCst);
    let resumed_at = Instant::now();
    resumed.await;
    assert!(resumed_at.elapsed() <= CHECK_INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_runs_is_never_resumed() {
    let begin = suspended_time();
    tokio::select! {
        () = resumed() => panic!("suspended for {:?} by now, {begin:?} at first", suspended_time()),
        () = sleep(Duration::from_secs(600)) => {}
    }
}
