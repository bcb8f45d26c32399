#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::{AppName, Format, Origin, Syntax, Timestamp, Update};

fn update(app: &str, body: &str, at: i64) -> Update {
    Update {
        app: AppName::new(app).unwrap(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        syntax: Syntax::Text,
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

fn text(view: &View) -> String {
    String::from_utf8(view.exposition().segments().concat()).unwrap()
}

#[test]
fn the_latest_of_each_app_in_the_order_of_first_sight() {
    let (inlet, view) = open(Limits::default());
    inlet.put(update("b", "b 1", 1)).unwrap();
    inlet.put(update("a", "a 1\n", 2)).unwrap();
    assert_eq!(text(&view), "b 1\na 1\n");
    let receipt = inlet.put(update("b", "b 22\n", 3)).unwrap();
    assert_eq!(receipt, Receipt { replaced: true, bytes: 5 });
    assert_eq!(text(&view), "b 22\na 1\n");
    assert_eq!(view.totals(), Totals { apps: 2, bytes: 9 });
}

#[test]
fn an_empty_update_keeps_the_app_listed() {
    let (inlet, view) = open(Limits::default());
    inlet.put(update("a", "a 1\n", 1)).unwrap();
    inlet.put(update("a", "", 2)).unwrap();
    assert_eq!((text(&view).as_str(), view.apps().len()), ("", 1));
}

#[test]
fn what_does_not_fit_is_refused_and_harms_nothing() {
    let (inlet, view) = open(Limits {
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
    let (inlet, view) = open(Limits::default());
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
    let (inlet, view) = open(Limits {
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
    assert_eq!(view.totals(), Totals { apps: 1, bytes: 8 });
}

#[test]
fn faults_are_shown_until_the_next_update() {
    let (inlet, view) = open(Limits::default());
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
    assert_eq!(view.totals(), Totals { apps: 1, bytes: 0 });
    assert!(inlet.remove(&app));
    assert!(!inlet.remove(&app));
}

#[test]
fn a_scrape_sees_what_was_acknowledged_before_it() {
    let (inlet, view) = open(Limits::default());
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
        let (inlet, view) = open(limits);
        for (at, step) in steps.into_iter().enumerate() {
            let at = i64::try_from(at).unwrap();
            let name = |app: u8| AppName::new(&app.to_string()).unwrap();
            match step {
                Step::Put(app, len) => { let _ = inlet.put(update(&app.to_string(), &"x".repeat(len), at)); }
                Step::Remove(app) => { inlet.remove(&name(app)); }
                Step::Withdraw(app) => { inlet.withdraw(&name(app)); }
                Step::Expire(later) => { inlet.expire(Timestamp::from_millis(at + later)); }
            }
            let apps = view.apps();
            let bytes: usize = apps.iter().map(|app| app.body.len()).sum();
            prop_assert_eq!(view.totals(), Totals { apps: apps.len(), bytes: bytes as u64 });
            prop_assert!(apps.len() <= 6 && bytes <= 100);
            prop_assert!(apps.iter().all(|app| view.app(app.name.as_str()).is_some()));
            prop_assert!(apps.windows(2).all(|pair| pair[0].order < pair[1].order));
        }
    }
}
