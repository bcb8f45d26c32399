//! Delays between retries.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

/// Delays after a refused registration, and over HyperDHT after any failed one: most causes need a change of configuration.
pub(crate) const REFUSAL_DELAYS: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
];

/// Delays that grow with each failure up to the last one. Each is shortened by up to a half at random, so that many proxies do not retry
/// at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    steps: &'static [Duration],
    failures: usize,
}

impl Backoff {
    pub(crate) const fn new(steps: &'static [Duration]) -> Self {
        Self { steps, failures: 0 }
    }

    /// Restarts with the first delay.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the delay after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.steps.get(self.failures).or(self.steps.last()).copied().unwrap_or_default();
        self.failures += 1;
        jittered(step, random())
    }
}

/// Returns a duration between half of `span` and `span`, depending on the position of `random` in its range.
fn jittered(span: Duration, random: u32) -> Duration {
    span.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

/// Returns a random number for jitter, or the middle of the range if the system has no randomness.
fn random() -> u32 {
    let mut bytes = [0; 4];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_or(u32::MAX / 2, |()| u32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests;
