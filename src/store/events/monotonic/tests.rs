use super::*;

#[test]
fn a_clock_that_is_set_is_no_time_that_passed() {
    let mut clock = MonotonicClock::new();
    let mut tick = |millis| clock.tick(Timestamp::from_millis(millis)).0;
    assert_eq!((tick(1_000), tick(2_500)), (1_000, 2_500));
    assert_eq!((tick(2_400), tick(2_600)), (2_500, 2_600), "slightly late");
    assert_eq!((tick(9_000_000), tick(9_000_100)), (12_600, 12_700), "set forward");
    assert_eq!((tick(50), tick(1_050)), (12_700, 13_700), "set back");
    assert!(clock.was_set());
    assert_eq!(
        clock.take_step(),
        1_050 - 13_700,
        "what is left of the wall clock when the time that passed is taken off"
    );
    assert!(!clock.was_set());
}

#[test]
fn questions_that_are_late_let_no_time_pass() {
    let mut clock = MonotonicClock::new();
    for second in 0..=30 {
        clock.tick(Timestamp::from_millis(1_000 * second));
    }
    for second in 31..60 {
        // By the time before a long wait, and by one that was set meanwhile.
        for late in [1_000, second * 1_000 - 20_000, 9_000_000] {
            assert_eq!(clock.at(Timestamp::from_millis(late)), clock.last());
        }
        assert_eq!(clock.at(Timestamp::from_millis(1_000 * second - 400)).0, 1_000 * second - 400);
        assert_eq!(clock.tick(Timestamp::from_millis(1_000 * second)).0, 1_000 * second);
    }
    assert!(!clock.was_set());
}

#[test]
fn ages_are_taken_off_and_never_below_zero() {
    let now = MonotonicTime(5_000);
    assert_eq!(now.since(now.before(Duration::from_secs(7))), Duration::from_secs(7));
    assert!(MonotonicTime::FIRST < now.before(Duration::MAX));
    assert_eq!(now.before(Duration::ZERO), now);
}

#[test]
fn what_has_a_later_time_of_day_happened_by_now() {
    let mut clock = MonotonicClock::new();
    let now = clock.at(Timestamp::from_millis(5_000));
    assert_eq!(clock.moment_of(Timestamp::from_millis(9_000)), now);
    assert_eq!(now.since(clock.moment_of(Timestamp::from_millis(1_000))), Duration::from_secs(4));
    assert_eq!(MonotonicTime(1).since(now), Duration::ZERO);
}

#[test]
fn ages_are_those_of_the_wall_clock_also_after_it_was_set() {
    for set_to in [1_000_000, 90_000_000] {
        let mut clock = MonotonicClock::new();
        clock.at(Timestamp::from_millis(40_000_000));
        let now = clock.tick(Timestamp::from_millis(set_to));
        let age = now.since(clock.moment_of(Timestamp::from_millis(set_to - 3_000)));
        assert_eq!(age, Duration::from_secs(3), "set to {set_to}");
    }
}
