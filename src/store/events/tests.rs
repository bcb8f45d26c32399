#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;

use std::time::Duration;

use super::cursor::{MAX_BACKLOGS, MAX_SCRAPE_BYTES};
use super::state::LeasedEvents;
use super::*;
use crate::model::{AppName, Client, Event, EventId, IdempotencyKey, LabelSet, ScraperId, Timestamp};

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

/// A client on the machine of the proxy.
pub(super) fn home() -> Client {
    client("127.0.0.1")
}

fn client(address: &str) -> Client {
    Client::Ip(address.parse().unwrap())
}

fn submission(kind: &str, at: i64) -> Submission {
    Submission {
        event: event(kind),
        key: None,
        owner: Owner::Restored,
        at: ms(at),
        stamp: None,
        source: None,
    }
}

/// Offers and accepts one event.
pub(super) fn push(events: &mut Events, kind: &str, at: i64) -> u64 {
    match events.admit(&[submission(kind, at)]).remove(0) {
        Admission::New { record, oldest } => {
            let id = record.id.0;
            events.accept(record, oldest, None, Owner::Restored, None);
            id
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn ids(leased: &LeasedEvents) -> Vec<u64> {
    leased.events.iter().map(|record| record.id.0).collect()
}

/// A scrape that arrives.
fn take(events: &mut Events, name: &str, at: i64) -> Vec<u64> {
    let leased = events.scrape(&who(name), &home(), ms(at));
    leased.lease.map(|lease| events.settle(lease, true));
    ids(&leased)
}

/// Scrapes that make a scraper a regular one.
fn come(events: &mut Events, name: &str) {
    (0..2).for_each(|_| assert!(take(events, name, 0).is_empty()));
}

/// The number of pending events of each scraper.
fn pending(events: &Events) -> Vec<(ScraperId, u64)> {
    events
        .pending()
        .into_iter()
        .map(|pending| (pending.scraper, pending.events))
        .collect()
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
    let leased = events.scrape(&who("a"), &home(), ms(60_000));
    assert_eq!((ids(&leased), leased.status), (vec![2], ScraperStatus::New));

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
    come(&mut events, "a");
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
    let leased = events.scrape(&who("a"), &home(), ms(0));
    assert_eq!(wait(&mut events, 0, 700), []);
    assert!(events.settle(leased.lease.unwrap(), false));
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
fn an_event_that_waited_for_the_disk_lets_no_time_pass() {
    let mut events = Events::new(EventOptions::default());
    wait(&mut events, 0, 30);
    let before = events.clock.last();
    for second in 31..60 {
        push(&mut events, "x", 1_000);
        events.scrape(&who("a"), &home(), ms(2_000));
        events.sweep(ms(1_000 * second));
    }
    assert_eq!(events.clock.last().since(before), Duration::from_secs(29));
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
        come(&mut events, "a");
        push(&mut events, "x", 0);
        let lease = events.scrape(&who("a"), &home(), ms(0)).lease.unwrap();
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
    assert_eq!(ids(&events.scrape(&who("a"), &home(), ms(0))), [2]);
    for kind in ["y", "z", "w"] {
        push(&mut events, kind, 0);
    }
    assert_eq!(events.sweep(ms(1)), []);

    let restart = |journal: Vec<JournalEntry>| {
        let mut events = Events::restoring(options.clone(), ms(2));
        journal.into_iter().for_each(|entry| events.apply(entry).unwrap());
        events.restored();
        events
    };
    // A rewritten journal, then one with changes appended.
    for add_words in [false, true] {
        let mut journal = events.entries();
        if add_words {
            assert!(!events.repeat_all_changes());
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
        let words = events.entries_for(&who("a"));
        assert!(matches!(&words[..], [JournalEntry::Cursor { heads, .. }, JournalEntry::Regular { .. }] if heads.len() <= MAX_BACKLOGS));
        got.extend(some);
    }
    got.sort_unstable();
    assert_eq!(got, (1..=2 * series as u64).collect::<Vec<_>>());
}

/// A first scrape from an address, and how it went.
fn visit(events: &mut Events, name: &str, address: &str, at: i64) -> ScraperStatus {
    let leased = events.scrape(&who(name), &client(address), ms(at));
    leased.lease.map(|lease| events.settle(lease, true));
    leased.status
}

fn knows(events: &Events, name: &str) -> bool {
    events.scrapers.contains_key(&who(name))
}

#[test]
fn an_address_has_so_many_scrapers_and_those_that_came_once_make_room() {
    let mut events = Events::new(EventOptions {
        max_scrapers_per_address: 3,
        scrapers: vec![who("declared")],
        ..EventOptions::default()
    });
    visit(&mut events, "declared", "10.0.0.1", 0);
    for (name, at) in [("regular", 0), ("regular", 1), ("old", 2), ("young", 3), ("other", 4), ("old", 5)] {
        let address = if name == "other" { "10.0.0.2" } else { "10.0.0.1" };
        assert_ne!(visit(&mut events, name, address, at), ScraperStatus::Untracked);
    }
    // "old" came again, so "young" is the only one left to make room.
    assert_eq!(visit(&mut events, "next", "10.0.0.1", 6), ScraperStatus::New);
    assert!(!knows(&events, "young") && knows(&events, "old") && knows(&events, "other"));
    assert_eq!(visit(&mut events, "next", "10.0.0.1", 7), ScraperStatus::Known);
    assert_eq!(visit(&mut events, "one more", "10.0.0.1", 8), ScraperStatus::Untracked);
    assert_eq!(visit(&mut events, "another", "10.0.0.2", 8), ScraperStatus::New);
    assert_eq!(wait(&mut events, 8, 1), [], "an eviction is no loss");
}

#[test]
fn a_flood_of_names_evicts_none_that_comes_regularly_and_is_not_counted() {
    let mut events = Events::new(EventOptions::default());
    for name in ["prom-a", "prom-b"] {
        come(&mut events, name);
    }
    push(&mut events, "x", 0);
    for n in 0..1_100 {
        assert_eq!(visit(&mut events, &n.to_string(), "10.6.6.6", n), ScraperStatus::New);
    }
    assert_eq!(events.scrapers.len(), 2 + 64);
    assert_eq!(pending(&events), [(who("prom-a"), 1), (who("prom-b"), 1)]);
    push(&mut events, "y", 0);
    assert_eq!(take(&mut events, "prom-a", 1_200), [1, 2]);
    (0..600).for_each(|_| _ = take(&mut events, "prom-a", 1_200));
    assert_eq!(
        wait(&mut events, 1_200, 601),
        [
            dropped(DropReason::Expired, Some("prom-a"), 0),
            dropped(DropReason::Expired, Some("prom-b"), 2)
        ][1..],
        "those that came once expire silently"
    );
    assert!(events.scrapers.is_empty());
}

#[test]
fn the_number_of_scrapers_is_bounded() {
    let mut events = Events::new(EventOptions {
        scrapers: vec![who("declared"), who("declared too")],
        max_scrapers_per_address: MAX_SCRAPERS,
        ..EventOptions::default()
    });
    for n in 0..MAX_SCRAPERS - 2 {
        come(&mut events, &n.to_string());
    }
    for (name, address, at) in [("once", "10.0.0.1", 1), ("flood", "10.0.0.2", 2)] {
        assert_eq!(visit(&mut events, name, address, at), ScraperStatus::New);
    }
    assert_eq!(visit(&mut events, "next", "10.0.0.2", 2), ScraperStatus::New);
    assert!(!knows(&events, "once"), "it was not seen for longest");
    assert_eq!(visit(&mut events, "next", "10.0.0.2", 3), ScraperStatus::Known);
    assert_eq!(visit(&mut events, "flood", "10.0.0.2", 3), ScraperStatus::Known);
    push(&mut events, "x", 3);
    let leased = events.scrape(&who("one more"), &home(), ms(3));
    assert_eq!((ids(&leased), leased.status), (vec![], ScraperStatus::Untracked));
    assert_eq!(take(&mut events, "7", 3), [1]);
    assert_eq!(take(&mut events, "declared", 3), [1]);
}

#[test]
fn a_scraper_that_is_evicted_while_it_is_served_settles_nothing_of_its_next_scrape() {
    let mut events = Events::new(EventOptions {
        max_scrapers_per_address: 1,
        ..EventOptions::default()
    });
    push(&mut events, "x", 0);
    let early = events.scrape(&who("a"), &home(), ms(0)).lease.unwrap();
    visit(&mut events, "b", "127.0.0.1", 0);
    let late = events.scrape(&who("a"), &home(), ms(0)).lease.unwrap();
    assert!(!events.settle(early, true));
    assert_eq!(events.active_lease(&who("a")), Some(late));
}

#[test]
fn a_scraper_that_makes_room_for_another_one_loses_nothing_that_it_has_received() {
    let mut events = Events::new(EventOptions {
        max_scrapers_per_address: 1,
        ..EventOptions::default()
    });
    push(&mut events, "x", 0);
    assert_eq!(take(&mut events, "a", 0), [1]);
    wait(&mut events, 0, 61);
    visit(&mut events, "b", "127.0.0.1", 61_000);
    assert!(!knows(&events, "a"));
    assert_eq!(wait(&mut events, 61_000, 1), []);
    // What is pending for the one that came once when it makes room is claimed by no scraper.
    push(&mut events, "y", 62_000);
    wait(&mut events, 62_000, 61);
    visit(&mut events, "c", "127.0.0.1", 123_000);
    assert_eq!(wait(&mut events, 123_000, 1), [dropped(DropReason::NoScraper, None, 1)]);
}

#[test]
fn what_only_a_passer_by_would_have_got_is_nobodys() {
    let mut events = Events::new(EventOptions::default());
    push(&mut events, "x", 0);
    assert_eq!(take(&mut events, "curl", 0), [1]);
    push(&mut events, "y", 0);
    assert_eq!(wait(&mut events, 0, 599), []);
    assert_eq!(events.sweep(ms(600_000)), [dropped(DropReason::NoScraper, None, 1)]);
}

#[test]
fn what_a_newcomer_lost_is_told_once_it_comes_again() {
    let mut events = Events::new(EventOptions {
        max_pending: 2,
        ..EventOptions::default()
    });
    take(&mut events, "a", 0);
    (0..5).for_each(|n| _ = push(&mut events, &n.to_string(), 0));
    assert_eq!(events.sweep(ms(1)), []);
    assert_eq!(take(&mut events, "a", 2), [4, 5]);
    assert_eq!(events.sweep(ms(3)), [dropped(DropReason::Overflow, Some("a"), 3)]);
}

#[test]
fn a_restart_keeps_who_comes_regularly() {
    let mut events = Events::new(EventOptions::default());
    come(&mut events, "regular");
    take(&mut events, "once", 0);
    let mut again = Events::restoring(EventOptions::default(), ms(1));
    events.entries().into_iter().for_each(|entry| again.apply(entry).unwrap());
    again.restored();
    assert_eq!(pending(&again), [(who("regular"), 0)]);
    assert!(knows(&again, "once"));
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

fn endpoint(app: &str) -> Owner {
    Owner::Endpoint(AppName::new(app).unwrap())
}

/// Judges events of one client and takes those that may be taken. Returns how many were.
fn post(events: &mut Events, address: &str, kinds: std::ops::Range<u32>, at: i64) -> usize {
    submit(events, &Owner::Poster(client(address)), kinds, at)
}

/// The same for any owner.
fn submit(events: &mut Events, owner: &Owner, kinds: std::ops::Range<u32>, at: i64) -> usize {
    let submissions: Vec<_> = kinds
        .map(|kind| Submission {
            owner: owner.clone(),
            ..submission(&kind.to_string(), at)
        })
        .collect();
    let admissions = events.admit(&submissions);
    let mut taken = 0;
    for (admission, submission) in admissions.into_iter().zip(submissions) {
        match admission {
            Admission::New { record, oldest } => {
                taken += 1;
                events.accept(record, oldest, None, submission.owner, None);
            }
            other => assert_eq!(other, Admission::Crowded),
        }
    }
    taken
}

#[test]
fn a_flood_of_posts_pushes_out_no_event_of_a_client_that_has_fewer() {
    // One post after another, and all at once as the journal takes them.
    for batch in [1, 500] {
        let mut events = Events::new(EventOptions {
            max_pending: 100,
            ..EventOptions::default()
        });
        come(&mut events, "prom");
        assert_eq!(post(&mut events, "10.0.0.1", 1_000..1_001, 0), 1);
        let taken: usize = (0..500 / batch)
            .map(|n| post(&mut events, "10.6.6.6", n * batch..(n + 1) * batch, 1))
            .sum();
        assert_eq!((taken, events.log.len()), (90, 91));
        assert_eq!(
            post(&mut events, "10.0.0.2", 2_000..2_001, 1),
            1,
            "there is a place for another client"
        );
        assert_eq!(take(&mut events, "prom", 2), (1..=92).collect::<Vec<_>>());
        assert_eq!(post(&mut events, "10.6.6.6", 0..500, 3), 500, "nothing of others is awaited now");
    }
}

#[test]
fn in_a_full_log_a_client_that_has_more_than_another_is_refused() {
    let mut events = Events::new(EventOptions {
        max_pending: 4,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    for (address, taken) in [
        ("10.0.0.1", 1),
        ("10.0.0.2", 1),
        ("10.0.0.2", 1),
        ("10.0.0.3", 1),
        ("10.0.0.2", 0),
        // It has as few as the owner of the oldest, which it pushes out.
        ("10.0.0.3", 1),
    ] {
        assert_eq!(post(&mut events, address, 0..1, 0), taken, "{address}");
    }
    assert_eq!(events.log.len(), 4);
}

#[test]
fn events_that_no_living_scraper_awaits_are_pushed_out() {
    let full = |options: EventOptions| {
        let mut events = Events::new(EventOptions {
            max_pending: 10,
            ..options
        });
        post(&mut events, "10.0.0.1", 0..1, 0);
        post(&mut events, "10.6.6.6", 0..9, 0);
        events
    };
    // Declared, and not seen since the start.
    let mut events = full(EventOptions {
        scrapers: vec![who("dead")],
        ..EventOptions::default()
    });
    assert_eq!(post(&mut events, "10.6.6.6", 9..12, 1), 3);
    // Came once.
    let mut events = full(EventOptions::default());
    events.scrape(&who("curl"), &home(), ms(0));
    assert_eq!(post(&mut events, "10.6.6.6", 9..12, 1), 3);
    // Comes regularly, until it stays away; then an event that has waited for a minute is old.
    let mut events = Events::new(EventOptions {
        max_pending: 10,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    post(&mut events, "10.0.0.1", 0..1, 0);
    post(&mut events, "10.6.6.6", 0..9, 0);
    assert_eq!(post(&mut events, "10.6.6.6", 9..12, 1), 0);
    wait(&mut events, 0, 60);
    assert_eq!(post(&mut events, "10.6.6.6", 9..12, 60_000), 3);
}

#[test]
fn a_client_pushes_out_its_own_oldest_events() {
    let mut events = Events::new(EventOptions {
        max_pending: 10,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    assert_eq!(post(&mut events, "10.6.6.6", 0..50, 0), 50);
    assert_eq!(take(&mut events, "prom", 1), (41..=50).collect::<Vec<_>>());
}

#[test]
fn polled_events_are_taken_whatever_others_have_pending() {
    let mut events = Events::new(EventOptions {
        max_pending: 10,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    assert_eq!(post(&mut events, "10.0.0.1", 0..1, 0), 1);
    assert_eq!(submit(&mut events, &endpoint("polled"), 1..20, 0), 19);
}

#[test]
fn a_flood_of_posts_pushes_out_no_polled_or_restored_event_of_an_owner_with_fewer() {
    for owner in [endpoint("polled"), Owner::Restored] {
        for batch in [1, 500] {
            let mut events = Events::new(EventOptions {
                max_pending: 100,
                ..EventOptions::default()
            });
            come(&mut events, "prom");
            assert_eq!(submit(&mut events, &owner, 1_000..1_005, 0), 5);
            let taken: usize = (0..500 / batch)
                .map(|n| post(&mut events, "10.6.6.6", n * batch..(n + 1) * batch, 1))
                .sum();
            assert_eq!((taken, events.log.len()), (86, 91), "{owner:?}");
            assert_eq!(take(&mut events, "prom", 2), (1..=91).collect::<Vec<_>>(), "{owner:?}");
        }
    }
}

#[test]
fn a_polled_event_is_pushed_out_once_its_endpoint_has_as_many_as_the_poster() {
    let mut events = Events::new(EventOptions {
        max_pending: 5,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    assert_eq!(submit(&mut events, &endpoint("a"), 0..2, 0), 2);
    assert_eq!(post(&mut events, "10.6.6.6", 2..5, 0), 3);
    assert_eq!(post(&mut events, "10.6.6.6", 5..6, 0), 0, "two are fewer than three");
    assert_eq!(post(&mut events, "10.0.0.1", 6..7, 0), 1, "it has none yet");
    assert_eq!(submit(&mut events, &endpoint("a"), 7..8, 0), 1, "its own oldest");
    assert_eq!(events.log.first(), 3);
}

#[test]
fn each_polled_endpoint_has_a_share_of_its_own() {
    let mut events = Events::new(EventOptions {
        max_pending: 6,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    assert_eq!(submit(&mut events, &endpoint("a"), 0..1, 0), 1);
    assert_eq!(submit(&mut events, &endpoint("b"), 1..4, 0), 3);
    assert_eq!(post(&mut events, "10.6.6.6", 4..7, 0), 2, "the event of a is of an owner with one");
    assert_eq!(take(&mut events, "prom", 0), (1..=6).collect::<Vec<_>>());
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

#[test]
fn a_key_makes_a_retry_count_once() {
    let key = |text| Some(IdempotencyKey::new(text).unwrap());
    let mut events = Events::new(EventOptions::default());
    let submission = |kind: &str, key| Submission {
        event: event(kind),
        key,
        owner: Owner::Restored,
        at: ms(0),
        stamp: None,
        source: None,
    };
    let submissions = [
        submission("x", key("k")),
        submission("x", key("k")),
        submission("y", key("k")),
        submission("x", None),
    ];
    let admissions = events.admit(&submissions);
    assert_eq!(admissions[1..3], [Admission::Repeat(EventId(1)), Admission::Conflict]);
    for (admission, submission) in admissions.into_iter().zip(submissions) {
        if let Admission::New { record, oldest } = admission {
            events.accept(record, oldest, submission.key, Owner::Restored, None);
        }
    }
    assert_eq!(events.accepted_so_far(), 2);
    assert_eq!(events.admit(&[submission("x", key("k"))]), [Admission::Repeat(EventId(1))]);
    wait(&mut events, 0, 599);
    assert_eq!(events.admit(&[submission("y", key("k"))]), [Admission::Conflict]);
    wait(&mut events, 599_000, 1);
    assert!(matches!(events.admit(&[submission("y", key("k"))])[0], Admission::New { .. }));
}

#[test]
fn entries_that_contradict_each_other_are_refused() {
    let cursor = |next, heads: &[u64]| JournalEntry::Cursor {
        scraper: who("a"),
        next,
        heads: heads.to_vec(),
    };
    let lost = |scraper, events| JournalEntry::Lost {
        scraper: who(scraper),
        events,
    };
    for wrong in [
        cursor(4, &[]),
        cursor(3, &[3]),
        cursor(3, &[1, 2]),
        cursor(3, &[0]),
        lost("unknown", 1),
        lost("known", 3),
    ] {
        let mut events = Events::restoring(EventOptions::default(), ms(0));
        let mut source = Events::new(EventOptions::default());
        push(&mut source, "x", 0);
        push(&mut source, "x", 0);
        for entry in source.entries() {
            events.apply(entry).unwrap();
        }
        let known = JournalEntry::Cursor {
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
