#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;

use super::*;
use crate::store::View;
use crate::store::tests::{merging, text, update, wide};

const HOUR: Duration = Duration::from_secs(3_600);

fn name() -> AppName {
    AppName::new("a").unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A store in which pushed apps expire after an hour, with the app "a".
fn store(body: &str) -> (Inlet, View) {
    let (inlet, view) = merging(Limits {
        expire_after: Some(HOUR),
        ..Limits::default()
    });
    inlet.put(update("a", body, 0), PutOptions::PUSHED).unwrap();
    (inlet, view)
}

/// Lets an hour pass, a second at a time, without a look for expired apps.
fn pass_an_hour(inlet: &Inlet) -> Timestamp {
    (1..3_600).for_each(|second| drop(inlet.shared.apps().expired(at(1_000 * second), 0)));
    at(3_600_000)
}

#[test]
fn an_app_that_was_updated_since_it_was_found_expired_stays() {
    let (inlet, view) = store("m 1\n");
    let now = pass_an_hour(&inlet);
    assert_eq!(inlet.shared.apps().expired(now, 9), [name()]);
    inlet.put(update("a", "m 2\n", now.as_millis()), PutOptions::PUSHED).unwrap();
    assert_eq!(inlet.remove_app(&name(), now, Cause::Expired(now)), ReplicatedOutcome::Deferred);
    assert_eq!(text(&view), "m 2\n");
}

#[test]
fn a_large_app_that_is_updated_while_it_expires_stays() {
    let (inlet, view) = store(&wide(3_000, 1));
    let now = pass_an_hour(&inlet);
    let Applied::TooLarge(change) = inlet.shared.apps().remove(&name()) else {
        panic!("the app is too small");
    };
    inlet.put(update("a", "m 2\n", now.as_millis()), PutOptions::PUSHED).unwrap();
    let cause = Cause::Expired(now);
    let (apps, outcome) = inlet.change_large(&name(), change, cause, |apps, outcome| apps.commit_removal(&name(), &outcome));
    drop(apps);
    assert_eq!((outcome, text(&view).as_str()), (ReplicatedOutcome::Deferred, "m 2\n"));
    // The store takes changes of any size as before.
    inlet
        .put(update("a", &wide(3_000, 2), now.as_millis()), PutOptions::PUSHED)
        .unwrap();
    assert!(inlet.remove(&name(), now));
    assert_eq!(text(&view), "");
}

/// The app "a" as another replica has it.
fn of_another_replica(body: &str) -> ReplicatedApp {
    let (_, view) = store(body);
    view.replicated(&name()).unwrap().0
}

#[test]
fn a_record_of_another_replica_replaces_nothing_that_is_later() {
    let (small, large) = ("m 1\n".to_owned(), wide(3_000, 1));
    for (body, asked) in [(small, 1), (large, 2)] {
        let (inlet, view) = store("m 9\n");
        let replicated = of_another_replica(&body);
        // A later one comes before the change is made: at once, or while a copy is merged.
        let calls = Cell::new(0);
        let is_news = || {
            calls.set(calls.get() + 1);
            calls.get() < asked
        };
        assert_eq!(
            inlet.put_replicated(&replicated, HOUR / 2, is_news),
            Ok(ReplicatedOutcome::Deferred)
        );
        assert_eq!((calls.get(), text(&view).as_str()), (asked, "m 9\n"));
        assert_eq!(inlet.put_replicated(&replicated, HOUR / 2, || true), Ok(ReplicatedOutcome::Applied));
        assert_eq!(text(&view), body);
        calls.set(0);
        assert_eq!(inlet.remove_replicated(&name(), at(1), is_news), ReplicatedOutcome::Deferred);
        assert_eq!((calls.get(), text(&view)), (asked, body));
        assert_eq!(inlet.remove_replicated(&name(), at(1), || true), ReplicatedOutcome::Applied);
        assert_eq!(inlet.remove_replicated(&name(), at(1), || true), ReplicatedOutcome::Unneeded);
    }
}

#[test]
fn an_app_that_another_replica_has_withdrawn_keeps_what_is_later() {
    for (body, asked) in [("m 9\n".to_owned(), 1), (wide(3_000, 9), 2)] {
        let (inlet, view) = store(&body);
        let mut replicated = of_another_replica("m 1\n");
        (replicated.withdrawn, replicated.fault) = (true, Some("poll failed: no".into()));
        let calls = Cell::new(0);
        let is_news = || {
            calls.set(calls.get() + 1);
            calls.get() < asked
        };
        assert_eq!(
            inlet.put_replicated(&replicated, HOUR / 2, is_news),
            Ok(ReplicatedOutcome::Deferred)
        );
        assert_eq!(
            (calls.get(), text(&view), view.app("a").unwrap().fault.clone()),
            (asked, body, None)
        );
        assert_eq!(inlet.put_replicated(&replicated, HOUR / 2, || true), Ok(ReplicatedOutcome::Applied));
        assert_eq!(
            (text(&view).as_str(), view.app("a").unwrap().fault.clone()),
            ("", replicated.fault.clone())
        );
    }
}

#[test]
fn a_push_that_waited_lets_no_other_app_expire() {
    let (inlet, view) = store("m 1\n");
    for second in 1..3_600 {
        assert!(inlet.expire(at(1_000 * second)).is_empty(), "second {second}");
        inlet
            .put(update("late", "n 1\n", 1_000 * second - 30_000), PutOptions::PUSHED)
            .unwrap();
    }
    assert_eq!(inlet.expire(at(3_600_000)), [name()]);
    assert_eq!(view.totals().apps, 1);
}
