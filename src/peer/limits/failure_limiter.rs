//! A limit on failed attempts: of wrong secrets for each address and key, of failed handshakes for each address. Time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Failures within [`WINDOW`] after which attempts are limited. Typing errors stay below the limit.
const MAX_FAILURES: u32 = 10;

/// The time for which a failure counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Interval of the attempts that are admitted nevertheless where several clients share what is counted: twenty a second cost little, and
/// a client with a valid attempt gets through soon.
const SPACING: Duration = Duration::from_millis(50);

/// Limit on entries, about 64 kB. Beyond it the oldest are evicted, so that a flood of addresses cannot block a new client.
const MAX_ENTRIES: usize = 4_096;

/// The failures of one key.
#[derive(Debug)]
struct Failures {
    /// The time of the first one.
    since: Instant,
    count: u32,
    /// The time at which the next attempt beyond the limit is admitted.
    next: Instant,
}

impl Failures {
    fn are_recent(&self, now: Instant) -> bool {
        now.duration_since(self.since) < WINDOW
    }
}

/// Recent failures by key.
#[derive(Debug)]
pub(crate) struct FailureLimiter<K> {
    failures: HashMap<K, Failures>,
}

impl<K> Default for FailureLimiter<K> {
    fn default() -> Self {
        Self { failures: HashMap::new() }
    }
}

impl<K: Hash + Eq + Copy> FailureLimiter<K> {
    /// Returns the time for which `key` has reached the limit. `None` if it is below.
    #[must_use]
    pub(crate) fn blocked_for(&self, key: K, now: Instant) -> Option<Duration> {
        let failures = self.failures.get(&key).filter(|failures| failures.are_recent(now))?;
        (failures.count >= MAX_FAILURES).then(|| WINDOW.saturating_sub(now.duration_since(failures.since)))
    }

    /// Returns true if an attempt of `key` may proceed: below the limit always, beyond it once in [`SPACING`].
    pub(crate) fn admit(&mut self, key: K, now: Instant) -> bool {
        let Some(failures) = self.failures.get_mut(&key).filter(|failures| failures.are_recent(now)) else {
            return true;
        };
        let admitted = failures.count < MAX_FAILURES || now >= failures.next;
        if admitted {
            failures.next = now + SPACING;
        }
        admitted
    }

    /// Records a failure of `key` and returns its number of failures.
    pub(crate) fn record_failure(&mut self, key: K, now: Instant) -> u32 {
        if self.failures.len() >= MAX_ENTRIES && !self.failures.contains_key(&key) {
            self.evict(now);
        }
        let first = || Failures {
            since: now,
            count: 0,
            next: now,
        };
        let failures = self.failures.entry(key).or_insert_with(first);
        if !failures.are_recent(now) {
            *failures = first();
        }
        failures.count = failures.count.saturating_add(1);
        failures.count
    }

    /// Removes expired entries, or the older half if none has expired.
    fn evict(&mut self, now: Instant) {
        self.failures.retain(|_, failures| failures.are_recent(now));
        if self.failures.len() < MAX_ENTRIES {
            return;
        }
        let mut times: Vec<Instant> = self.failures.values().map(|failures| failures.since).collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        self.failures.retain(|_, failures| failures.since > middle);
    }
}

#[cfg(test)]
mod tests;
