#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::absences::Absences;
use super::super::shared_cursor::{MAX_WAITING, Progress};
use super::super::sources::MAX_ORIGINS;
use super::super::tests::{home, ms, push, who};
use super::super::{Admission, DropReason, Dropped, EventOptions, JournalEntry, MonotonicTime, Owner, StoredEvent, Submission};
use super::*;
use crate::model::{Event, EventId, IdempotencyKey, LabelSet};

fn origin(number: u8) -> OriginId {
    OriginId::from_bytes([number; 16])
}

fn replica(max_pending: usize) -> Events {
    Events::new(EventOptions {
        replica: Some(origin(1)),
        max_pending,
        scrapers: vec![who("a")],
        ..EventOptions::default()
    })
}

fn source_of(of: u8, number: u64) -> Source {
    Source {
        origin: origin(of),
        number,
    }
}

fn submission_of(source: Source, kind: &str) -> Submission {
    let labels = LabelSet::new(vec![("kind".into(), kind.into())]).unwrap();
    Submission {
        event: Event { labels, value: 1.0 },
        key: None,
        owner: Owner::Replica(source.origin),
        at: ms(1),
        stamp: Some(ms(1)),
        source: Some(source),
    }
}

/// An event of another replica.
fn read(events: &mut Events, source: Source, kind: &str) {
    let submission = submission_of(source, kind);
    match events.admit(std::slice::from_ref(&submission)).remove(0) {
        Admission::New { record, oldest } => events.accept(record, oldest, None, submission.owner, submission.source),
        other => panic!("{other:?}"),
    }
}

/// The numbers of the events that a scrape gets, which arrives.
fn take(events: &mut Events, name: &str) -> Vec<u64> {
    let visit = events.visit(&who(name), &home(), ms(2), false);
    if visit.lease.is_none() {
        return Vec::new();
    }
    let leased = events.granted(&who(name), visit, None);
    leased.lease.map(|lease| events.settle(lease, true));
    leased.events.iter().map(|record| record.id.0).collect()
}

#[test]
fn own_events_wait_until_the_engine_has_given_them_back() {
    let mut events = replica(100);
    push(&mut events, "x", 1);
    push(&mut events, "y", 1);
    assert_eq!(events.own_after(0, 10, 1_000).len(), 2);
    assert!(take(&mut events, "a").is_empty());
    events.read_back(1, false);
    assert_eq!(take(&mut events, "a"), [1]);
    // Another replica had an event with the key of this one.
    events.read_back(2, true);
    assert!(take(&mut events, "a").is_empty());
    assert_eq!(events.pending()[0].events, 0);
}

#[test]
fn an_event_that_was_read_is_not_wanted_again() {
    let mut events = replica(100);
    let source = Source {
        origin: origin(2),
        number: 7,
    };
    assert!(events.wants(source, ms(1)));
    read(&mut events, source, "x");
    assert!(!events.wants(source, ms(1)));
    // Not even if it was wanted before the first one was written.
    let again = submission_of(source, "x");
    assert_eq!(
        events.admit(&[again.clone(), again]),
        [Admission::Repeat(EventId(7)), Admission::Repeat(EventId(7))]
    );
    assert_eq!(take(&mut events, "a"), [1]);
    // All scrapers have it, and it is too old for a new one.
    let mut restarted = replica(100);
    restarted.sweep(ms(1_000_000));
    restarted.merge(&who("a"), &events.state_of(&who("a")).unwrap()).unwrap();
    assert!(!restarted.wants(source, ms(1)));
    let later = Source { number: 8, ..source };
    assert!(restarted.wants(later, ms(1)));
}

/// A replica without declared scrapers, with a wall clock that was set back by an hour.
fn corrected() -> Events {
    let mut events = Events::new(EventOptions {
        replica: Some(origin(1)),
        ..EventOptions::default()
    });
    events.sweep(ms(10_000_000));
    events.sweep(ms(6_400_000));
    events
}

/// The state of a scraper that has come regularly, the last time at `seen`.
fn regular_state(seen: i64) -> Vec<u8> {
    let cursor = SharedCursor {
        seen: ms(seen),
        ..SharedCursor::default()
    };
    encode_scraper(&ScraperRecord { cursor, regular: true })
}

