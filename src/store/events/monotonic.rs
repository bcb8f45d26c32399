//! A clock that only runs forward, made of a wall clock that may be set.
//!
//! Scrapers and keys expire after spans of time, and a wall clock that is corrected by an hour must not expire them. The sweep ticks this
//! clock every second, so a larger step is no time that passed. Only the sweep does: others ask with a time that they have read before they
//! waited, for a disk or for a lock, and such a late question is no clock that was set back.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::Timestamp;

/// The largest step of the wall clock that counts as time. The sweep looks every second; beyond this the clock was set,
/// or the machine slept, and no scraper could have come meanwhile.
const MAX_STEP_MILLIS: i64 = 10_000;

/// A point in time on a clock that only runs forward, whatever happens to the time of day. Starts out equal to that, and differs from it after
/// the first correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MonotonicTime(i64);

impl MonotonicTime {
    /// Before all others.
    pub(in crate::store) const FIRST: Self = Self(i64::MIN);

    /// Returns the time since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The number of the minute that it is in.
    pub(in crate::store) fn minute(self) -> u32 {
        u32::try_from(self.0.div_euclid(60_000).max(0)).unwrap_or(u32::MAX)
    }

    /// The moment that is so long after.
    pub(in crate::store) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The moment that was so long before.
    pub(in crate::store) fn before(self, age: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// The clock.
#[derive(Debug)]
pub(in crate::store) struct MonotonicClock {
    wall: Option<Timestamp>,
    now: MonotonicTime,
    /// The sum of the steps by which the wall clock was set, in milliseconds, since [`MonotonicClock::take_step`].
    set_by: i64,
}

impl MonotonicClock {
    pub(in crate::store) fn new() -> Self {
        Self {
            wall: None,
            now: MonotonicTime(0),
            set_by: 0,
        }
    }

    /// The last moment asked for.
    pub(in crate::store) fn last(&self) -> MonotonicTime {
        self.now
    }

    /// The same with the time of day then.
    pub(in crate::store) fn last_both(&self) -> (MonotonicTime, Timestamp) {
        (self.now, self.wall.unwrap_or_default())
    }

    /// The moment of something with this time of day, by its age at the last moment asked for: not later than that. A monotonic time is never
    /// compared with a time of day, from which every correction of the wall clock moves it away for good.
    pub(in crate::store) fn moment_of(&self, at: Timestamp) -> MonotonicTime {
        let (now, wall) = self.last_both();
        now.before(wall.since(at))
    }

    /// Returns true if the wall clock was set since the last [`MonotonicClock::take_step`].
    pub(in crate::store) fn was_set(&self) -> bool {
        self.set_by != 0
    }

    /// Takes the sum of the steps by which the wall clock was set, in milliseconds: no time that passed.
    pub(in crate::store) fn take_step(&mut self) -> i64 {
        std::mem::take(&mut self.set_by)
    }

    /// The monotonic time at the wall-clock time `wall`, as far as it is known: a question that is late changes nothing, and whether one that is
    /// far from the last one means that the wall clock was set, the next [`MonotonicClock::tick`] shows.
    pub(in crate::store) fn at(&mut self, wall: Timestamp) -> MonotonicTime {
        let is_next = |before: Timestamp| (0..=MAX_STEP_MILLIS).contains(&wall.as_millis().saturating_sub(before.as_millis()));
        match self.wall.is_none_or(is_next) {
            true => self.tick(wall),
            false => self.now,
        }
    }

    /// The monotonic time now, at the wall-clock time `wall`, which was just read. Called each second.
    pub(in crate::store) fn tick(&mut self, wall: Timestamp) -> MonotonicTime {
        let Some(before) = self.wall else {
            (self.wall, self.now) = (Some(wall), MonotonicTime(wall.as_millis()));
            return self.now;
        };
        let step = wall.as_millis().saturating_sub(before.as_millis());
        if !(-MAX_STEP_MILLIS..=0).contains(&step) {
            let passed = step.clamp(0, MAX_STEP_MILLIS);
            self.wall = Some(wall);
            self.now.0 = self.now.0.saturating_add(passed);
            self.set_by = self.set_by.saturating_add(step.saturating_sub(passed));
        }
        self.now
    }
}
