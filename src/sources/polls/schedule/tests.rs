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
fn data_of_another_replica_is_withdrawn_once_a_poll_fails() {
    let start = Instant::now();
    let mut schedule = schedule(start);
    assert!(!schedule.has_data());
    schedule.found(start - seconds(20.0));
    assert_eq!(schedule.next(), Step::Poll(start + seconds(0.5)), "it may succeed");
    schedule.polled(start + seconds(0.6), false);
    assert_eq!(schedule.next(), Step::Withdraw(start - seconds(5.0)));
    schedule.withdrawn();
    assert!(!schedule.has_data());
    let mut young = self::schedule(start);
    young.found(start);
    young.polled(start + seconds(0.6), false);
    assert_eq!(young.next(), Step::Poll(start + seconds(7.5)), "it is not stale yet");
    young.polled(start + seconds(7.6), true);
    assert_eq!(young.next(), Step::Poll(start + seconds(12.5)));
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
