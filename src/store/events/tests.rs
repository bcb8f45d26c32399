#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use super::cursor::{MAX_BACKLOGS, MAX_SCRAPE_BYTES};
use super::state::Lent;
use super::*;
use crate::model::{Event, EventId, IdempotencyKey, LabelSet, ScraperId, Timestamp};

pub(super) fn event(kind: &str) -> Event {
    Event {
        labels: LabelSet::new(vec![("kind".into(), kind.into())]).unwrap(),
        value: 1.0,
    }
}

pub(super) fn ms(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(super) fn who(name: &str) -> ScraperId {
    ScraperId::new(name).unwrap()
}

fn offer(kind: &str, at: i64) -> Offer {
    Offer {
        event: event(kind),
        key: None,
        at: ms(at),
        stamp: None,
    }
}

/// Offers and accepts one event.
pub(super) fn push(events: &mut Events, kind: &str, at: i64) -> u64 {
    match events.judge(&[offer(kind, at)]).remove(0) {
        Verdict::New(record) => {
            let id = record.id.0;
            events.accept(record, None);
            id
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn ids(lent: &Lent) -> Vec<u64> {
    lent.events.iter().map(|record| record.id.0).collect()
}

/// A scrape that arrives.
fn take(events: &mut Events, name: &str, at: i64) -> Vec<u64> {
    let lent = events.scrape(&who(name), ms(at));
    lent.lease.map(|lease| events.settle(lease, true));
    ids(&lent)
}

/// Lets time pass as the sweep does, a second at a time.
fn wait(events: &mut Events, from: i64, seconds: i64) -> Vec<Dropped> {
    (1..=seconds).flat_map(|second| events.sweep(ms(from + 1_000 * second))).collect()
}

fn dropped(reason: DropReason, scraper: Option<&str>, events: u64) -> Dropped {
    let scraper = scraper.map(who);
    Dropped { reason, scraper, events }
}

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
fn a_newcomer_gets_the_events_of_the_window() {
    let mut events = Events::new(EventOptions::default());
    push(&mut events, "old", 0);
    wait(&mut events, 0, 30);
    push(&mut events, "young", 30_000);
    assert_eq!(wait(&mut events, 30_000, 30), [dropped(DropReason::NoScraper, None, 1)]);
    assert_eq!(events.peek(&who("a")).len(), 1);
    let lent = events.scrape(&who("a"), ms(60_000));
    assert_eq!((ids(&lent), lent.standing), (vec![2], Standing::Newcomer));

    let mut none = Events::new(EventOptions {
        newcomer_window: Duration::ZERO,
        ..EventOptions::default()
    });
    push(&mut none, "x", 0);
    assert!(take(&mut none, "a", 0).is_empty());
    assert_eq!(none.sweep(ms(1)), [dropped(DropReason::NoScraper, None, 1)]);
}

#[test]
fn a_declared_scraper_is_known_from_the_start_and_for_ever() {
    let mut events = Events::new(EventOptions {
        scrapers: vec![who("prom")],
        ..EventOptions::default()
    });
    push(&mut events, "x", 0);
    assert_eq!(wait(&mut events, 0, 2_000), []);
    assert_eq!(take(&mut events, "prom", 2_000_000), [1]);
}

#[test]
fn a_scraper_that_stays_away_is_forgotten_and_its_loss_told() {
    let mut events = Events::new(EventOptions::default());
    take(&mut events, "a", 0);
    push(&mut events, "x", 0);
    assert_eq!(wait(&mut events, 0, 599), []);
    assert_eq!(events.sweep(ms(600_000)), [dropped(DropReason::Expired, Some("a"), 1)]);
    assert!(events.pending().is_empty());
    assert!(take(&mut events, "a", 600_001).is_empty(), "the window has passed");
}

#[test]
fn a_loan_keeps_its_scraper_known() {
    let mut events = Events::new(EventOptions::default());
    push(&mut events, "x", 0);
    let lent = events.scrape(&who("a"), ms(0));
    assert_eq!(wait(&mut events, 0, 700), []);
    assert!(events.settle(lent.lease.unwrap(), false));
    assert_eq!(wait(&mut events, 700_000, 599), []);
    assert_eq!(take(&mut events, "a", 1_299_500), [1]);
}

#[test]
fn a_clock_that_is_set_makes_nobody_forgotten() {
    let mut events = Events::new(EventOptions::default());
    take(&mut events, "a", 0);
    push(&mut events, "x", 0);
    assert_eq!(events.sweep(ms(3_600_000_000)), []);
    push(&mut events, "y", 1_000);
    assert_eq!(take(&mut events, "a", 2_000), [1, 2]);
}

#[test]
fn what_was_not_confirmed_is_due_again() {
    let mut events = Events::new(EventOptions::default());
    push(&mut events, "x", 0);
    let lent = events.scrape(&who("a"), ms(0));
    let lease = lent.lease.unwrap();
    assert_eq!(events.outstanding(&who("a")), Some(lease));
    push(&mut events, "y", 1);
    let second = events.scrape(&who("a"), ms(1));
    assert_eq!((ids(&second), second.standing), (vec![], Standing::Busy));
    assert!(events.settle(lease, false));
    assert!(!events.settle(lease, true), "the first word counts");
    assert_eq!(take(&mut events, "a", 2), [1, 2]);
    assert_eq!(events.outstanding(&who("a")), None);
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
    assert_eq!(events.pending(), [(who("a"), 5)]);
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
    while events.pending()[0].1 > 3 {
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
    let offers: Vec<_> = ["x", "x", "y"].into_iter().map(|kind| offer(kind, 5)).collect();
    for verdict in events.judge(&offers) {
        let Verdict::New(record) = verdict else { panic!() };
        events.accept(record, None);
    }
    push(&mut events, "x", 4);
    let lent = events.scrape(&who("a"), ms(5));
    let stamps: Vec<_> = lent.events.iter().map(|record| (record.id.0, record.stamp.as_millis())).collect();
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
    let lent = events.scrape(&who("a"), ms(1_000));
    let stamps: Vec<_> = lent.events.iter().map(|record| record.stamp.as_millis()).collect();
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
fn a_scraper_too_far_behind_loses_the_oldest_and_only_that() {
    let mut events = Events::new(EventOptions {
        max_pending: 3,
        ..EventOptions::default()
    });
    take(&mut events, "slow", 0);
    take(&mut events, "quick", 0);
    for kind in ["x", "x", "y"] {
        push(&mut events, kind, 0);
    }
    assert_eq!(take(&mut events, "slow", 1), [1, 3]);
    assert_eq!(take(&mut events, "quick", 1), [1, 3]);
    push(&mut events, "z", 2);
    assert_eq!(take(&mut events, "quick", 3), [2, 4]);
    push(&mut events, "x", 4);
    assert_eq!(events.sweep(ms(4)), [dropped(DropReason::Overflow, Some("slow"), 1)]);
    assert_eq!(take(&mut events, "slow", 5), [4, 5]);
    let overview = events.overview();
    let lost: Vec<_> = overview
        .scrapers
        .iter()
        .map(|scraper| (scraper.scraper.as_str(), scraper.lost))
        .collect();
    assert_eq!(lost, [("quick", 0), ("slow", 1)]);
}

#[test]
fn a_backlog_that_is_partly_lost_goes_on_behind_the_gap() {
    let mut events = Events::new(EventOptions {
        max_pending: 4,
        ..EventOptions::default()
    });
    take(&mut events, "a", 0);
    for _ in 0..4 {
        push(&mut events, "x", 0);
    }
    assert_eq!(take(&mut events, "a", 1), [1]);
    push(&mut events, "y", 2);
    push(&mut events, "y", 2);
    assert_eq!(events.sweep(ms(3)), [dropped(DropReason::Overflow, Some("a"), 1)]);
    assert_eq!(take(&mut events, "a", 4), [3, 5]);
    assert_eq!(take(&mut events, "a", 4), [4, 6]);
}

#[test]
fn what_overflowed_while_lent_counts_by_the_fate_of_the_scrape() {
    for delivered in [true, false] {
        let mut events = Events::new(EventOptions {
            max_pending: 2,
            ..EventOptions::default()
        });
        push(&mut events, "x", 0);
        let lease = events.scrape(&who("a"), ms(0)).lease.unwrap();
        for kind in ["y", "z"] {
            push(&mut events, kind, 1);
        }
        assert_eq!(events.sweep(ms(1)), []);
        events.settle(lease, delivered);
        let lost = events.sweep(ms(1));
        assert_eq!(lost.len(), usize::from(!delivered));
        assert_eq!(take(&mut events, "a", 2), [2, 3]);
    }
}

#[test]
fn what_overflowed_while_lent_is_told_after_a_crash_and_nothing_else_is_lost() {
    let options = EventOptions {
        max_pending: 4,
        ..EventOptions::default()
    };
    let mut events = Events::new(options.clone());
    take(&mut events, "a", 0);
    (0..3).for_each(|_| _ = push(&mut events, "x", 0));
    assert_eq!(take(&mut events, "a", 0), [1]);
    assert_eq!(ids(&events.scrape(&who("a"), ms(0))), [2]);
    for kind in ["y", "z", "w"] {
        push(&mut events, kind, 0);
    }
    assert_eq!(events.sweep(ms(1)), []);

    let restart = |journal: Vec<Entry>| {
        let mut events = Events::restoring(options.clone(), ms(2));
        journal.into_iter().for_each(|entry| events.apply(entry).unwrap());
        events.restored();
        events
    };
    // A journal written anew, then one to which only what has changed was added.
    for add_words in [false, true] {
        let mut journal = events.entries();
        if add_words {
            events.tell_again();
            journal.extend(events.take_changes());
        }
        let mut again = restart(journal.clone());
        assert_eq!(again.sweep(ms(3)), [dropped(DropReason::Overflow, Some("a"), 1)]);
        journal.extend(again.take_changes());
        let mut told = restart(journal);
        assert_eq!(told.sweep(ms(4)), [], "a loss is told once");
        assert_eq!(take(&mut told, "a", 4), [3, 4, 5, 6]);
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
        let words = events.words_on(&who("a"));
        assert!(matches!(&words[..], [Entry::Cursor { heads, .. }] if heads.len() <= MAX_BACKLOGS));
        got.extend(some);
    }
    got.sort_unstable();
    assert_eq!(got, (1..=2 * series as u64).collect::<Vec<_>>());
}

#[test]
fn the_number_of_scrapers_is_bounded() {
    let mut events = Events::new(EventOptions {
        scrapers: vec![who("declared"), who("declared too")],
        ..EventOptions::default()
    });
    for n in 0..MAX_SCRAPERS {
        take(&mut events, &n.to_string(), 0);
    }
    push(&mut events, "x", 0);
    let lent = events.scrape(&who("one more"), ms(0));
    assert_eq!((ids(&lent), lent.standing), (vec![], Standing::Untracked));
    assert_eq!(take(&mut events, "7", 0), [1]);
    assert_eq!(take(&mut events, "declared", 0), [1]);
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
        let mut offer = offer(kind, at);
        offer.stamp = given.map(ms);
        let Verdict::New(record) = events.judge(&[offer]).remove(0) else {
            panic!("it is new")
        };
        events.accept(std::sync::Arc::clone(&record), None);
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

#[test]
fn a_key_makes_a_retry_count_once() {
    let key = |text| Some(IdempotencyKey::new(text).unwrap());
    let mut events = Events::new(EventOptions::default());
    let offer = |kind: &str, key| Offer {
        event: event(kind),
        key,
        at: ms(0),
        stamp: None,
    };
    let offers = [offer("x", key("k")), offer("x", key("k")), offer("y", key("k")), offer("x", None)];
    let verdicts = events.judge(&offers);
    assert_eq!(verdicts[1..3], [Verdict::Repeat(EventId(1)), Verdict::Conflict]);
    for (verdict, offer) in verdicts.into_iter().zip(offers) {
        if let Verdict::New(record) = verdict {
            events.accept(record, offer.key);
        }
    }
    assert_eq!(events.accepted_so_far(), 2);
    assert_eq!(events.judge(&[offer("x", key("k"))]), [Verdict::Repeat(EventId(1))]);
    wait(&mut events, 0, 599);
    assert_eq!(events.judge(&[offer("y", key("k"))]), [Verdict::Conflict]);
    wait(&mut events, 599_000, 1);
    assert!(matches!(events.judge(&[offer("y", key("k"))])[0], Verdict::New(_)));
}

#[test]
fn entries_that_contradict_each_other_are_refused() {
    let cursor = |next, heads: &[u64]| Entry::Cursor {
        scraper: who("a"),
        next,
        heads: heads.to_vec(),
    };
    let lost = |scraper, events| Entry::Lost {
        scraper: who(scraper),
        events,
    };
    for wrong in [
        cursor(4, &[]),
        cursor(3, &[3]),
        cursor(3, &[1, 2]),
        cursor(3, &[0]),
        lost("nobody", 1),
        lost("known", 3),
    ] {
        let mut events = Events::restoring(EventOptions::default(), ms(0));
        let mut source = Events::new(EventOptions::default());
        push(&mut source, "x", 0);
        push(&mut source, "x", 0);
        for entry in source.entries() {
            events.apply(entry).unwrap();
        }
        let known = Entry::Cursor {
            scraper: who("known"),
            next: 1,
            heads: vec![],
        };
        events.apply(known).unwrap();
        assert!(events.apply(wrong.clone()).is_err(), "{wrong:?}");
        assert!(events.apply(source.entries().remove(0)).is_err(), "starts twice");
        assert!(events.apply(source.entries().remove(1)).is_err(), "out of order");
        assert!(events.apply(cursor(3, &[1])).is_ok());
    }
}
