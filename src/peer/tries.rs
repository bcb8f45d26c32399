//! A limit on failed tries, for each address and each key. Time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Failures within [`SPAN`] after which one is not even listened to: a person's slips stay below it, guessing becomes hopeless.
const MAX_FAILURES: u32 = 10;

/// How long failures count.
const SPAN: Duration = Duration::from_secs(60);

/// The most that are remembered: 64 kB or so. Beyond it the oldest are forgotten, so a flood of addresses cannot shut out a newcomer.
const MAX_REMEMBERED: usize = 4_096;

/// Who has failed lately, and how often.
#[derive(Debug)]
pub(crate) struct Tries<K> {
    failures: HashMap<K, (Instant, u32)>,
}

impl<K> Default for Tries<K> {
    fn default() -> Self {
        Self { failures: HashMap::new() }
    }
}

impl<K: Hash + Eq + Copy> Tries<K> {
    /// Whether `who` may try now.
    #[must_use]
    pub(crate) fn may(&self, who: K, now: Instant) -> bool {
        self.recent(who, now) < MAX_FAILURES
    }

    /// Whether `who` has failed lately.
    #[must_use]
    pub(crate) fn has_failed(&self, who: K, now: Instant) -> bool {
        self.recent(who, now) > 0
    }

    fn recent(&self, who: K, now: Instant) -> u32 {
        let recent = self.failures.get(&who).filter(|(since, _)| now.duration_since(*since) < SPAN);
        recent.map_or(0, |(_, count)| *count)
    }

    /// Books a failure of `who`, and says how many that makes.
    pub(crate) fn failed(&mut self, who: K, now: Instant) -> u32 {
        if self.failures.len() >= MAX_REMEMBERED && !self.failures.contains_key(&who) {
            self.forget(now);
        }
        let entry = self.failures.entry(who).or_insert((now, 0));
        if now.duration_since(entry.0) >= SPAN {
            *entry = (now, 0);
        }
        entry.1 += 1;
        entry.1
    }

    /// Makes room: what no longer counts goes, and where that is nothing, the older half.
    fn forget(&mut self, now: Instant) {
        self.failures.retain(|_, (since, _)| now.duration_since(*since) < SPAN);
        if self.failures.len() < MAX_REMEMBERED {
            return;
        }
        let mut times: Vec<Instant> = self.failures.values().map(|(since, _)| *since).collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        self.failures.retain(|_, (since, _)| *since > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_a_minute_and_no_more() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        for n in 1..=MAX_FAILURES {
            assert!(tries.may(1, now));
            assert_eq!(tries.failed(1, now), n);
        }
        assert!(!tries.may(1, now) && tries.may(2, now));
        assert!(tries.has_failed(1, now) && !tries.has_failed(2, now) && !tries.has_failed(1, now + SPAN));
        assert!(!tries.may(1, now + SPAN - Duration::from_millis(1)));
        assert!(tries.may(1, now + SPAN));
        assert_eq!(tries.failed(1, now + SPAN), 1);
    }

    #[test]
    fn a_flood_is_remembered_within_bounds() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        for n in 0..20_000_u32 {
            tries.failed(n, now + Duration::from_millis(u64::from(n)));
            assert!(tries.failures.len() <= MAX_REMEMBERED);
        }
        assert!(tries.failures.contains_key(&19_999));
    }
}
