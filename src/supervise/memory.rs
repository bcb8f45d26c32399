//! Giving memory that was freed back to the system.

#![allow(
    unsafe_code,
    reason = "malloc_trim has no safe binding; it takes no pointer and any thread may call it at any time"
)]

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Service, blocking};

/// Interval of trimming the heap. An update within this time reuses the pages of the one it replaces; after a burst, the end of many
/// apps, or the first compressed response the process shrinks soon.
const EVERY: Duration = Duration::from_secs(10);

/// Gives memory back that lies unused between texts that are still there.
///
/// glibc returns by itself only what is free at the end of its heap. Texts of all lengths come and go, so an eighth of the memory was
/// found to be pages that nothing used.
#[derive(Debug)]
pub struct MallocTrim;

impl Service for MallocTrim {
    fn name(&self) -> &str {
        "memory"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                // It takes a millisecond and more after a great change: not for a thread that serves connections.
                blocking(trim).await;
            }
            Ok(())
        })
    }
}

/// Gives back all whole pages that nothing uses; where the allocator is not glibc's there is nothing to be done.
fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it locks the allocator's own state and changes nothing that is in use.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests;
