#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::exposition::catalog::{Duplicates, Rules, Selection};
use crate::exposition::negotiate::{Coding, Escaping};
use crate::exposition::render::Variant;
use crate::model::{AppName, Format, Origin, Syntax, Timestamp, Topic, Update};

pub(super) fn update(app: &str, body: &str, at: i64) -> Update {
    Update {
        app: AppName::new(app).unwrap(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        syntax: None,
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
    open(limits, Mode::Merge(Rules::new(None, Duplicates::Label, &["exporter_proxy_"])))
}

pub(super) fn in_raw(limits: Limits) -> (Inlet, View) {
    open(limits, Mode::Raw)
}

pub(super) const TEXT: Variant = Variant {
    syntax: Syntax::Text,
    escaping: Escaping::Underscores,
};

pub(super) fn text(view: &View) -> String {
    let exposed = view.exposition(TEXT, Selection::Everything).finish(Coding::Identity);
    let mut text = exposed.text().iter().map(|row| row.concat()).collect::<Vec<_>>().concat();
    text.extend(exposed.tail(Vec::new()).concat());
    String::from_utf8(text).unwrap()
}

#[test]
fn the_latest_of_each_app_in_the_order_of_first_sight() {
    let (inlet, view) = in_raw(Limits::default());
    inlet.put(update("b", "b 1", 1)).unwrap();
    inlet.put(update("a", "a 1\n", 2)).unwrap();
    assert_eq!(text(&view), "b 1\na 1\n");
    let receipt = inlet.put(update("b", "b 22\n", 3)).unwrap();
    assert_eq!((receipt.replaced, receipt.bytes, receipt.complaint), (true, 5, None));
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
    (0..apps).for_each(|app| drop(inlet.put(update(&name(app), "x 1\n", 1)).unwrap()));
    let now = Timestamp::from_millis(10_001);
    assert_eq!(inlet.expire(now).len(), Inlet::EXPIRES_AT_ONCE);
    // Whoever is heard of before its turn stays.
    inlet.put(update(&name(apps - 1), "x 2\n", 10_001)).unwrap();
    assert_eq!(inlet.expire(now).len(), Inlet::EXPIRES_AT_ONCE);
    assert_eq!(inlet.expire(now).len(), 9);
    assert!(inlet.expire(now).is_empty());
    assert_eq!(view.totals().apps, 1);
    assert_eq!(inlet.expire(Timestamp::from_millis(20_001)).len(), 1);
}

#[test]
fn an_empty_update_keeps_the_app_listed() {
    let (inlet, view) = in_raw(Limits::default());
    inlet.put(update("a", "a 1\n", 1)).unwrap();
    inlet.put(update("a", "", 2)).unwrap();
    assert_eq!((text(&view).as_str(), view.apps().len()), ("", 1));
}

#[test]
fn what_does_not_fit_is_refused_and_harms_nothing() {
    let (inlet, view) = in_raw(Limits {
        max_apps: 2,
        max_bytes: 10,
        ..Limits::default()
    });
    inlet.put(update("a", "12345", 1)).unwrap();
    inlet.put(update("b", "12345", 1)).unwrap();
    assert_eq!(inlet.put(update("c", "", 1)), Err(Refused::TooManyApps { max_apps: 2 }));
    assert_eq!(inlet.put(update("a", "123456", 1)), Err(Refused::Full { max_bytes: 10 }));
    assert_eq!(text(&view), "12345\n12345\n");
    inlet.put(update("a", "1", 1)).unwrap();
    inlet.put(update("b", "123456789", 1)).unwrap();
    assert_eq!(view.totals().bytes, 10);
}

#[test]
fn a_store_over_a_lowered_limit_still_lets_apps_shrink() {
    let (inlet, view) = in_raw(Limits::default());
    inlet.put(update("a", "12345678", 1)).unwrap();
    inlet.set_limits(Limits {
        max_bytes: 4,
        ..Limits::default()
    });
    inlet.put(update("a", "1234567", 1)).unwrap();
    assert!(inlet.put(update("a", "12345678", 1)).is_err());
    assert_eq!(view.totals().bytes, 7);
}

#[test]
fn pushed_apps_expire_and_polled_ones_do_not() {
    let (inlet, view) = in_raw(Limits {
        expire_after: Some(Duration::from_secs(10)),
        ..Limits::default()
    });
    inlet.put(update("old", "old 1", 0)).unwrap();
    inlet.put_polled(update("polled", "polled 1", 0)).unwrap();
    assert!(inlet.expire(Timestamp::from_millis(9_999)).is_empty());
    inlet.put(update("young", "young 1", 9_999)).unwrap();
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
    assert!(!inlet.fault(&app, "nobody"));
    inlet.announce(app.clone(), origin(), Timestamp::from_millis(0)).unwrap();
    assert!(inlet.fault(&app, "poll failed: refused"));
    let status = |now| view.app("poll").unwrap().status(Timestamp::from_millis(now), None).to_string();
    assert_eq!(status(0), "poll failed: refused");
    inlet.put_polled(update("poll", "a 1\n", 0)).unwrap();
    assert_eq!(status(0), "ok");
    assert_eq!(status(300_000), "stale 5m");
    assert!(inlet.withdraw(&app));
    assert_eq!((text(&view).as_str(), status(2_000).as_str()), ("", "stale 2s"));
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
fn a_scrape_sees_what_was_acknowledged_before_it() {
    let (inlet, view) = in_raw(Limits::default());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (inlet, view) = (inlet.clone(), view.clone());
            scope.spawn(move || {
                for n in 0..500 {
                    let line = format!("m_{thread} {n}\n");
                    inlet.put(update(&thread.to_string(), &line, n)).unwrap();
                    assert!(text(&view).contains(&line));
                }
            });
        }
    });
}

