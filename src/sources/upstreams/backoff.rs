//! Backoff between connection attempts.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Delay after the first failure: enough for a server restart.
const FIRST: Duration = Duration::from_secs(1);
/// Maximum delay: a server that was down for days is connected within a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// Exponential backoff with jitter, so that clients of the same server do not reconnect at the same moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay after one more failure; `chance`, from 0 to 1, selects it between half and all of the full delay.
    pub(super) fn next(&mut self, chance: f64) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }

    /// Resets the delay after a success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random number from 0 to 1 for jitter, from the random seeds of the standard library's hashers.
pub(super) fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_start_over() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..100).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(waits[99], 60);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(500));
        assert!((0..1_000).map(|_| chance()).all(|chance| (0.0..=1.0).contains(&chance)));
    }
}
