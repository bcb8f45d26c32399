//! Rate limit of posted events per client.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::Client;

/// The burst of a client, as the time in which the rate allows as many events: a job may report all of its steps at its end.
const BURST: Duration = Duration::from_secs(10);

/// Limit of clients that are counted separately, in about 2 MB. Further clients share one count until others have been quiet for [`BURST`].
const MAX_CLIENTS: usize = 16_384;

/// Rate limiter of posts per client.
#[derive(Debug)]
pub struct PostRate {
    per_second: AtomicU32,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// The time at which a client's full burst is available again. Bounded by [`MAX_CLIENTS`].
    full_at: HashMap<Client, Instant, foldhash::fast::RandomState>,
    /// The same for all clients without an entry.
    others_full_at: Option<Instant>,
    /// The time of the next search for quiet clients, which takes time linear in the number of clients.
    look_again_at: Option<Instant>,
}

/// Interval of searches for quiet clients while the table is full.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl PostRate {
    /// A limit of `per_second` posts per second and client.
    #[must_use]
    pub fn new(per_second: NonZeroU32) -> Self {
        Self {
            per_second: per_second.get().into(),
            counts: Mutex::default(),
        }
    }

    /// Changes the limit.
    pub fn set(&self, per_second: NonZeroU32) {
        self.per_second.store(per_second.get(), Ordering::Relaxed);
    }

    /// The limit in posts per second.
    pub(super) fn per_second(&self) -> u32 {
        self.per_second.load(Ordering::Relaxed)
    }

    /// Counts a post of this client.
    ///
    /// # Errors
    /// The time after which the client may post again, if it is over the limit.
    pub(super) fn admit(&self, client: &Client, now: Instant) -> Result<(), Duration> {
        let cost = Duration::from_secs(1) / self.per_second();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = counts.of(client.network(), now);
        let after = (*full_at).max(now) + cost;
        let ahead = after.saturating_duration_since(now);
        if ahead > BURST {
            return Err(ahead - BURST);
        }
        *full_at = after;
        Ok(())
    }
}

impl Counts {
    fn of(&mut self, network: Client, now: Instant) -> &mut Instant {
        if self.full_at.len() >= MAX_CLIENTS && !self.full_at.contains_key(&network) {
            if self.look_again_at.is_none_or(|at| at <= now) {
                self.full_at.retain(|_, full_at| *full_at > now);
                self.look_again_at = Some(now + LOOK_EVERY);
            }
            if self.full_at.len() >= MAX_CLIENTS {
                return self.others_full_at.get_or_insert(now);
            }
        }
        self.full_at.entry(network).or_insert(now)
    }
}

#[cfg(test)]
mod tests;
