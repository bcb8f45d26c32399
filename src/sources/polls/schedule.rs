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
    /// The end of the last successful poll, while its data is exposed.
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(5);
    const STALE: Duration = Duration::from_secs(15);

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    fn schedule(start: Instant) -> PollSchedule {
        PollSchedule::new(start, INTERVAL, 0.5, STALE)
    }

    #[test]
    fn polls_begin_soon_and_settle_on_their_place_in_the_interval() {
        let start = Instant::now();
        let mut schedule = schedule(start);
        let mut times = Vec::new();
        for _ in 0..4 {
            let Step::Poll(at) = schedule.next() else {
                panic!("nothing is stale yet")
            };
            times.push((at - start).as_secs_f64());
            schedule.polled(at + seconds(0.1), true);
        }
        // 2.5 is skipped: it is less than half an interval behind the first poll.
        assert_eq!(times, [0.5, 7.5, 12.5, 17.5]);
    }

    #[test]
    fn a_long_interval_does_not_delay_the_first_poll() {
        let start = Instant::now();
        let schedule = PollSchedule::new(start, Duration::from_secs(3_600), 0.9, STALE);
        assert_eq!(schedule.next(), Step::Poll(start + seconds(0.9)));
    }

    #[test]
    fn a_poll_that_takes_too_long_skips_what_it_missed() {
        let start = Instant::now();
        let mut schedule = schedule(start);
        schedule.polled(start + seconds(13.0), true);
        assert_eq!(schedule.next(), Step::Poll(start + seconds(17.5)));
        schedule.polled(start + seconds(17.5), true);
        assert_eq!(schedule.next(), Step::Poll(start + seconds(22.5)));
    }

    #[test]
    fn only_changes_of_state_are_told() {
        let start = Instant::now();
        let mut schedule = schedule(start);
        let transitions: Vec<_> = [true, false, false, true, true, false]
            .map(|succeeded| schedule.polled(start, succeeded))
            .to_vec();
        assert_eq!(
            transitions,
            [
                None,
                Some(Transition::Failed),
                None,
                Some(Transition::Recovered),
                None,
                Some(Transition::Failed)
            ]
        );
        assert_eq!(self::schedule(start).polled(start, false), Some(Transition::Failed));
    }

    #[test]
    fn data_is_withdrawn_once_after_its_time_and_only_while_polls_fail() {
        let start = Instant::now();
        let mut schedule = schedule(start);
        schedule.polled(start + seconds(7.6), true);
        schedule.polled(start + seconds(12.6), false);
        schedule.polled(start + seconds(17.6), false);
        assert_eq!(
            schedule.next(),
            Step::Poll(start + seconds(22.5)),
            "stale at 22.6, but a poll comes first"
        );
        schedule.polled(start + seconds(22.55), false);
        assert_eq!(schedule.next(), Step::Withdraw(start + seconds(22.6)));
        schedule.withdrawn();
        assert_eq!(schedule.next(), Step::Poll(start + seconds(27.5)));
        schedule.polled(start + seconds(27.6), true);
        schedule.polled(start + seconds(32.6), false);
        assert_eq!(schedule.next(), Step::Poll(start + seconds(37.5)));
    }

    #[test]
    fn a_short_stale_after_does_not_make_good_data_flicker() {
        let start = Instant::now();
        let mut schedule = PollSchedule::new(start, INTERVAL, 0.0, seconds(1.0));
        schedule.polled(start, true);
        assert_eq!(schedule.next(), Step::Poll(start + INTERVAL));
    }

    #[test]
    fn a_poll_that_hangs_keeps_no_stale_data() {
        let start = Instant::now();
        let mut schedule = PollSchedule::new(start, seconds(1.0), 0.0, seconds(1.5));
        assert_eq!(schedule.stale_while_polling(), None, "nothing is exposed yet");
        schedule.polled(start + seconds(0.1), true);
        assert_eq!(schedule.next(), Step::Poll(start + seconds(1.0)));
        assert_eq!(
            schedule.stale_while_polling(),
            Some(start + seconds(1.6)),
            "to the moment, whatever the poll does"
        );
        schedule.withdrawn();
        assert_eq!(schedule.stale_while_polling(), None, "once");
        schedule.polled(start + seconds(9.0), true);
        assert_eq!(schedule.stale_while_polling(), Some(start + seconds(10.5)));
        let mut short = PollSchedule::new(start, INTERVAL, 0.0, seconds(1.5));
        short.polled(start, true);
        assert_eq!(
            short.stale_while_polling(),
            Some(start + INTERVAL + seconds(1.5)),
            "the answer may take as long as that"
        );
    }

    #[test]
    fn a_change_of_settings_lets_the_data_age_on() {
        let start = Instant::now();
        let mut before = schedule(start);
        before.polled(start + seconds(0.6), true);
        let same = PollSchedule::new(start + seconds(1.0), INTERVAL, 0.1, seconds(1.0)).resume(&before);
        assert_eq!(same.next(), before.next(), "the same interval keeps its clock");
        let mut other = PollSchedule::new(start + seconds(1.0), seconds(2.0), 0.0, seconds(1.0)).resume(&before);
        assert_eq!(other.next(), Step::Poll(start + seconds(1.0)));
        assert_eq!(other.polled(start + seconds(1.1), false), Some(Transition::Failed));
        assert_eq!(other.next(), Step::Withdraw(start + seconds(1.6)));
    }

    proptest! {
        #[test]
        fn polls_never_come_early_late_or_twice(offset in 0.0..1.0_f64, took in prop::collection::vec(0.0..12.0_f64, 1..20)) {
            let start = Instant::now();
            let mut schedule = PollSchedule::new(start, INTERVAL, offset, STALE);
            let mut before: Option<Instant> = None;
            for took in took {
                let Step::Poll(at) = schedule.next() else { unreachable!("every poll is good") };
                if let Some(before) = before {
                    prop_assert!(at > before);
                    prop_assert!(at - before <= INTERVAL + INTERVAL / 2);
                }
                let end = at + seconds(took);
                schedule.polled(end, true);
                before = Some(end);
            }
        }
    }
}
