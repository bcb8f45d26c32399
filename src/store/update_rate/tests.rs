use super::*;
use crate::model::Timestamp;
use crate::store::events::MonotonicClock;

fn at(minute: i64) -> MonotonicTime {
    MonotonicClock::new().at(Timestamp::from_millis(minute * 60_000 + 59_999))
}

fn last(counts: [u16; MINUTES]) -> [u16; 4] {
    [counts[11], counts[12], counts[13], counts[14]]
}

#[test]
fn updates_are_counted_by_minute_and_forgotten_after_a_quarter_of_an_hour() {
    let rate = [100, 100, 101, 103]
        .into_iter()
        .fold(UpdateRate::default(), |rate, minute| rate.updated(at(minute)));
    assert_eq!(last(rate.by_minute(at(103))), [2, 1, 0, 1]);
    assert_eq!(last(rate.by_minute(at(105))), [0, 1, 0, 0]);
    assert_eq!(rate.by_minute(at(117))[0], 1);
    assert_eq!(rate.by_minute(at(118)), [0; MINUTES]);
}

#[test]
fn an_update_of_an_earlier_minute_counts_for_the_newest_one() {
    let rate = UpdateRate::default().updated(at(100)).updated(at(99));
    assert_eq!(last(rate.by_minute(at(100))), [0, 0, 0, 2]);
}

#[test]
fn a_count_stays_at_its_maximum() {
    let rate = (0..70_000).fold(UpdateRate::default(), |rate, _| rate.updated(at(1)));
    assert_eq!(rate.by_minute(at(1))[MINUTES - 1], u16::MAX);
}
