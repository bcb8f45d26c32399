//! The housekeeping service: expires apps, scrapers and events every second, and evicts idle rendered text now and then.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Dropped, Inlet};
use crate::model::{AppName, Clock};
use crate::supervise::{Service, blocking};

/// The interval of looking for expired apps. If no app is old enough, that costs one comparison.
const EVERY: Duration = Duration::from_secs(1);

/// The pause between two batches of expired apps, in which other requests get the store.
const PAUSE: Duration = Duration::from_millis(1);

/// The interval of evicting rendered text that was not read since: a little more than a minute, the longest usual scrape interval.
const REST_EVERY: Duration = Duration::from_secs(75);

/// Removes pushed apps that were not updated for too long, scrapers that do not come back, and events that no scraper needs.
pub struct Housekeeping {
    inlet: Inlet,
    clock: Clock,
    forgotten: Box<dyn Fn(&AppName) + Send + Sync>,
    dropped: Box<dyn Fn(&Dropped) + Send + Sync>,
}

impl std::fmt::Debug for Housekeeping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Housekeeping").finish_non_exhaustive()
    }
}

impl Housekeeping {
    /// A service that reads the time from `clock`, calls `forgotten` for each app that it removes, and `dropped` for events that a scraper
    /// will not get.
    pub fn new(
        inlet: Inlet,
        clock: Clock,
        forgotten: impl Fn(&AppName) + Send + Sync + 'static,
        dropped: impl Fn(&Dropped) + Send + Sync + 'static,
    ) -> Self {
        Self {
            inlet,
            clock,
            forgotten: Box::new(forgotten),
            dropped: Box::new(dropped),
        }
    }

    /// Forgets all that is too old, with pauses in which others have their turn.
    async fn expire(&self, stop: &CancellationToken) {
        loop {
            // Read each time: a large app may have taken a while, and a late time would pass for a clock that was set back.
            let gone = self.inlet.expire((self.clock)());
            gone.iter().for_each(&self.forgotten);
            if gone.len() < Inlet::EXPIRES_AT_ONCE || stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
        }
    }
}

impl Service for Housekeeping {
    fn name(&self) -> &str {
        "housekeeping"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut last_rest = Instant::now();
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                if last_rest.elapsed() >= REST_EVERY {
                    last_rest = Instant::now();
                    let inlet = self.inlet.clone();
                    blocking(move || inlet.evict_idle()).await;
                }
                self.expire(&stop).await;
                self.inlet.sweep((self.clock)()).iter().for_each(&self.dropped);
            }
            Ok(())
        })
    }
}
