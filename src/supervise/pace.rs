//! The pace of a client that sends a request or a message in pieces. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes in a second that make a client one that goes on sending. A body or a message that comes more slowly may be cut off where the client's
/// address has too many that are incomplete: a byte from time to time would hold a connection slot for minutes. Mobile networks at the edge
/// of their reach have more.
const SLOW: u64 = 16 << 10;

/// The longest time for which earlier bytes make up for a pause.
const PAUSE: Duration = Duration::from_secs(1);

/// The time for which the bytes of a client make up for a pause.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    until: Instant,
}

impl Pace {
    /// The pace of a client that has sent nothing yet: it is slow.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { until: now }
    }

    /// Adds bytes that have arrived.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        let worth = Duration::from_micros(bytes.saturating_mul(1_000_000) / SLOW);
        self.until = (self.until.max(now) + worth.min(PAUSE)).min(now + PAUSE);
    }

    /// Returns true if little has arrived lately.
    #[must_use]
    pub fn is_slow(&self, now: Instant) -> bool {
        now >= self.until
    }
}

#[cfg(test)]
mod tests;
