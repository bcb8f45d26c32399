//! Forgetting on time: a part that looks for expired applications every second.

use std::time::Duration;

use super::Inlet;
use crate::model::{AppName, Clock};

/// How often expired applications are looked for. A look that finds nothing old enough costs one comparison.
const EVERY: Duration = Duration::from_secs(1);

/// Forgets pushed applications that were not updated for too long.
pub struct Expiry {
    inlet: Inlet,
    clock: Clock,
    forgotten: Box<dyn Fn(&AppName) + Send + Sync>,
}

impl std::fmt::Debug for Expiry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expiry").finish_non_exhaustive()
    }
}

impl Expiry {
    /// A part that asks `clock` for the time and calls `forgotten` for each application it forgets.
    pub fn new(inlet: Inlet, clock: Clock, forgotten: impl Fn(&AppName) + Send + Sync + 'static) -> Self {
        Self {
            inlet,
            clock,
            forgotten: Box::new(forgotten),
        }
    }

    /// Runs until the future is dropped.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.inlet.expire((self.clock)()).iter().for_each(&self.forgotten);
        }
    }
}
