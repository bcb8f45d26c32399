#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

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
fn many_that_end_together_are_forgotten_in_turns() {
    let (inlet, view) = merging(Limits {
        expire_after: Some(Duration::from_secs(10)),
        ..Limits::default()
    });
    let name = |app: usize| format!("app{app}");
    let apps = 2 * Inlet::EXPIRES_AT_ONCE + 10;
    (0..apps).for_each(|app| drop(inlet.put(update(&name(app), "x 1\n", 1), PutOptions::PUSHED).unwrap()));
    let now = Timestamp::from_millis(10_001);
    assert_eq!(inlet.expire(now).len(), Inlet::EXPIRES_AT_ONCE);
    // An app that is updated before its turn stays.
    inlet.put(update(&name(apps - 1), "x 2\n", 10_001), PutOptions::PUSHED).unwrap();
    assert_eq!(inlet.expire(now).len(), Inlet::EXPIRES_AT_ONCE);
    assert_eq!(inlet.expire(now).len(), 9);
    assert!(inlet.expire(now).is_empty());
    assert_eq!(view.totals().apps, 1);
    assert_eq!(inlet.expire(Timestamp::from_millis(20_001)).len(), 1);
}

#[test]
fn an_app_expires_at_the_age_that_its_last_update_has_set() {
    let expire_after = |seconds| Limits {
        expire_after: seconds,
        ..Limits::default()
    };
    let after = |seconds| PutOptions {
        expire_after: Some(Duration::from_secs(seconds)),
        ..PutOptions::PUSHED
    };
    for limit in [None, Some(Duration::from_secs(9))] {
        let (inlet, view) = in_raw(expire_after(limit));
        let at = Timestamp::from_millis;
        inlet.put(update("short", "a 1", 0), after(2)).unwrap();
        inlet.put(update("long", "b 1", 0), after(30)).unwrap();
        inlet.put(update("again", "c 1", 0), after(2)).unwrap();
        inlet.put(update("reset", "d 1", 0), after(2)).unwrap();
        inlet.put(update("again", "c 1", 1_000), after(4)).unwrap();
        inlet.put(update("reset", "d 1", 1_000), PutOptions::PUSHED).unwrap();
        assert!(inlet.expire(at(1_999)).is_empty());
        assert_eq!(inlet.expire(at(2_000)), [AppName::new("short").unwrap()]);
        assert_eq!(inlet.expire(at(5_000)), [AppName::new("again").unwrap()]);
        let rest = inlet.expire(at(10_000));
        assert_eq!(rest.is_empty(), limit.is_none(), "{rest:?}");
        // The clock takes a step of more than ten seconds for one that was set.
        let gone = [19_000, 28_000, 29_999].map(|now| inlet.expire(at(now)).len());
        assert_eq!(gone, [0, 0, 0]);
        assert_eq!(inlet.expire(at(30_000)), [AppName::new("long").unwrap()]);
        assert_eq!(view.totals().apps, usize::from(limit.is_none()));
    }
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
fn what_does_not_fit_is_refused_and_harms_nothing() {
    let (inlet, view) = in_raw(Limits {
        max_apps: 2,
        max_memory: 10_000,
        ..Limits::default()
    });
    let text_of = |len: usize| "x".repeat(len);
    inlet.put(update("a", &text_of(4_000), 1), PutOptions::PUSHED).unwrap();
    inlet.put(update("b", &text_of(4_000), 1), PutOptions::PUSHED).unwrap();
    assert_eq!(
        inlet.put(update("c", "", 1), PutOptions::PUSHED),
        Err(Refused::TooManyApps { max_apps: 2 })
    );
    let refused = inlet.put(update("a", &text_of(6_000), 1), PutOptions::PUSHED).unwrap_err();
    assert!(
        matches!(
            refused,
            Refused::Full {
                used: 10_000..,
                max_memory: 10_000
            }
        ),
        "{refused:?}"
    );
    assert_eq!(text(&view), format!("{0}\n{0}\n", text_of(4_000)));
    inlet.put(update("a", "1", 1), PutOptions::PUSHED).unwrap();
    inlet.put(update("b", &text_of(6_000), 1), PutOptions::PUSHED).unwrap();
    assert_eq!(view.totals().bytes, 6_001);
}

#[test]
fn the_last_of_the_memory_is_for_updates_that_grow_by_little() {
    const LIMIT: u64 = 64 << 20;
    let (inlet, view) = in_raw(Limits {
        max_memory: LIMIT,
        ..Limits::default()
    });
    let large = "x".repeat(1 << 20);
    let mut taken = 0;
    let refused = loop {
        match inlet.put(update(&format!("large{taken}"), &large, 1), PutOptions::PUSHED) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!((50..60).contains(&taken), "{taken} of a megabyte were taken");
    let room = LIMIT - LIMIT / 16;
    assert!(
        matches!(refused, Refused::NearlyFull { used, room: it, max_memory: LIMIT } if used > room && it == room),
        "{refused:?}"
    );
    assert_eq!(refused.reason(), "store_full");
    // Those of others continue to grow, and the large ones may be replaced by others of their size.
    for len in [100, 1_000, 60_000] {
        inlet.put(update("small", &"y".repeat(len), 2), PutOptions::PUSHED).unwrap();
    }
    inlet.put(update("large0", &"z".repeat(1 << 20), 2), PutOptions::PUSHED).unwrap();
    // Until all is used.
    let mut small = 0;
    let refused = loop {
        match inlet.put(update(&format!("more{small}"), &large[..60_000], 3), PutOptions::PUSHED) {
            Ok(_) => small += 1,
            Err(refused) => break refused,
        }
    };
    assert!(small > 40, "{small}");
    assert!(matches!(refused, Refused::Full { max_memory: LIMIT, .. }), "{refused:?}");
    assert!(view.totals().bytes <= LIMIT);
}

#[test]
fn a_store_over_a_lowered_limit_still_lets_apps_shrink() {
    let (inlet, view) = in_raw(Limits::default());
    inlet.put(update("a", "12345678", 1), PutOptions::PUSHED).unwrap();
    inlet.set_limits(Limits {
        max_memory: 4,
        ..Limits::default()
    });
    inlet.put(update("a", "1234567", 1), PutOptions::PUSHED).unwrap();
    assert!(inlet.put(update("a", "12345678", 1), PutOptions::PUSHED).is_err());
    assert_eq!(view.totals().bytes, 7);
}

#[test]
fn a_clock_that_is_set_forgets_nothing() {
    const HOUR: i64 = 3_600_000;
    let (inlet, view) = in_raw(Limits {
        expire_after: Some(Duration::from_secs(3_600)),
        ..Limits::default()
    });
    let status = |now| {
        let now = view.moment(Timestamp::from_millis(now));
        view.app("a").unwrap().status(now, view.expire_after()).to_string()
    };
    inlet.put(update("a", "a 1", 5 * HOUR), PutOptions::PUSHED).unwrap();
    for now in [7 * HOUR, 7 * HOUR + 1_000, HOUR, HOUR + 1_000, 9 * HOUR] {
        assert!(inlet.expire(Timestamp::from_millis(now)).is_empty(), "{now}");
        assert_eq!(status(now), "ok");
    }
    // An hour that really goes by, looked at each second, ends it.
    let mut now = 9 * HOUR;
    while inlet.expire(Timestamp::from_millis(now)).is_empty() {
        now += 1_000;
        assert!(now <= 10 * HOUR);
    }
    assert!(now > 10 * HOUR - 30_000, "at most ten seconds count of each step: {now}");
}

#[test]
fn pushed_apps_expire_and_polled_ones_do_not() {
    let (inlet, view) = in_raw(Limits {
        expire_after: Some(Duration::from_secs(10)),
        ..Limits::default()
    });
    inlet.put(update("old", "old 1", 0), PutOptions::PUSHED).unwrap();
    inlet.put(update("polled", "polled 1", 0), PutOptions::POLLED).unwrap();
    assert!(inlet.expire(Timestamp::from_millis(9_999)).is_empty());
    inlet.put(update("young", "young 1", 9_999), PutOptions::PUSHED).unwrap();
    assert_eq!(inlet.expire(Timestamp::from_millis(10_000)), [AppName::new("old").unwrap()]);
    assert_eq!(text(&view), "polled 1\nyoung 1\n");
    assert_eq!(inlet.expire(Timestamp::from_millis(19_999)).len(), 1);
    assert_eq!(
        view.totals(),
        Totals {
            apps: 1,
            bytes: 8,
            series: None
        }
    );
}

#[test]
fn faults_are_shown_until_the_next_update() {
    let (inlet, view) = in_raw(Limits::default());
    let app = AppName::new("poll").unwrap();
    assert!(!inlet.fault(&app, "unknown"));
    let polled = Origin {
        format: Format::Poll,
        ..origin()
    };
    inlet.register(app.clone(), polled.clone(), Timestamp::from_millis(0)).unwrap();
    assert!(inlet.fault(&app, "poll failed: refused"));
    let status = |now| {
        view.app("poll")
            .unwrap()
            .status(view.moment(Timestamp::from_millis(now)), None)
            .to_string()
    };
    assert_eq!(status(0), "poll failed: refused");
    let update = Update {
        origin: polled,
        ..update("poll", "a 1\n", 0)
    };
    inlet.put(update, PutOptions::POLLED).unwrap();
    assert_eq!(status(0), "ok");
    // The sweep looks each second; a longer gap is taken for a clock that was set.
    (0..30).for_each(|tens| assert_eq!(status(tens * 10_000), "ok"));
    assert_eq!(status(300_000), "ok", "a polled app may have a long interval");
    assert!(inlet.withdraw(&app));
    assert_eq!((text(&view).as_str(), status(302_000).as_str()), ("", "stale 5m"));
    assert_eq!(
        view.totals(),
        Totals {
            apps: 1,
            bytes: 0,
            series: None
        }
    );
    assert!(inlet.remove(&app, Timestamp::default()));
    assert!(!inlet.remove(&app, Timestamp::default()));
}

#[test]
fn a_note_about_an_app_makes_it_no_younger() {
    let limits = Limits {
        expire_after: Some(Duration::from_secs(9)),
        ..Limits::default()
    };
    let (inlet, view) = in_raw(limits);
    let (at, app) = (Timestamp::from_millis, AppName::new("app").unwrap());
    let note = PutOptions {
        keeps_age: true,
        ..PutOptions::PUSHED
    };
    let updated = || view.app("app").unwrap().updated;
    // Of an unknown app it is the first update, and its age is the one that later ones keep.
    inlet.put(update("app", "failed 0\n", 1_000), note).unwrap();
    assert_eq!(updated(), Some(at(1_000)));
    inlet.put(update("app", "a 1\n", 2_000), PutOptions::PUSHED).unwrap();
    inlet.put(update("app", "a 1\nfailed 8\n", 8_000), note).unwrap();
    assert_eq!((text(&view).as_str(), updated()), ("a 1\nfailed 8\n", Some(at(2_000))));
    assert!(inlet.expire(at(10_999)).is_empty());
    assert_eq!(inlet.expire(at(11_000)), [app]);
}

#[test]
fn an_app_that_is_not_polled_is_stale_after_five_minutes() {
    for (format, options) in [(Format::Push, PutOptions::PUSHED), (Format::Stream, PutOptions::POLLED)] {
        let (inlet, view) = in_raw(Limits::default());
        let mut update = update("app", "a 1\n", 0);
        update.origin.format = format;
        inlet.put(update, options).unwrap();
        let status = |seconds: i64| {
            let moment = view.moment(Timestamp::from_millis(seconds * 1_000));
            view.app("app").unwrap().status(moment, None).to_string()
        };
        (0..300).step_by(10).for_each(|seconds| assert_eq!(status(seconds), "ok"));
        assert_eq!(status(300), "stale 5m", "{format:?}");
    }
}

#[test]
fn polled_data_has_an_age_while_it_is_exposed() {
    let (inlet, _view) = in_raw(Limits::default());
    let (app, at) = (AppName::new("polled").unwrap(), Timestamp::from_millis);
    let polled = |time| {
        let format = Format::Poll;
        Update {
            origin: Origin { format, ..origin() },
            ..update("polled", "a 1\n", time)
        }
    };
    assert_eq!(inlet.age_of_polled(&app, at(0)), None, "it is unknown");
    inlet.register(app.clone(), polled(0).origin, at(0)).unwrap();
    assert_eq!(inlet.age_of_polled(&app, at(0)), None, "it has no data");
    inlet.put(polled(1_000), PutOptions::POLLED).unwrap();
    assert_eq!(inlet.age_of_polled(&app, at(4_000)), Some(Duration::from_secs(3)));
    assert!(inlet.withdraw(&app));
    assert_eq!(inlet.age_of_polled(&app, at(4_000)), None, "it is withdrawn");
    inlet.put(update("polled", "a 1\n", 5_000), PutOptions::PUSHED).unwrap();
    assert_eq!(inlet.age_of_polled(&app, at(5_000)), None, "it was pushed");
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

#[derive(Debug, Clone)]
enum Step {
    Put(u8, usize),
    Remove(u8),
    Withdraw(u8),
    Expire(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..8, 0usize..1_500).prop_map(|(app, len)| Step::Put(app, len)),
        (0u8..8).prop_map(Step::Remove),
        (0u8..8).prop_map(Step::Withdraw),
        (0i64..20).prop_map(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn the_sums_always_add_up(steps in proptest::collection::vec(step(), 0..200)) {
        let limits = Limits { max_apps: 6, max_memory: 4_000, max_series_per_app: 10, expire_after: Some(Duration::from_millis(15)) };
        let (inlet, view) = in_raw(limits);
        for (at, step) in steps.into_iter().enumerate() {
            let at = i64::try_from(at).unwrap();
            let name = |app: u8| AppName::new(&app.to_string()).unwrap();
            match step {
                Step::Put(app, len) => { let _ = inlet.put(update(&app.to_string(), &"x".repeat(len), at), PutOptions::PUSHED); }
                Step::Remove(app) => { inlet.remove(&name(app), Timestamp::default()); }
                Step::Withdraw(app) => { inlet.withdraw(&name(app)); }
                Step::Expire(later) => { inlet.expire(Timestamp::from_millis(at + later)); }
            }
            let apps = view.apps();
            let bytes: usize = apps.iter().map(|app| app.text.body().len()).sum();
            prop_assert_eq!(view.totals(), Totals { apps: apps.len(), bytes: bytes as u64, series: None });
            prop_assert!(apps.len() <= 6 && bytes <= 4_000);
            prop_assert!(apps.iter().all(|app| view.app(app.name.as_str()).is_some()));
            prop_assert!(apps.windows(2).all(|pair| pair[0].order < pair[1].order));
        }
    }
}

#[test]
fn what_cannot_be_used_is_left_out_and_told() {
    let (inlet, view) = merging(Limits::default());
    let receipt = inlet.put(update("a", "good 1\nbad line here\n", 1), PutOptions::PUSHED).unwrap();
    assert_eq!(view.totals().series, Some(1));
    let complaint = receipt.news().unwrap();
    assert!(complaint.starts_with("1 line skipped (line 2,"), "{complaint}");
    assert!(
        inlet
            .put(update("a", "good 2\nbad line here\n", 2), PutOptions::PUSHED)
            .unwrap()
            .news()
            .is_none(),
        "the same complaint is no news"
    );
    assert_eq!(
        view.app("a")
            .unwrap()
            .status(view.moment(Timestamp::from_millis(2)), None)
            .to_string(),
        complaint
    );
    assert!(text(&view).ends_with("good 2\n"), "{}", text(&view));
    assert!(
        inlet
            .put(update("a", "good 3\n", 3), PutOptions::PUSHED)
            .unwrap()
            .complaint
            .is_none()
    );
}

#[test]
fn an_update_without_one_usable_line_leaves_what_was() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "good 1\n", 1), PutOptions::PUSHED).unwrap();
    let refused = inlet.put(update("a", "<html>\n", 2), PutOptions::PUSHED).unwrap_err();
    assert_eq!(refused.reason(), "invalid");
    assert!(text(&view).contains("good 1\n"));
    assert!(
        inlet.put(update("a", "good 2\nbad\n", 2), PutOptions::WHOLE).is_err(),
        "all or nothing"
    );
    assert!(text(&view).contains("good 1\n"));
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
fn an_app_has_at_most_so_many_series() {
    let (inlet, view) = merging(Limits {
        max_series_per_app: 2,
        ..Limits::default()
    });
    inlet.put(update("a", "m 1\nn 1\n", 1), PutOptions::PUSHED).unwrap();
    let refused = inlet.put(update("a", "m 1\nn 1\no 1\n", 2), PutOptions::PUSHED).unwrap_err();
    assert_eq!(refused, Refused::TooManySeries { series: 3, max_series: 2 });
    assert_eq!(text(&view), "m 1\nn 1\n", "the app keeps what it had");
}

/// The families and series of a text that was stored.
fn counts(receipt: &Receipt) -> Option<(u64, u64)> {
    receipt.families.zip(receipt.series)
}

#[test]
fn an_app_before_its_first_update_says_so() {
    let (inlet, view) = merging(Limits::default());
    let name = AppName::new("polled").unwrap();
    inlet.register(name.clone(), origin(), Timestamp::from_millis(0)).unwrap();
    let status = |view: &View| {
        view.app("polled")
            .unwrap()
            .status(view.moment(Timestamp::from_millis(1)), None)
            .to_string()
    };
    assert_eq!(status(&view), "ok; no update yet");
    inlet.put(update("polled", "m 1\n", 1), PutOptions::PUSHED).unwrap();
    assert_eq!(status(&view), "ok");
}

#[test]
fn what_two_apps_share_is_a_note_and_no_fault() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "m 1\n", 1), PutOptions::PUSHED).unwrap();
    let receipt = inlet.put(update("b", "m 2\nn 1\n", 2), PutOptions::PUSHED).unwrap();
    assert_eq!((counts(&receipt), receipt.complaint), (Some((2, 2)), None), "all of it is shown");
    let app = view.app("b").unwrap();
    let status = app.status(view.moment(Timestamp::from_millis(2)), None);
    assert_eq!(status.to_string(), "ok; 1 duplicate series, which other apps have too");
    assert!(matches!(status, Status::Noted(_)));
}