#[test]
fn a_corrected_clock_makes_nothing_of_other_replicas_older() {
    let mut events = corrected();
    let source = Source {
        origin: origin(2),
        number: 1,
    };
    assert!(events.wants(source, ms(6_399_500)));
    assert!(!events.wants(source, ms(6_339_000)), "its age counts");
    events.merge(&who("a"), &regular_state(6_399_000)).unwrap();
    events.sweep(ms(6_401_000));
    assert_eq!(events.known(), [who("a")]);
    // A key of an event of another replica is kept for as long as one of this replica.
    let keyed = Submission {
        key: Some(IdempotencyKey::new("k").unwrap()),
        at: ms(6_401_000),
        ..submission_of(source, "x")
    };
    events.take(keyed.clone()).unwrap();
    events.sweep(ms(6_402_000));
    let repeated = Submission {
        owner: Owner::Restored,
        source: None,
        ..keyed
    };
    assert_eq!(events.admit(&[repeated]), [Admission::Repeat(EventId(1))]);
}

#[test]
fn scrapes_are_reported_also_after_the_clock_was_corrected() {
    let (mut events, mut other) = (corrected(), corrected());
    // Reported by a clock that is ahead by an hour.
    events.merge(&who("a"), &regular_state(10_000_000)).unwrap();
    other.merge(&who("a"), &regular_state(10_000_000)).unwrap();
    let mut reports = 0;
    for second in 0..1_200 {
        let now = 6_400_000 + 1_000 * second;
        let before = seen(&events);
        events.visit(&who("a"), &home(), ms(now), false);
        if seen(&events) > before {
            reports += 1;
            other.merge(&who("a"), &events.state_of(&who("a")).unwrap()).unwrap();
        }
        events.sweep(ms(now));
        other.sweep(ms(now));
    }
    assert_eq!(reports, 16, "each eighth of ten minutes");
    assert_eq!(other.known(), [who("a")]);
    // It stays away from both.
    for second in 1_200..2_000 {
        other.sweep(ms(6_400_000 + 1_000 * second));
    }
    assert!(other.known().is_empty());
}

/// A replica that learns at `now` of a scraper that was last seen at `seen`, by the clock of another replica.
fn knowing(name: &str, seen: i64, now: i64) -> Events {
    let mut events = Events::new(EventOptions {
        replica: Some(origin(1)),
        ..EventOptions::default()
    });
    events.sweep(ms(now));
    assert_eq!(events.merge(&who(name), &regular_state(seen)), Some(false));
    events
}

/// Sweeps each second between two times in seconds.
fn sweep_between(events: &mut Events, from: i64, until: i64) {
    for second in from + 1..=until {
        events.sweep(ms(1_000 * second));
    }
}

/// The reported time of the last scrape of scraper "a".
fn seen(events: &Events) -> Timestamp {
    decode_scraper(&events.state_of(&who("a")).unwrap()).unwrap().cursor.seen
}

#[test]
fn a_scraper_of_a_replica_with_any_clock_is_known_for_the_whole_timeout() {
    for seen in [1, 5_000_000, 20_000_000] {
        let mut events = knowing("a", seen, 10_000_000);
        sweep_between(&mut events, 10_000, 10_749);
        assert_eq!(events.known(), [who("a")], "last seen at {seen}");
        sweep_between(&mut events, 10_749, 10_750);
        assert!(events.known().is_empty(), "last seen at {seen}");
    }
}

#[test]
fn a_scraper_that_was_forgotten_is_not_known_again_by_a_state_of_that_time() {
    let mut events = knowing("a", 1, 1);
    let (same, behind) = (regular_state(1), regular_state(0));
    sweep_between(&mut events, 0, 751);
    assert_eq!((events.known().len(), events.take_unshared(10).len()), (0, 1));
    assert!(events.is_forgotten(&who("a"), &same) && events.is_forgotten(&who("a"), b"nonsense"));
    assert_eq!(events.merge(&who("a"), &same), Some(true));
    // Its state is removed from the engine again.
    assert_eq!((events.known().len(), events.take_unshared(10).len()), (0, 1));
    // Another replica has seen it, which had forgotten it as well and started again, with a clock that is behind.
    assert!(!events.is_forgotten(&who("a"), &behind));
    assert_eq!(events.merge(&who("a"), &behind), Some(false));
    assert_eq!(events.known(), [who("a")]);
    // By then all other replicas have forgotten it as well.
    let mut events = knowing("a", 1, 1);
    sweep_between(&mut events, 0, 1_502);
    assert_eq!(events.merge(&who("a"), &same), Some(false));
}

