#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod expiry;
mod faults;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::bus::Notification;
use crate::exposition::catalog::{Duplicates, Rules, Selection};
use crate::exposition::negotiate::{ContentEncoding, Escaping};
use crate::exposition::render::OutputFormat;
use crate::model::{AppName, Format, Origin, Syntax, Timestamp, Topic, Update};

pub(super) fn update(app: &str, body: &str, at: i64) -> Update {
    Update {
        app: AppName::new(app).unwrap(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        syntax: None,
        records: Bytes::new(),
        read: None,
        labels: [].into(),
        origin: origin(),
        at: Timestamp::from_millis(at),
    }
}

fn origin() -> Origin {
    Origin {
        source: "test".into(),
        format: Format::Push,
    }
}

pub(super) fn merging(limits: Limits) -> (Inlet, View) {
    open(
        limits,
        Mode::Merge(Rules::new(None, Duplicates::Label, &["exporter_proxy_"])),
        EventOptions::default(),
    )
}

pub(super) fn in_raw(limits: Limits) -> (Inlet, View) {
    open(limits, Mode::Raw, EventOptions::default())
}

pub(super) const TEXT: OutputFormat = OutputFormat {
    syntax: Syntax::Text,
    protobuf: false,
    escaping: Escaping::Underscores,
};

pub(super) fn text(view: &View) -> String {
    let exposed = view.exposition(TEXT, Selection::Everything).finish(ContentEncoding::Identity);
    let mut text = exposed.text().iter().map(|row| row.concat()).collect::<Vec<_>>().concat();
    text.extend(exposed.tail(Vec::new()).iter().flat_map(|chunk| chunk.text().concat()));
    String::from_utf8(text).unwrap()
}

/// A text of this many families of one sample each.
pub(super) fn wide(families: usize, value: usize) -> String {
    (0..families).map(|n| format!("wide_{n} {value}\n")).collect()
}

/// The families and series of a text that was stored.
fn counts(receipt: &Receipt) -> Option<(u64, u64)> {
    receipt.families.zip(receipt.series)
}

#[test]
fn the_latest_of_each_app_in_the_order_of_first_sight() {
    let (inlet, view) = in_raw(Limits::default());
    inlet.put(update("b", "b 1", 1), PutOptions::PUSHED).unwrap();
    inlet.put(update("a", "a 1\n", 2), PutOptions::PUSHED).unwrap();
    assert_eq!(text(&view), "b 1\na 1\n");
    let receipt = inlet.put(update("b", "b 22\n", 3), PutOptions::PUSHED).unwrap();
    assert_eq!(
        (receipt.replaced, receipt.bytes, counts(&receipt), receipt.complaint.clone()),
        (true, 5, None, None)
    );
    assert_eq!(text(&view), "b 22\na 1\n");
    assert_eq!(
        view.totals(),
        Totals {
            apps: 2,
            bytes: 9,
            series: None
        }
    );
}

#[test]
fn an_update_that_must_be_consistent_leaves_no_trace_if_it_is_not() {
    let (inlet, view) = merging(Limits::default());
    let consistent = PutOptions {
        consistent: true,
        ..PutOptions::WHOLE
    };
    inlet.put(update("a", "# TYPE m gauge\nm 1\n", 1), PutOptions::WHOLE).unwrap();
    let before = text(&view);
    for wrong in ["m 2\n", "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 1\nm_sum 1\nm_count 1\n"] {
        let refused = inlet.put(update("b", wrong, 2), consistent).unwrap_err();
        assert!(matches!(refused, Refused::Inconsistent(..)), "{refused:?}");
        assert!(!refused.to_string().is_empty());
        assert_eq!((text(&view), view.totals().apps), (before.clone(), 1));
    }
    inlet.put(update("b", "# TYPE m gauge\nm{b=\"1\"} 2\n", 3), consistent).unwrap();
    assert_eq!(text(&view), "# TYPE m gauge\nm 1\nm{b=\"1\"} 2\n");
    // Replacing what the app itself had is no contradiction.
    inlet.put(update("a", "n 1\n", 4), PutOptions::WHOLE).unwrap();
    inlet.put(update("b", "# TYPE m counter\nm{b=\"1\"} 2\n", 5), consistent).unwrap();
    assert_eq!(text(&view), "n 1\n# TYPE m counter\nm{b=\"1\"} 2\n");
}

#[test]
fn apps_of_a_source_are_listed_in_turns_also_while_they_are_removed() {
    let (inlet, view) = in_raw(Limits::default());
    for n in 0..2_500 {
        let mut update = update(&format!("app{n}"), "a 1", 1);
        if n % 3 == 0 {
            update.origin.source = "other".into();
        }
        inlet.put(update, PutOptions::PUSHED).unwrap();
    }
    let (mut from, mut removed, mut turns) = (Some(0), 0, 0);
    while let Some(position) = from {
        let (names, next) = inlet.of_source("other", position);
        assert!(names.len() <= Inlet::EXPIRES_AT_ONCE);
        assert!(names.iter().all(|name| inlet.remove(name, Timestamp::from_millis(2))));
        (from, removed, turns) = (next, removed + names.len(), turns + 1);
    }
    assert_eq!((removed, view.totals().apps), (834, 2_500 - 834));
    assert!(turns > 13, "{turns}");
    assert_eq!(inlet.of_source("none", 0).1.map(|_| ()), Some(()));
}

#[test]
fn an_empty_update_keeps_the_app_listed() {
    let (inlet, view) = in_raw(Limits::default());
    inlet.put(update("a", "a 1\n", 1), PutOptions::PUSHED).unwrap();
    inlet.put(update("a", "", 2), PutOptions::PUSHED).unwrap();
    assert_eq!((text(&view).as_str(), view.apps().len()), ("", 1));
}

#[test]
fn apps_are_found_by_their_origin() {
    let (inlet, _view) = in_raw(Limits::default());
    let is_polled = |origin: &Origin| origin.format == Format::Poll;
    for n in 0..2_500 {
        let mut update = update(&n.to_string(), "a 1\n", 0);
        if n % 1_000 == 7 {
            update.origin.format = Format::Poll;
        }
        inlet.put(update, PutOptions::POLLED).unwrap();
    }
    let (mut found, mut position) = (Vec::new(), Some(0));
    while let Some(from) = position {
        let (names, next) = inlet.of_origin(is_polled, from);
        found.extend(names.iter().map(ToString::to_string));
        position = next;
    }
    assert_eq!(found, ["7", "1007", "2007"]);
}

#[test]
fn a_scrape_sees_what_was_acknowledged_before_it() {
    let (inlet, view) = in_raw(Limits::default());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (inlet, view) = (inlet.clone(), view.clone());
            scope.spawn(move || {
                for n in 0..500 {
                    let line = format!("m_{thread} {n}\n");
                    inlet.put(update(&thread.to_string(), &line, n), PutOptions::PUSHED).unwrap();
                    assert!(text(&view).contains(&line));
                }
            });
        }
    });
}

