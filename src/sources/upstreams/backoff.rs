//! Backoff between connection attempts.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Delay after the first failure: enough for a server restart.
const FIRST: Duration = Duration::from_secs(1);
/// Maximum delay: a server that was down for days is connected within a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// Exponential backoff with jitter, so that clients of the same server do not reconnect at the same moment.
#[derive(Debug, Default)]
pub(in crate::sources) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay after one more failure; `chance`, from 0 to 1, selects it between half and all of the full delay.
    pub(in crate::sources) fn next(&mut self, chance: f64) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }

    /// Resets the delay after a success.
    pub(in crate::sources) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random number from 0 to 1 for jitter, from the random seeds of the standard library's hashers.
pub(in crate::sources) fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