#[test]
fn an_exemplar_that_is_left_out_is_a_note_and_logged_once() {
    let (inlet, view) = merging(Limits::default());
    let body = "# TYPE a counter\na_total 5 # {t=\"1\",t=\"2\"} 1.0\n# EOF\n";
    let receipt = inlet.put(update("a", body, 1), PutOptions::WHOLE).unwrap();
    let note = "1 exemplar skipped (line 2, column 20: label \"t\" occurs twice)";
    assert_eq!((receipt.news(), counts(&receipt)), (Some(note), Some((1, 1))));
    assert_eq!(inlet.put(update("a", body, 2), PutOptions::WHOLE).unwrap().news(), None);
    let status = view.app("a").unwrap().status(view.moment(Timestamp::from_millis(2)), None);
    assert_eq!(status.to_string(), format!("ok; {note}"));
    assert!(text(&view).contains("a_total 5\n"), "{}", text(&view));
}

#[test]
fn samples_that_a_format_leaves_out_because_of_their_times_are_a_note() {
    let (inlet, view) = merging(Limits::default());
    let body = "# TYPE x gauge\nx{n=\"1\"} 1 -1.5\nx{n=\"2\"} 2 0\nx{n=\"3\"} 3 -2\nx{n=\"4\"} 4 1700000000\n# EOF\n";
    inlet.put(update("a", body, 1), PutOptions::WHOLE).unwrap();
    let status = view
        .app("a")
        .unwrap()
        .status(view.moment(Timestamp::from_millis(2)), None)
        .to_string();
    let note = "2 samples with a timestamp before 1970 left out of the text format, 1 sample with a timestamp at the start of 1970 left out of protobuf";
    assert!(status.contains(note), "{status}");
    let text = text(&view);
    assert!(text.contains("x{n=\"2\"} 2 0\n") && !text.contains(" 1 -"), "{text}");
}

