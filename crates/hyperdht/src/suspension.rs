//! Detects that the machine was suspended. Timers run on a clock that stands still meanwhile, so that none of them notices.

use std::time::Duration;

use tokio::time::interval;

/// Interval of checks: the time after a suspension in which no peer may reach us, and a system call each.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);
/// Shortest suspension that counts. NAT mappings and records outlive a shorter one.
const MIN_SUSPENSION: Duration = Duration::from_secs(10);

/// Waits until the machine has been suspended for at least ten seconds in all, and goes on. Records that others keep of this machine may have
/// expired meanwhile, and its address may have changed.
pub async fn resumed() {
    resumed_by(suspended_time).await;
}

/// Like [`resumed`], with a function that returns the time for which the machine has been suspended so far.
async fn resumed_by(suspended_time: impl Fn() -> Duration) {
    let before = suspended_time();
    let mut checks = interval(CHECK_INTERVAL);
    loop {
        checks.tick().await;
        if suspended_time().saturating_sub(before) >= MIN_SUSPENSION {
            return;
        }
    }
}

/// Returns the time for which the machine has been suspended since its start; zero on systems that do not tell.
fn suspended_time() -> Duration {
    clocks().map_or(Duration::ZERO, |(with, without)| with.saturating_sub(without))
}

/// Returns the time since the start of the machine, with and without suspensions.
#[cfg(target_os = "linux")]
fn clocks() -> Option<(Duration, Duration)> {
    use nix::time::ClockId;

    // Read first, so that a pause between the two does not count as a suspension.
    let with = ClockId::CLOCK_BOOTTIME.now().ok()?;
    let without = ClockId::CLOCK_MONOTONIC.now().ok()?;
    Some((with.into(), without.into()))
}

#[cfg(not(target_os = "linux"))]
fn clocks() -> Option<(Duration, Duration)> {
    None
}

#[cfg(test)]
mod tests;
