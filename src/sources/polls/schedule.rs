//! Schedule of one endpoint: the next poll, the expiry of its data, and changes of its state. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Time to the first poll of an endpoint, independent of its interval, so that the first scrape after a start already finds data.
const FIRST_POLL_WITHIN: Duration = Duration::from_secs(1);

/// State of an endpoint and its poll times.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PollSchedule {
    clock: Ticks,
    stale_after: Duration,
    /// The end of the last successful poll, here or at another replica, while its data is exposed.
    good: Option<Instant>,
    /// True if the last poll succeeded; `None` before the first.
    up: Option<bool>,
}

/// The next action of an endpoint's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Poll at this time, which may be in the past.
    Poll(Instant),
    /// Remove the data from the exposition at this time.
    Withdraw(Instant),
}

/// A change of state at the end of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    /// The endpoint was up or new, and failed.
    Failed,
    /// The endpoint had failed and is up again.
    Recovered,
}

impl PollSchedule {
    /// The schedule of a new endpoint from `now` on. `offset`, from 0 to below 1, is its position in the interval.
    pub(super) fn new(now: Instant, interval: Duration, offset: f64, stale_after: Duration) -> Self {
        Self {
            clock: Ticks::new(now, interval, offset),
            stale_after,
            good: None,
            up: None,
        }
    }

    /// Continues the schedule of the same app after a change of its settings: exposed data keeps its age.
    pub(super) fn resume(mut self, before: &Self) -> Self {
        (self.good, self.up) = (before.good, before.up);
        if self.clock.interval == before.clock.interval {
            self.clock = before.clock.clone();
        }
        self
    }

    /// True while data of the endpoint is known to be exposed.
    pub(super) const fn has_data(&self) -> bool {
        self.good.is_some()
    }

    /// Records that data of a poll which ended at `good` is exposed, although no poll of this schedule has brought it. It is withdrawn like any
    /// other.
    pub(super) fn found(&mut self, good: Instant) {
        self.good = Some(good);
    }

    /// The next action.
    ///
    /// Data is withdrawn between two polls only while they fail, so a responding endpoint never flickers; see
    /// [`PollSchedule::stale_while_polling`] for a running poll.
    pub(super) fn next(&self) -> Step {
        let poll = self.clock.due;
        match self.good.map(|good| good + self.stale_after) {
            Some(stale) if self.up == Some(false) && stale < poll => Step::Withdraw(stale),
            _ => Step::Poll(poll),
        }
    }

    /// The time at which the data becomes stale during a running poll, because the endpoint hangs; `None` if no data is exposed.
    ///
    /// If `stale_after` is shorter than the interval, the time counts from the due time of the poll, so that an endpoint that responds in
    /// time never flickers.
    pub(super) fn stale_while_polling(&self) -> Option<Instant> {
        let stale = self.good? + self.stale_after;
        let due = self.clock.due;
        Some(if stale >= due { stale } else { due + self.stale_after })
    }

    /// Records the end of a poll at `now` and returns a change of state.
    pub(super) fn polled(&mut self, now: Instant, succeeded: bool) -> Option<Transition> {
        self.clock.advance(now);
        if succeeded {
            self.good = Some(now);
        }
        match (self.up.replace(succeeded), succeeded) {
            (Some(false), true) => Some(Transition::Recovered),
            (None | Some(true), false) => Some(Transition::Failed),
            _ => None,
        }
    }

    /// Records that the data was removed from the exposition.
    pub(super) fn withdrawn(&mut self) {
        self.good = None;
    }
}

/// The due times of polls: one soon after the start, then an even grid. Missed times are skipped.
#[derive(Debug, Clone, PartialEq)]
struct Ticks {
    /// Any point of the grid.
    anchor: Instant,
    interval: Duration,
    /// Due time of the next poll.
    due: Instant,
}

impl Ticks {
    fn new(now: Instant, interval: Duration, offset: f64) -> Self {
        let first = now + interval.min(FIRST_POLL_WITHIN).mul_f64(offset);
        Self {
            anchor: now + interval.mul_f64(offset),
            interval,
            due: first,
        }
    }

    /// Sets the time after `now` at which the next poll is due.
    fn advance(&mut self, now: Instant) {
        let first = self.due < self.anchor;
        let mut due = self.after(now);
        // The first poll is off the grid; a grid time soon after it would only poll twice.
        if first && due - self.due < self.interval / 2 {
            due += self.interval;
        }
        self.due = due;
    }

    /// The first grid time after `now`.
    fn after(&self, now: Instant) -> Instant {
        let Some(past) = now.checked_duration_since(self.anchor) else {
            return self.anchor;
        };
        let interval = self.interval.as_nanos().max(1);
        let into = Duration::from_nanos(u64::try_from(past.as_nanos() % interval).unwrap_or_default());
        now - into + self.interval
    }
}

#[cfg(test)]
mod tests;