#[tokio::test]
async fn followers_hear_what_was_taken_and_nothing_that_was_refused() {
    let limits = Limits {
        max_bytes: 10,
        expire_after: Some(Duration::from_millis(10)),
        ..Limits::default()
    };
    let (inlet, view) = open(limits, Mode::Raw);
    inlet.put(update("early", "1", 0)).unwrap();
    let mut feed = view.follow([Topic::AppUpdate, Topic::AppExpired].into_iter().collect());
    inlet.put(update("a", "12345", 1)).unwrap();
    assert!(inlet.put(update("a", "12345678901", 1)).is_err());
    inlet.remove(&AppName::new("nobody").unwrap(), Timestamp::default());
    inlet.expire(Timestamp::from_millis(11));
    let mut heard = std::collections::VecDeque::new();
    feed.take(&mut heard).await;
    let forgotten = |app, at| Change::Forgotten {
        app: AppName::new(app).unwrap(),
        at: Timestamp::from_millis(at),
    };
    let updated = Change::Updated {
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
        (0u8..8, 0usize..30).prop_map(|(app, len)| Step::Put(app, len)),
        (0u8..8).prop_map(Step::Remove),
        (0u8..8).prop_map(Step::Withdraw),
        (0i64..20).prop_map(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn the_sums_always_add_up(steps in proptest::collection::vec(step(), 0..200)) {
        let limits = Limits { max_apps: 6, max_bytes: 100, expire_after: Some(Duration::from_millis(15)) };
        let (inlet, view) = in_raw(limits);
        for (at, step) in steps.into_iter().enumerate() {
            let at = i64::try_from(at).unwrap();
            let name = |app: u8| AppName::new(&app.to_string()).unwrap();
            match step {
                Step::Put(app, len) => { let _ = inlet.put(update(&app.to_string(), &"x".repeat(len), at)); }
                Step::Remove(app) => { inlet.remove(&name(app), Timestamp::default()); }
                Step::Withdraw(app) => { inlet.withdraw(&name(app)); }
                Step::Expire(later) => { inlet.expire(Timestamp::from_millis(at + later)); }
            }
            let apps = view.apps();
            let bytes: usize = apps.iter().map(|app| app.text.body().len()).sum();
            prop_assert_eq!(view.totals(), Totals { apps: apps.len(), bytes: bytes as u64, series: None });
            prop_assert!(apps.len() <= 6 && bytes <= 100);
            prop_assert!(apps.iter().all(|app| view.app(app.name.as_str()).is_some()));
            prop_assert!(apps.windows(2).all(|pair| pair[0].order < pair[1].order));
        }
    }
}

#[test]
fn what_cannot_be_used_is_left_out_and_told() {
    let (inlet, view) = merging(Limits::default());
    let receipt = inlet.put(update("a", "good 1\nbad line here\n", 1)).unwrap();
    assert_eq!(view.totals().series, Some(1));
    let complaint = receipt.news().unwrap();
    assert!(complaint.starts_with("1 invalid line, first 2:"), "{complaint}");
    assert!(
        inlet.put(update("a", "good 2\nbad line here\n", 2)).unwrap().news().is_none(),
        "the same complaint is no news"
    );
    assert_eq!(
        view.app("a").unwrap().status(Timestamp::from_millis(2), None).to_string(),
        complaint
    );
    assert!(text(&view).ends_with("good 2\n"), "{}", text(&view));
    assert!(inlet.put(update("a", "good 3\n", 3)).unwrap().complaint.is_none());
}

#[test]
fn an_update_without_one_usable_line_leaves_what_was() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "good 1\n", 1)).unwrap();
    let refused = inlet.put(update("a", "<html>\n", 2)).unwrap_err();
    assert_eq!(refused.reason(), "invalid");
    assert!(text(&view).contains("good 1\n"));
    assert!(inlet.put_whole(update("a", "good 2\nbad\n", 2)).is_err(), "all or nothing");
    assert!(text(&view).contains("good 1\n"));
}

