//! The pace of a client that sends a request or a message in pieces. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes in a second that make a client one that goes on sending. A body or a message that comes more slowly may be cut off where the client's
/// address has too many that are incomplete, or where others wait for memory: a byte from time to time would hold a connection slot and
/// memory for minutes. Mobile networks at the edge of their reach have more.
const SLOW: u64 = 16 << 10;

/// The longest time for which earlier bytes make up for a pause, where connections are short.
const SLOT_PAUSE: Duration = Duration::from_secs(1);

/// The same where memory is short, which loses a message that others do not have in their place: TCP sends lost packets again within this time.
const MEMORY_PAUSE: Duration = Duration::from_secs(5);

/// The time for which the bytes of a client make up for a pause.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    until: Instant,
    /// The longest such time.
    pause: Duration,
}

impl Pace {
    /// The pace of a client that holds a connection slot and has sent nothing yet: it is slow.
    #[must_use]
    pub const fn for_slot(now: Instant) -> Self {
        Self {
            until: now,
            pause: SLOT_PAUSE,
        }
    }

    /// The pace of a client at the beginning of a message or a body, for the memory that it takes.
    #[must_use]
    pub fn for_memory(now: Instant) -> Self {
        Self {
            until: now + MEMORY_PAUSE,
            pause: MEMORY_PAUSE,
        }
    }

    /// Adds bytes that have arrived.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        let worth = Duration::from_micros(bytes.saturating_mul(1_000_000) / SLOW);
        self.until = (self.until.max(now) + worth.min(self.pause)).min(now + self.pause);
    }

    /// Leaves out a time in which the client was not waited for.
    pub fn extend(&mut self, waited: Duration) {
        self.until += waited;
    }

    /// The time from which on the client is slow if nothing more arrives.
    #[must_use]
    pub const fn slow_from(&self) -> Instant {
        self.until
    }

    /// Returns true if little has arrived lately.
    #[must_use]
    pub fn is_slow(&self, now: Instant) -> bool {
        now >= self.until
    }
}

#[cfg(test)]
mod tests;
