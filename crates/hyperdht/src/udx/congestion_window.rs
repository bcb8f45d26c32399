//! Congestion control: CUBIC (RFC 9438) with pacing.

use std::time::{Duration, Instant};

/// Bytes of a full packet.
const PACKET: f64 = super::sender::PAYLOAD_BYTES as f64;
/// Initial window (RFC 6928).
const INITIAL_WINDOW: f64 = 10.0 * PACKET;
/// Minimum window.
const MIN_WINDOW: f64 = 2.0 * PACKET;
/// Maximum window, equal to the window of a receiver.
const MAX_WINDOW: f64 = 4.0 * 1024.0 * 1024.0;
/// Factor of the window after a loss.
const BETA: f64 = 0.7;
/// Growth constant of CUBIC, in packets per second cubed.
const C: f64 = 0.4;
/// Gain of the pacing rate over the average rate of the window: in slow start, and afterwards.
const SEARCH_GAIN: f64 = 2.0;
const STEADY_GAIN: f64 = 1.25;
/// Burst that is always allowed, in bytes, and as a duration, because timers are not more precise.
const BURST: f64 = 10.0 * PACKET;
const BURST_SECONDS: f64 = 0.002;
/// Minimum pause of pacing: at high rates the computed one rounds to zero, which would be no pause at all.
const MIN_PAUSE: Duration = Duration::from_micros(1);

/// The congestion window.
#[derive(Debug)]
pub(super) struct CongestionWindow {
    bytes: f64,
    /// Slow start threshold.
    threshold: f64,
    /// Window before the last loss.
    before_loss: f64,
    /// Start of the current growth period.
    epoch: Option<Instant>,
    /// Window of Reno (RFC 5681), the lower bound of CUBIC.
    reno: f64,
    credit: f64,
    refilled: Option<Instant>,
}

impl Default for CongestionWindow {
    fn default() -> Self {
        Self {
            bytes: INITIAL_WINDOW,
            threshold: f64::INFINITY,
            before_loss: INITIAL_WINDOW,
            epoch: None,
            reno: INITIAL_WINDOW,
            credit: BURST,
            refilled: None,
        }
    }
}

impl CongestionWindow {
    /// Returns true if the window allows `more` bytes in addition to those in flight.
    pub(super) fn allows(&self, in_flight: usize, more: usize) -> bool {
        (in_flight + more) as f64 <= self.bytes
    }

    /// Grows the window after an acknowledgement, if the window was the limit.
    pub(super) fn acknowledged(&mut self, bytes: usize, rtt: Duration, now: Instant) {
        let bytes = bytes as f64;
        if self.bytes < self.threshold {
            self.bytes += bytes;
        } else {
            let epoch = *self.epoch.get_or_insert(now);
            let start = (self.before_loss * (1.0 - BETA) / PACKET / C).cbrt();
            let ahead = (now + rtt).duration_since(epoch).as_secs_f64() - start;
            let cubic = (C * ahead.powi(3)).mul_add(PACKET, self.before_loss).min(self.bytes * 1.5);
            self.reno += 3.0 * (1.0 - BETA) / (1.0 + BETA) * PACKET * bytes / self.bytes;
            let grown = self.bytes + ((cubic - self.bytes) / self.bytes * bytes).max(0.0);
            self.bytes = grown.max(self.reno);
        }
        self.bytes = self.bytes.min(MAX_WINDOW);
    }

    /// Reduces the window after the first loss in a round trip.
    pub(super) fn lost(&mut self) {
        self.before_loss = self.bytes;
        self.shrink(self.bytes * BETA);
    }

    /// Reduces the window to the minimum after a persistent loss.
    pub(super) fn collapsed(&mut self) {
        self.before_loss = self.bytes;
        self.shrink(self.bytes * BETA);
        self.bytes = MIN_WINDOW;
    }

    fn shrink(&mut self, to: f64) {
        self.bytes = to.max(MIN_WINDOW);
        self.threshold = self.bytes;
        self.reno = self.bytes;
        self.epoch = None;
    }

    /// Returns the pacing rate in bytes per second.
    fn rate(&self, rtt: Duration) -> f64 {
        let gain = if self.bytes < self.threshold { SEARCH_GAIN } else { STEADY_GAIN };
        gain * self.bytes / rtt.as_secs_f64().max(1e-6)
    }

    /// Returns the time of the next packet; `None` if it can be sent now.
    pub(super) fn due(&mut self, rtt: Option<Duration>, now: Instant) -> Option<Instant> {
        let rtt = rtt?;
        let rate = self.rate(rtt);
        let passed = self.refilled.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
        self.refilled = Some(now);
        self.credit = passed.mul_add(rate, self.credit).min((rate * BURST_SECONDS).max(BURST));
        (self.credit < PACKET).then(|| now + Duration::from_secs_f64((PACKET - self.credit) / rate).max(MIN_PAUSE))
    }

    /// Takes sent bytes from the pacing credit.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.credit -= bytes as f64;
    }
}

#[cfg(test)]
mod tests;