#[test]
fn the_first_scrape_after_an_absence_is_reported_as_a_later_one() {
    // By a clock that is ahead.
    let mut events = knowing("a", 10_000_000, 1_000);
    sweep_between(&mut events, 1, 752);
    assert!(events.known().is_empty());
    events.visit(&who("a"), &home(), ms(752_000), false);
    assert_eq!(seen(&events), ms(10_000_001));
}

#[test]
fn the_scrapers_that_were_forgotten_are_bounded() {
    let mut absences = Absences::default();
    let now = MonotonicTime::default();
    for n in 0..=MAX_SCRAPERS {
        absences.begin(&who(&n.to_string()), ms(1), now);
    }
    assert!(absences.lasts(&who("0"), ms(1)) && !absences.lasts(&who(&MAX_SCRAPERS.to_string()), ms(1)));
    absences.begin(&who("0"), ms(2), now);
    assert!(!absences.lasts(&who("0"), ms(1)) && absences.lasts(&who("0"), ms(2)));
    assert_eq!((absences.end(&who("0")), absences.end(&who("0"))), (Some(ms(2)), None));
}

#[test]
fn a_report_of_another_replica_stands_for_one_of_this_replica() {
    let mut events = replica(100);
    events.sweep(ms(1_000));
    events.visit(&who("a"), &home(), ms(1_000), false);
    sweep_between(&mut events, 1, 81);
    // Its clock is behind by a second.
    events.merge(&who("a"), &regular_state(80_000)).unwrap();
    events.visit(&who("a"), &home(), ms(82_000), false);
    assert_eq!(seen(&events), ms(80_000));
}

#[test]
fn events_that_are_pushed_out_count_once_in_the_cluster() {
    let mut events = replica(2);
    events.sweep(ms(1));
    push(&mut events, "x", 1);
    let other = |number| Source { origin: origin(2), number };
    for number in 1..=3 {
        read(&mut events, other(number), "y");
    }
    let lost = Dropped {
        reason: DropReason::Overflow,
        scraper: Some(who("a")),
        events: 1,
    };
    // Its own one; that of the other replica is counted there.
    assert_eq!(events.sweep(ms(2)), [lost]);
    let known = decode_scraper(&events.state_of(&who("a")).unwrap()).unwrap();
    assert!(known.cursor.has(other(1)) && !known.cursor.has(other(2)));
}

/// A replica that was started at `now` with a journal of two events with the same key: one of its own, which no scraper has received, and one of
/// another replica, which was accepted `later` milliseconds after it.
fn reused(later: i64, now: i64) -> Events {
    let options = EventOptions {
        replica: Some(origin(1)),
        scrapers: vec![who("a")],
        ..EventOptions::default()
    };
    let mut events = Events::restoring(options, ms(now));
    let key = || Some(IdempotencyKey::new("k").unwrap());
    let record = |id, at| {
        let event = submission_of(source_of(2, 1), &format!("event {id}")).event;
        let (id, at) = (EventId(id), ms(at));
        Arc::new(StoredEvent { id, event, at, stamp: at })
    };
    let state = ScraperRecord {
        regular: true,
        ..ScraperRecord::default()
    };
    let journal = [
        JournalEntry::Start {
            first: 1,
            freed_stamp: ms(0),
        },
        JournalEntry::Origin { own: origin(1) },
        JournalEntry::Event {
            record: record(1, 0),
            key: key(),
        },
        JournalEntry::SharedCursor {
            scraper: who("a"),
            state: encode_scraper(&state),
        },
        JournalEntry::Shared {
            record: record(2, later),
            key: key(),
            source: source_of(2, 1),
        },
    ];
    journal.into_iter().for_each(|entry| events.apply(entry).unwrap());
    events.restored();
    events.read_back(1, false);
    events
}

