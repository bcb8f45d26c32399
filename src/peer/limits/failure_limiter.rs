//! A limit on failed attempts for each address and each key. Time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Failures within [`WINDOW`] after which further attempts are ignored. Typing errors stay below the limit; guessing is hopeless.
const MAX_FAILURES: u32 = 10;

/// The time for which a failure counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Limit on entries, about 64 kB. Beyond it the oldest are evicted, so that a flood of addresses cannot block a new client.
const MAX_ENTRIES: usize = 4_096;

/// Recent failures by key.
#[derive(Debug)]
pub(crate) struct FailureLimiter<K> {
    failures: HashMap<K, (Instant, u32)>,
}

impl<K> Default for FailureLimiter<K> {
    fn default() -> Self {
        Self { failures: HashMap::new() }
    }
}

impl<K: Hash + Eq + Copy> FailureLimiter<K> {
    /// Returns true if `key` is below the limit.
    #[must_use]
    pub(crate) fn allows(&self, key: K, now: Instant) -> bool {
        self.recent(key, now) < MAX_FAILURES
    }

    /// Returns true if `key` has failed within [`WINDOW`].
    #[must_use]
    pub(crate) fn has_failed(&self, key: K, now: Instant) -> bool {
        self.recent(key, now) > 0
    }

    fn recent(&self, key: K, now: Instant) -> u32 {
        let recent = self.failures.get(&key).filter(|(since, _)| now.duration_since(*since) < WINDOW);
        recent.map_or(0, |(_, count)| *count)
    }

    /// Records a failure of `key` and returns its number of failures.
    pub(crate) fn record_failure(&mut self, key: K, now: Instant) -> u32 {
        if self.failures.len() >= MAX_ENTRIES && !self.failures.contains_key(&key) {
            self.evict(now);
        }
        let entry = self.failures.entry(key).or_insert((now, 0));
        if now.duration_since(entry.0) >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
        entry.1
    }

    /// Removes expired entries, or the older half if none has expired.
    fn evict(&mut self, now: Instant) {
        self.failures.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        if self.failures.len() < MAX_ENTRIES {
            return;
        }
        let mut times: Vec<Instant> = self.failures.values().map(|(since, _)| *since).collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        self.failures.retain(|_, (since, _)| *since > middle);
    }
}

#[cfg(test)]
mod tests;
