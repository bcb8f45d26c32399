//! Round-trip time measurement (RFC 6298).

use std::time::Duration;

/// Lower bound on the variation, the precision of timers.
const TIMER_GRANULARITY: Duration = Duration::from_millis(1);
/// Probe timeout before the first measurement.
const INITIAL_TIMEOUT: Duration = Duration::from_millis(300);
/// Minimum probe timeout: the peer's program may be busy for a moment.
const MIN_TIMEOUT: Duration = Duration::from_millis(25);

/// Minimum limit on bytes in flight: the packets that fit into the default socket buffer of Linux. More would be lost between two
/// programs on one machine, and libudx waits a second after a packet is lost twice.
pub(super) const MIN_IN_FLIGHT: usize = 96 * 1024;
/// Target rate in bytes per second, which sets the limit on bytes in flight for longer round trips.
const TARGET_RATE: f64 = 50e6;

/// Smoothed measurements.
#[derive(Debug, Default)]
pub(super) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    latest: Duration,
    least: Option<Duration>,
}

impl Rtt {
    pub(super) fn measured(&mut self, sample: Duration) {
        self.latest = sample;
        self.least = Some(self.least.map_or(sample, |least| least.min(sample)));
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
    }

    /// Returns the smoothed round-trip time, if measured.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Returns the shortest round-trip time.
    pub(super) fn least(&self) -> Duration {
        self.least.unwrap_or_default()
    }

    /// Returns the limit on bytes in flight.
    pub(super) fn max_in_flight(&self) -> usize {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a round trip of hours is still far from any limit"
        )]
        let far = (self.least().as_secs_f64() * TARGET_RATE) as usize;
        far.max(MIN_IN_FLIGHT)
    }

    /// Returns the time without an acknowledgement after which a probe is sent.
    pub(super) fn probe_timeout(&self) -> Duration {
        self.smoothed.map_or(INITIAL_TIMEOUT, |smoothed| {
            (smoothed + (self.variation * 4).max(TIMER_GRANULARITY)).max(MIN_TIMEOUT)
        })
    }

    /// Returns the delay by which a reordered packet may arrive late.
    pub(super) fn reordering(&self) -> Duration {
        let longest = self.smoothed.unwrap_or(INITIAL_TIMEOUT).max(self.latest);
        (longest + longest / 8).max(TIMER_GRANULARITY)
    }
}

#[cfg(test)]
mod tests;
