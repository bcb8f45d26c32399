#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod delivery;
mod fair_share;
mod model;
mod overflow;
mod scrapers;

use std::time::Duration;

use super::state::LeasedEvents;
use super::*;
use crate::model::{Client, Event, EventId, IdempotencyKey, LabelSet, ScraperId, Timestamp};

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