#[test]
fn a_key_that_was_used_again_later_voids_no_event_at_a_restart() {
    for now in [700_000, 900_000] {
        assert_eq!(take(&mut reused(700_000, now), "a"), [1, 2], "{now}");
        assert_eq!(take(&mut reused(599_999, now), "a"), [2], "another replica had this one first");
    }
}

/// A replica without declared scrapers that knows the scraper "a", which has received `received` events of it.
fn with_guest(received: u32) -> Events {
    let mut events = Events::new(EventOptions {
        replica: Some(origin(1)),
        max_pending: 1_000,
        ..EventOptions::default()
    });
    events.sweep(ms(1));
    events.merge(&who("a"), &regular_state(1)).unwrap();
    for n in 0..received {
        let id = push(&mut events, &n.to_string(), 1);
        events.read_back(id, false);
    }
    assert_eq!(take(&mut events, "a").len(), received as usize);
    events
}

#[test]
fn a_scraper_that_the_engine_has_forgotten_loses_what_was_pending_and_no_more() {
    let minutes = |events: &mut Events| -> Vec<Dropped> { (1..=120).flat_map(|second| events.sweep(ms(1_000 * second))).collect() };
    let mut events = with_guest(200);
    minutes(&mut events);
    events.forget_elsewhere(&who("a"));
    assert_eq!(events.sweep(ms(120_000)), []);
    let mut events = with_guest(200);
    push(&mut events, "own", 1);
    read(&mut events, source_of(2, 1), "other");
    events.forget_elsewhere(&who("a"));
    let expired = Dropped {
        reason: DropReason::Expired,
        scraper: Some(who("a")),
        events: 1,
    };
    assert_eq!(minutes(&mut events), [expired]);
    assert_eq!(events.sweep(ms(120_000)), []);
}

#[test]
fn events_that_no_scraper_came_for_count_once_in_the_cluster() {
    for (max_pending, reason) in [(1_000, DropReason::NoScraper), (2, DropReason::Overflow)] {
        let mut events = Events::new(EventOptions {
            replica: Some(origin(1)),
            max_pending,
            ..EventOptions::default()
        });
        events.sweep(ms(1));
        push(&mut events, "own", 1);
        for number in 1..=3 {
            read(&mut events, source_of(2, number), "other");
        }
        let lost: Vec<_> = (1..=90).flat_map(|second| events.sweep(ms(1_000 * second))).collect();
        let of_this_replica = Dropped {
            reason,
            scraper: None,
            events: 1,
        };
        assert_eq!(lost, [of_this_replica]);
    }
}

#[test]
fn the_events_of_one_series_that_wait_are_bounded() {
    let mut events = replica(20_000);
    for _ in 0..MAX_WAITING + 10 {
        push(&mut events, "same", 1);
    }
    let last = push(&mut events, "other", 1);
    events.read_back(last, false);
    // The other one comes once all events before it are waiting.
    let mut scrapes = 0;
    while !take(&mut events, "a").contains(&last) {
        scrapes += 1;
    }
    assert_eq!(scrapes, 9);
    let state = decode_scraper(&events.state_of(&who("a")).unwrap()).unwrap();
    let waiting: usize = state.cursor.progress.values().map(|progress| progress.waiting.len()).sum();
    assert_eq!(waiting, MAX_WAITING);
}

#[test]
fn origins_without_events_are_forgotten() {
    let mut events = replica(100);
    for number in 0..=200u8 {
        let mut state = ScraperRecord::default();
        let source = Source {
            origin: origin(number),
            number: 1,
        };
        state.cursor.pass(source);
        events.merge(&who("a"), &encode_scraper(&state)).unwrap();
        events.skip(source);
    }
    let state = decode_scraper(&events.state_of(&who("a")).unwrap()).unwrap();
    assert!(state.cursor.progress.len() <= MAX_ORIGINS + 1);
}

