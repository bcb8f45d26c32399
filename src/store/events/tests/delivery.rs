//! Events of a scrape, their order and their timestamps.

use super::super::cursor::{MAX_BACKLOGS, MAX_SCRAPE_BYTES};
use super::*;

#[test]
fn each_scraper_gets_each_event_once() {
    let mut events = Events::new(EventOptions::default());
    assert!(take(&mut events, "a", 0).is_empty());
    assert!(take(&mut events, "b", 0).is_empty());
    push(&mut events, "x", 1);
    push(&mut events, "y", 1);
    assert_eq!(take(&mut events, "a", 2), [1, 2]);
    push(&mut events, "z", 3);
    assert_eq!(take(&mut events, "a", 4), [3]);
    assert_eq!(take(&mut events, "b", 4), [1, 2, 3]);
    assert!(take(&mut events, "a", 5).is_empty());
    assert_eq!(events.accepted_so_far(), 3);
}

#[test]
fn what_was_not_confirmed_is_due_again() {
    let mut events = Events::new(EventOptions::default());
    push(&mut events, "x", 0);
    let leased = events.scrape(&who("a"), &home(), ms(0));
    let lease = leased.lease.unwrap();
    assert_eq!(events.active_lease(&who("a")), Some(lease));
    push(&mut events, "y", 1);
    let second = events.scrape(&who("a"), &home(), ms(1));
    assert_eq!((ids(&second), second.status), (vec![], ScraperStatus::InFlight));
    assert!(events.settle(lease, false));
    assert!(!events.settle(lease, true), "the first word counts");
    assert_eq!(take(&mut events, "a", 2), [1, 2]);
    assert_eq!(events.active_lease(&who("a")), None);
}

#[test]
fn one_sample_of_a_series_a_scrape_and_others_pass() {
    let mut events = Events::new(EventOptions::default());
    take(&mut events, "a", 0);
    for kind in ["x", "x", "y", "x", "y", "z"] {
        push(&mut events, kind, 0);
    }
    assert_eq!(take(&mut events, "a", 1), [1, 3, 6]);
    push(&mut events, "x", 2);
    push(&mut events, "w", 2);
    assert_eq!(pending(&events), [(who("a"), 5)]);
    assert_eq!(take(&mut events, "a", 3), [2, 5, 8]);
    assert_eq!(take(&mut events, "a", 4), [4]);
    assert_eq!(take(&mut events, "a", 5), [7]);
    assert!(take(&mut events, "a", 6).is_empty());
}

#[test]
fn what_is_listed_as_pending_is_the_first_of_it_in_order() {
    let mut events = Events::new(EventOptions::default());
    take(&mut events, "a", 0);
    for n in 0..300 {
        push(&mut events, ["x", "y", "x"][n % 3], 0);
    }
    assert_eq!(take(&mut events, "a", 1), [1, 2]);
    push(&mut events, "z", 1);
    let listed = |events: &Events| -> Vec<u64> {
        let overview = events.overview();
        overview.scrapers[0].pending_ids.iter().map(|id| id.0).collect()
    };
    assert_eq!(listed(&events), (3..=102).collect::<Vec<_>>());
    while pending(&events)[0].1 > 3 {
        take(&mut events, "a", 2);
    }
    // Of the series that has more, the last ones are left.
    assert_eq!(listed(&events), [297, 298, 300]);
}

#[test]
fn explicit_timestamps_go_out_together_and_differ_within_a_series() {
    let mut events = Events::new(EventOptions {
        explicit_timestamps: true,
        ..EventOptions::default()
    });
    let submissions: Vec<_> = ["x", "x", "y"].into_iter().map(|kind| submission(kind, 5)).collect();
    for admission in events.admit(&submissions) {
        let Admission::New { record, oldest } = admission else { panic!() };
        events.accept(record, oldest, None, Owner::Restored, None);
    }
    push(&mut events, "x", 4);
    let leased = events.scrape(&who("a"), &home(), ms(5));
    let stamps: Vec<_> = leased.events.iter().map(|record| (record.id.0, record.stamp.as_millis())).collect();
    assert_eq!(stamps, [(1, 5), (2, 6), (3, 5), (4, 7)]);
}

#[test]
fn a_clock_that_was_set_back_gives_no_stamps_in_the_future() {
    let mut events = Events::new(EventOptions {
        explicit_timestamps: true,
        ..EventOptions::default()
    });
    let year = 365 * 86_400_000;
    take(&mut events, "a", year);
    push(&mut events, "x", year);
    // The first series has a last stamp; of the second nothing is known but when the last event was freed.
    events.log.freed_stamp = ms(year);
    for kind in ["x", "y", "x"] {
        push(&mut events, kind, 1_000);
    }
    let leased = events.scrape(&who("a"), &home(), ms(1_000));
    let stamps: Vec<_> = leased.events.iter().map(|record| record.stamp.as_millis()).collect();
    assert_eq!(stamps, [year, 1_000, 1_000, 1_001]);
}