#[test]
fn neither_age_nor_a_failing_source_hides_what_is_wrong_with_a_text() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "good 1\nbad\n", 1), PutOptions::POLLED).unwrap();
    let status = |at| {
        view.app("a")
            .unwrap()
            .status(view.moment(Timestamp::from_millis(at)), None)
            .to_string()
    };
    let bad = "1 line skipped (line 2, column 4: the value is missing)";
    let first = status(1);
    // A clock that goes on by minutes at once was set: time passes in small steps.
    (1..400).for_each(|second| drop(status(second * 1_000)));
    assert_eq!((first, status(400_001)), (bad.to_owned(), format!("stale 6m; {bad}")));
    inlet.fault(&AppName::new("a").unwrap(), "poll failed: no");
    assert_eq!(status(400_001), format!("poll failed: no; {bad}"));
}

#[test]
fn a_text_that_hides_its_samples_in_a_comment_empties_nothing() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "jobs_done 1\n", 1), PutOptions::PUSHED).unwrap();
    for odd in ["# just words", "# HELP jobs_done x# TYPE jobs_done gaugejobs_done 1"] {
        for refused in [
            inlet.put(update("a", odd, 2), PutOptions::PUSHED),
            inlet.put(update("a", odd, 2), PutOptions::WHOLE),
            inlet.put(update("a", odd, 2), PutOptions::POLLED),
        ] {
            assert_eq!(refused.unwrap_err().reason(), "invalid", "{odd}");
        }
    }
    assert!(text(&view).contains("jobs_done 1\n"));
    let receipt = inlet
        .put(update("a", "# HELP jobs_done x\n# TYPE jobs_done gauge\n", 3), PutOptions::WHOLE)
        .unwrap();
    assert_eq!(receipt.series, Some(0));
    assert_eq!(text(&view), "");
}