#[test]
fn others_learn_that_they_share_a_series_and_that_they_no_longer_do() {
    let (inlet, view) = merging(Limits::default());
    let duplicates = |app: &str| view.app(app).unwrap().duplicates;
    inlet.put(update("a", "# TYPE m gauge\nm 1\n", 1)).unwrap();
    inlet.put(update("b", "# TYPE m gauge\nm 2\n", 2)).unwrap();
    assert_eq!((duplicates("a"), duplicates("b")), (1, 1));
    assert_eq!(text(&view), "# TYPE m gauge\nm{app=\"a\"} 1\nm{app=\"b\"} 2\n");
    inlet.remove(&AppName::new("b").unwrap(), Timestamp::default());
    assert_eq!(duplicates("a"), 0);
    assert_eq!(text(&view), "# TYPE m gauge\nm{app=\"a\"} 1\n", "the label does not flap");
}

#[test]
fn a_push_that_contradicts_others_is_refused_whole() {
    let (inlet, view) = merging(Limits::default());
    inlet
        .put(update("a", "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 1\nm_sum 1\nm_count 1\n", 1))
        .unwrap();
    let refused = inlet.put_whole(update("b", "# TYPE m gauge\nm 2\nn 1\n", 2)).unwrap_err();
    assert_eq!(refused.reason(), "clash");
    assert!(view.app("b").is_none());
    let receipt = inlet.put(update("b", "# TYPE m gauge\nm 2\nn 1\n", 2)).unwrap();
    assert!(receipt.complaint.unwrap().contains("family m is left out"));
    assert!(text(&view).contains("n 1\n") && !text(&view).contains("m 2\n"), "{}", text(&view));
}

#[test]
fn other_rules_put_everything_together_anew() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "m 1\n", 1)).unwrap();
    inlet.set_mode(Mode::Merge(Rules::new(Some("job"), Duplicates::Label, &[])));
    assert!(text(&view).ends_with("m{job=\"a\"} 1\n"), "{}", text(&view));
}

#[test]
fn timestamps_that_prometheus_would_drop_are_told() {
    let (inlet, view) = merging(Limits::default());
    let now = 1_795_000_000_000;
    inlet.put(update("old", "m 1 1395066363000\n", now)).unwrap();
    inlet
        .put(update("new", "n 1 1794999999000\nn{x=\"1\"} 1 1395066363000\n", now))
        .unwrap();
    let status = |app: &str| view.app(app).unwrap().status(Timestamp::from_millis(now), None).to_string();
    assert_eq!((&*status("old"), &*status("new")), ("timestamps too old for Prometheus", "ok"));
}

#[test]
fn what_says_the_same_again_is_in_memory_once() {
    let (inlet, view) = merging(Limits::default());
    let body_at = || view.app("a").unwrap().text.body().as_ptr();
    inlet.put(update("a", "a 1\n", 1)).unwrap();
    let first = body_at();
    inlet.put(update("a", "a 1\n", 2)).unwrap();
    assert_eq!(body_at(), first, "the catalog and the list of applications hold one text");
    assert_eq!(view.app("a").unwrap().updated, Some(Timestamp::from_millis(2)));
    inlet.put(update("a", "a 2\n", 3)).unwrap();
    assert_eq!(text(&view), "a 2\n");
}