#[test]
fn a_scrape_has_only_so_much_text_and_the_next_one_the_rest() {
    for explicit_timestamps in [false, true] {
        let mut events = Events::new(EventOptions {
            explicit_timestamps,
            ..EventOptions::default()
        });
        take(&mut events, "a", 0);
        let long = "x".repeat(8_000);
        let pushed: Vec<_> = (0..2_500).map(|n| push(&mut events, &format!("{long}{n}"), 0)).collect();
        let mut got = Vec::new();
        let mut scrapes = 0;
        while got.len() < pushed.len() {
            let ids = take(&mut events, "a", 1);
            assert!((1..=MAX_SCRAPE_BYTES / long.len() + 1).contains(&ids.len()), "{}", ids.len());
            got.extend(ids);
            scrapes += 1;
        }
        assert_eq!((got, scrapes), (pushed, 3));
    }
}

#[test]
fn a_cursor_is_bounded_and_still_gets_everything_once() {
    let mut events = Events::new(EventOptions::default());
    take(&mut events, "a", 0);
    let series = MAX_BACKLOGS + 10;
    for n in (0..series).chain(0..series) {
        push(&mut events, &n.to_string(), 0);
    }
    let mut got = Vec::new();
    loop {
        let some = take(&mut events, "a", 1);
        if some.is_empty() {
            break;
        }
        let words = events.entries_for(&who("a"));
        assert!(matches!(&words[..], [JournalEntry::Cursor { heads, .. }, JournalEntry::Regular { .. }] if heads.len() <= MAX_BACKLOGS));
        got.extend(some);
    }
    got.sort_unstable();
    assert_eq!(got, (1..=2 * series as u64).collect::<Vec<_>>());
}

#[test]
fn a_scrape_has_only_so_many_events_and_the_next_one_the_rest_in_order() {
    for explicit_timestamps in [false, true] {
        let mut events = Events::new(EventOptions {
            explicit_timestamps,
            max_per_scrape: 3,
            ..EventOptions::default()
        });
        take(&mut events, "a", 0);
        for kind in ["x", "x", "x", "y", "y", "z", "w", "v"] {
            push(&mut events, kind, 0);
        }
        let got: Vec<_> = (0..5).map(|_| take(&mut events, "a", 1)).collect();
        let expected: [&[u64]; 5] = if explicit_timestamps {
            [&[1, 2, 3], &[4, 5, 6], &[7, 8], &[], &[]]
        } else {
            [&[1, 4, 6], &[2, 5, 7], &[3, 8], &[], &[]]
        };
        assert_eq!(got, expected);
    }
}

#[test]
fn a_backlog_from_before_times_were_explicit_goes_out_in_order_too() {
    let mut events = Events::new(EventOptions {
        max_per_scrape: 2,
        ..EventOptions::default()
    });
    take(&mut events, "a", 0);
    for kind in ["x", "x", "x", "y", "y", "z"] {
        push(&mut events, kind, 0);
    }
    assert_eq!(take(&mut events, "a", 1), [1, 4]);
    events.options.explicit_timestamps = true;
    let got: Vec<_> = (0..3).map(|_| take(&mut events, "a", 1)).collect();
    assert_eq!(got, [vec![2, 3], vec![5, 6], vec![]]);
}

#[test]
fn delivered_events_are_freed_but_for_a_few_to_look_at() {
    let mut events = Events::new(EventOptions::default());
    take(&mut events, "a", 0);
    for n in 0..500 {
        push(&mut events, &n.to_string(), 0);
    }
    assert_eq!(take(&mut events, "a", 0).len(), 500);
    wait(&mut events, 0, 59);
    assert_eq!(events.log.len(), 500, "a newcomer would get them");
    wait(&mut events, 59_000, 2);
    assert_eq!(events.log.len(), 100);
    assert_eq!(events.overview().recent.len(), 100);
}

#[test]
fn an_event_that_bears_a_time_keeps_it_unless_that_is_taken_or_far_ahead() {
    let mut events = Events::new(EventOptions {
        explicit_timestamps: true,
        ..EventOptions::default()
    });
    let mut stamp = |kind: &str, at, given: Option<i64>| {
        let mut submission = submission(kind, at);
        submission.stamp = given.map(ms);
        let Admission::New { record, oldest } = events.admit(&[submission]).remove(0) else {
            panic!("it is new")
        };
        events.accept(std::sync::Arc::clone(&record), oldest, None, Owner::Restored, None);
        assert_eq!(record.at, ms(at));
        record.stamp.as_millis()
    };
    assert_eq!(stamp("a", 10_000, Some(7_000)), 7_000);
    assert_eq!(stamp("a", 10_000, Some(7_000)), 7_001, "one sample for each time of a series");
    assert_eq!(stamp("a", 10_000, Some(6_000)), 7_002, "times of a series ascend");
    assert_eq!(stamp("b", 10_000, Some(6_000)), 6_000);
    assert_eq!(
        stamp("b", 10_000, Some(310_000)),
        310_000,
        "a clock that is ahead by no more than Prometheus takes"
    );
    assert_eq!(stamp("c", 10_000, Some(310_001)), 10_000);
    assert_eq!(stamp("c", 10_000, None), 10_001);
}