#[tokio::test]
async fn followers_hear_what_was_taken_and_nothing_that_was_refused() {
    let limits = Limits {
        max_memory: 2_000,
        expire_after: Some(Duration::from_millis(10)),
        ..Limits::default()
    };
    let (inlet, view) = open(limits, Mode::Raw, EventOptions::default());
    inlet.put(update("early", "1", 0), PutOptions::PUSHED).unwrap();
    let mut feed = view.subscribe([Topic::AppUpdate, Topic::AppExpired].into_iter().collect());
    inlet.put(update("a", "12345", 1), PutOptions::PUSHED).unwrap();
    assert!(inlet.put(update("a", &"1".repeat(2_000), 1), PutOptions::PUSHED).is_err());
    inlet.remove(&AppName::new("unknown").unwrap(), Timestamp::default());
    inlet.expire(Timestamp::from_millis(11));
    let mut heard = std::collections::VecDeque::new();
    feed.take(&mut heard).await;
    let forgotten = |app, at| Notification::Forgotten {
        app: AppName::new(app).unwrap(),
        at: Timestamp::from_millis(at),
    };
    let updated = Notification::Updated {
        app: AppName::new("a").unwrap(),
        source: "test".into(),
        bytes: 5,
        counted: None,
        at: Timestamp::from_millis(1),
    };
    let changes: Vec<_> = heard.into_iter().map(|numbered| numbered.change).collect();
    assert_eq!(changes, [updated, forgotten("early", 11), forgotten("a", 11)]);
}