#[test]
fn other_rules_put_everything_together_anew() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "m 1\n", 1), PutOptions::PUSHED).unwrap();
    inlet.set_mode(Mode::Merge(Rules::new(Some("job"), Duplicates::Label, &[])));
    assert!(text(&view).ends_with("m{job=\"a\"} 1\n"), "{}", text(&view));
}

#[test]
fn timestamps_that_prometheus_would_drop_are_told() {
    let (inlet, view) = merging(Limits::default());
    let now = 1_795_000_000_000;
    inlet.put(update("old", "m 1 1395066363000\n", now), PutOptions::PUSHED).unwrap();
    inlet
        .put(
            update("new", "n 1 1794999999000\nn{x=\"1\"} 1 1395066363000\n", now),
            PutOptions::PUSHED,
        )
        .unwrap();
    let status = |app: &str| {
        view.app(app)
            .unwrap()
            .status(view.moment(Timestamp::from_millis(now)), None)
            .to_string()
    };
    assert_eq!((&*status("old"), &*status("new")), ("timestamps too old for Prometheus", "ok"));
}

#[test]
fn what_says_the_same_again_is_in_memory_once() {
    let (inlet, view) = merging(Limits::default());
    let body_at = || view.app("a").unwrap().text.body().as_ptr();
    inlet.put(update("a", "a 1\n", 1), PutOptions::PUSHED).unwrap();
    let first = body_at();
    inlet.put(update("a", "a 1\n", 2), PutOptions::PUSHED).unwrap();
    assert_eq!(body_at(), first, "the catalog and the list of applications hold one text");
    assert_eq!(view.app("a").unwrap().updated, Some(Timestamp::from_millis(2)));
    inlet.put(update("a", "a 2\n", 3), PutOptions::PUSHED).unwrap();
    assert_eq!(text(&view), "a 2\n");
}

/// A text of this many families of one sample each.
pub(super) fn wide(families: usize, value: usize) -> String {
    (0..families).map(|n| format!("wide_{n} {value}\n")).collect()
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

#[test]
fn memory_is_counted_and_given_back() {
    let (inlet, view) = merging(Limits::default());
    let nothing = view.memory();
    inlet.put(update("wide", &wide(2_000, 0), 0), PutOptions::PUSHED).unwrap();
    inlet.put(update("twin", &wide(2_000, 1), 0), PutOptions::PUSHED).unwrap();
    let stored = view.memory();
    assert!(stored > nothing + 2 * 2_000 * 60, "{stored}");
    let held = view
        .exposition(TEXT, Selection::Everything)
        .finish(ContentEncoding::Identity)
        .text();
    assert!(view.memory() > stored + 2_000 * 10, "copies count");
    for app in ["wide", "twin"] {
        assert!(inlet.remove(&AppName::new(app).unwrap(), Timestamp::default()));
    }
    assert!(view.memory() > nothing + 2_000 * 10, "an unfinished response keeps them");
    drop(held);
    // Large tables are freed on a thread of their own.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while view.memory() != nothing && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(view.memory(), nothing);
}
