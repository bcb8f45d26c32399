//! The number of updates of an app in each of the last minutes.

use super::MonotonicTime;

/// Minutes that are remembered: a quarter of an hour shows whether an app has become quiet.
pub const MINUTES: usize = 15;

/// The updates of one app by minute. 36 bytes, because there are as many as apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpdateRate {
    /// The minute of the last update, on the monotonic clock.
    newest: u32,
    /// The last minute first. A count stays at its maximum.
    counts: [u16; MINUTES],
}

impl UpdateRate {
    /// The rate after one more update at `now`.
    #[must_use]
    pub(in crate::store) fn updated(mut self, now: MonotonicTime) -> Self {
        let minute = now.minute();
        self.counts = self.counts_at(minute);
        self.newest = self.newest.max(minute);
        self.counts[0] = self.counts[0].saturating_add(1);
        self
    }

    /// The number of updates in each minute, the current one last.
    #[must_use]
    pub fn by_minute(&self, now: MonotonicTime) -> [u16; MINUTES] {
        let mut counts = self.counts_at(now.minute());
        counts.reverse();
        counts
    }

    /// The counts as seen from a minute, the last one first.
    fn counts_at(&self, minute: u32) -> [u16; MINUTES] {
        let passed = usize::try_from(minute.saturating_sub(self.newest)).unwrap_or(usize::MAX);
        std::array::from_fn(|n| n.checked_sub(passed).map_or(0, |n| self.counts[n]))
    }
}

#[cfg(test)]
mod tests;