#[test]
fn others_learn_that_they_share_a_series_and_that_they_no_longer_do() {
    let (inlet, view) = merging(Limits::default());
    let duplicates = |app: &str| view.app(app).unwrap().duplicates;
    inlet.put(update("a", "# TYPE m gauge\nm 1\n", 1), PutOptions::PUSHED).unwrap();
    inlet.put(update("b", "# TYPE m gauge\nm 2\n", 2), PutOptions::PUSHED).unwrap();
    assert_eq!((duplicates("a"), duplicates("b")), (1, 1));
    assert_eq!(text(&view), "# TYPE m gauge\nm{app=\"a\"} 1\nm{app=\"b\"} 2\n");
    inlet.remove(&AppName::new("b").unwrap(), Timestamp::default());
    assert_eq!(duplicates("a"), 0);
    assert_eq!(text(&view), "# TYPE m gauge\nm{app=\"a\"} 1\n", "the label does not flap");
}

#[test]
fn a_push_is_never_refused_for_what_others_have() {
    let (inlet, view) = merging(Limits::default());
    inlet
        .put(
            update("a", "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 1\nm_sum 1\nm_count 1\n", 1),
            PutOptions::PUSHED,
        )
        .unwrap();
    let receipt = inlet.put(update("b", "# TYPE m gauge\nm 2\nn 1\n", 2), PutOptions::WHOLE).unwrap();
    assert_eq!((receipt.families, receipt.series, receipt.conflicts.total), (Some(2), Some(2), 1));
    assert_eq!(
        receipt.complaint.as_deref(),
        Some("family m is exposed untyped: gauge here, histogram in app \"a\"")
    );
    let text = text(&view);
    for line in ["n 1\n", "m 2\n", "m_bucket{le=\"+Inf\"} 1\n", "m_count 1\n"] {
        assert!(text.contains(line), "{text}");
    }
    let other = view.app("a").unwrap();
    assert!(
        other.complaint().unwrap().contains("gauge in app \"b\""),
        "the other app's row says it too"
    );
}

#[test]
fn other_rules_put_everything_together_anew() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "m 1\n", 1), PutOptions::PUSHED).unwrap();
    inlet.set_mode(Mode::Merge(Rules::new(Some("job"), Duplicates::Label, &[])));
    assert!(text(&view).ends_with("m{job=\"a\"} 1\n"), "{}", text(&view));
}

#[test]
fn large_updates_are_whole_and_others_go_on_meanwhile() {
    const FAMILIES: usize = 20_000;
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("wide", &wide(FAMILIES, 0), 0), PutOptions::PUSHED).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let small_updates = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // At least five, and on until some small updates went between them: how many go is the machine's choice.
            for value in 1.. {
                inlet.put(update("wide", &wide(FAMILIES, value), 1), PutOptions::PUSHED).unwrap();
                if value >= 5 && small_updates.load(std::sync::atomic::Ordering::SeqCst) > 5 {
                    break;
                }
            }
            inlet.remove(&AppName::new("wide").unwrap(), Timestamp::default());
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut at = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            at += 1;
            inlet
                .put(update("small", &format!("wide_7 {at}\nmine {at}\n"), at), PutOptions::PUSHED)
                .unwrap();
            inlet
                .put(update(&format!("comes-and-goes-{}", at % 7), "mine 1\n", at), PutOptions::PUSHED)
                .unwrap();
            inlet.remove(&AppName::new(&format!("comes-and-goes-{}", at % 5)).unwrap(), Timestamp::default());
            let text = text(&view);
            assert!(
                text.contains(&format!("mine{{app=\"small\"}} {at}\n")) || text.contains(&format!("mine {at}\n")),
                "{at}"
            );
            // The wide app is there as a whole, with one value everywhere, or not at all.
            let values: std::collections::BTreeSet<&str> = text
                .lines()
                .filter(|line| line.starts_with("wide_") && !line.contains("small"))
                .filter(|line| !line.starts_with("wide_7 "))
                .map(|line| line.rsplit(' ').next().unwrap())
                .collect();
            assert!(values.len() <= 1 || values.len() == 2 && text.contains("wide_7{"), "{values:?}");
            small_updates.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    assert!(!text(&view).contains("wide_8"));
    assert!(text(&view).contains("wide_7"));
}