#[test]
fn a_scraper_of_a_proxy_alone_goes_on_in_a_cluster() {
    let alone = EventOptions {
        scrapers: vec![who("a")],
        ..EventOptions::default()
    };
    let mut events = Events::new(alone);
    for kind in ["x", "x", "y"] {
        push(&mut events, kind, 1);
    }
    let leased = events.scrape(&who("a"), &home(), ms(2));
    assert_eq!(leased.events.len(), 2);
    events.settle(leased.lease.unwrap(), true);
    let mut joined = Events::restoring(
        EventOptions {
            replica: Some(origin(1)),
            ..EventOptions::default()
        },
        ms(3),
    );
    for entry in events.entries() {
        joined.apply(entry).unwrap();
    }
    joined.restored();
    joined.read_back(3, false);
    assert_eq!(take(&mut joined, "a"), [2]);
    // Back again it cannot go: what it has received of others is not in the form of a proxy alone.
    let mut back = Events::restoring(EventOptions::default(), ms(4));
    let refused = joined.entries().into_iter().try_for_each(|entry| back.apply(entry));
    assert!(refused.unwrap_err().contains("set cluster.url"));
}

fn cursors() -> impl Strategy<Value = SharedCursor> {
    let progress = (0..20u64, proptest::collection::btree_set(0..20u64, 0..6)).prop_map(|(through, waiting)| Progress {
        through,
        waiting: waiting.into_iter().filter(|number| *number <= through).collect(),
    });
    (proptest::collection::btree_map((0..3u8).prop_map(origin), progress, 0..3), 0..9i64).prop_map(|(progress, seen)| SharedCursor {
        progress,
        seen: ms(seen),
        ..SharedCursor::default()
    })
}

/// The events that a cursor has, of the origins and numbers that are tried.
fn received(cursor: &SharedCursor) -> BTreeSet<Source> {
    let sources = (0..3u8).flat_map(|of| {
        (1..25).map(move |number| Source {
            origin: origin(of),
            number,
        })
    });
    sources.filter(|source| cursor.has(*source)).collect()
}

proptest! {
    #[test]
    fn joined_cursors_have_what_one_of_them_has(one in cursors(), two in cursors()) {
        let (mut joined, mut other_way) = (one.clone(), two.clone());
        joined.join(&two);
        other_way.join(&one);
        let expected: BTreeSet<_> = received(&one).union(&received(&two)).copied().collect();
        prop_assert_eq!(&received(&joined), &expected);
        prop_assert_eq!(&received(&other_way), &expected);
        prop_assert!(!joined.clone().join(&joined));
    }

    #[test]
    fn pending_events_are_counted_as_they_are(origins in proptest::collection::vec(0..3u8, 0..40), cursor in cursors(), voids: [u8; 3]) {
        let mut events = replica(12);
        let mut last = [0; 3];
        for of in origins {
            let number = &mut last[usize::from(of)];
            *number += 1;
            match of {
                1 => drop(push(&mut events, "own", 1)),
                _ => read(&mut events, Source { origin: origin(of), number: *number }, "other"),
            }
        }
        let is_own = |id: &u64| events.log.source(*id).is_some_and(|source| source.origin == origin(1));
        let voids: Vec<u64> = voids.iter().map(|id| u64::from(id % 40)).filter(is_own).collect();
        voids.into_iter().for_each(|id| events.read_back(id, true));
        let state = encode_scraper(&ScraperRecord { cursor: cursor.clone(), regular: true });
        events.merge(&who("a"), &state).unwrap();
        let sources = events.log.sources.as_ref().unwrap();
        let pending = (events.log.first()..events.log.end()).filter(|id| {
            !sources.is_void(*id) && events.log.source(*id).is_some_and(|source| !cursor.has(source))
        });
        prop_assert_eq!(events.pending()[0].events, pending.count() as u64);
    }

    #[test]
    fn a_state_is_read_as_it_was_written(cursor in cursors(), regular: bool) {
        let record = ScraperRecord { cursor, regular };
        let read = decode_scraper(&encode_scraper(&record)).unwrap();
        prop_assert_eq!(read.cursor.progress, record.cursor.progress);
        prop_assert_eq!((read.cursor.seen, read.regular), (record.cursor.seen, regular));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
        crate::store::inspect_shared(&bytes);
    }
}
