#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::Format;

fn example() -> ReplicatedApp {
    ReplicatedApp {
        app: AppName::new("shop").unwrap(),
        origin: Origin {
            source: "http 10.0.0.1:6555".into(),
            format: Format::Push,
        },
        first_seen: Timestamp::from_millis(5),
        updated: Some(Timestamp::from_millis(9)),
        expires: true,
        expire_after: Some(Duration::from_secs(300)),
        withdrawn: false,
        fault: Some("poll failed".into()),
        labels: [("site".into(), "north".into())].into(),
        syntax: Syntax::OpenMetrics,
        body: Bytes::from_static(b"up 1\n# EOF\n"),
        records: Bytes::from_static(b"native"),
        labelled: vec![FamilyKey::from(&b"up"[..])],
    }
}

#[test]
fn an_app_comes_back_from_its_bytes() {
    let app = example();
    assert_eq!(ReplicatedApp::decode(&app.encode()), Some(app));
}

#[test]
fn an_app_expires_at_its_own_age_or_at_that_of_all() {
    let (own, all) = (Duration::from_secs(90), Duration::from_secs(60));
    let app = |expires, expire_after| ReplicatedApp {
        expires,
        expire_after,
        ..example()
    };
    assert_eq!(app(true, Some(own)).expiry(Some(all)), Some(own));
    assert_eq!(app(true, None).expiry(Some(all)), Some(all));
    assert_eq!(app(true, None).expiry(None), None);
    assert_eq!(
        app(false, Some(own)).expiry(Some(all)),
        None,
        "a polled app is withdrawn by its source"
    );
}

#[test]
fn a_part_of_a_later_version_is_skipped_and_another_version_is_refused() {
    let app = example();
    let mut bytes = app.encode();
    bytes.extend([99, 3, 1, 2, 3]);
    assert_eq!(ReplicatedApp::decode(&bytes), Some(app));
    bytes[0] = 2;
    assert_eq!(ReplicatedApp::decode(&bytes), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200usize) {
        let _ = ReplicatedApp::decode(&bytes);
        let mut whole = example().encode();
        whole.truncate(cut);
        let _ = ReplicatedApp::decode(&whole);
    }
}

/// The time of a removal.
const REMOVED: Option<Timestamp> = Some(Timestamp::from_millis(7));

fn app(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

#[test]
fn changes_are_taken_in_order_and_one_app_is_never_written_twice_at_once() {
    let changes = LocalChanges::new(true);
    changes.mark(&app("a"), None);
    changes.mark(&app("b"), None);
    changes.mark(&app("a"), REMOVED);
    let taken = changes.take(10);
    let expected = |name: &str, removed| LocalChange {
        app: app(name),
        removed,
        delayed: false,
    };
    assert_eq!(taken, [expected("a", REMOVED), expected("b", None)]);
    changes.mark(&app("a"), None);
    assert!(changes.take(10).is_empty(), "its first write is not settled");
    changes.settle(&app("b"), Settlement::Stored);
    assert!(changes.is_pending(&app("a")) && !changes.is_pending(&app("b")));
    changes.settle(&app("a"), Settlement::Stored);
    assert_eq!(changes.take(10), [expected("a", None)]);
}

#[test]
fn what_could_not_be_written_counts_as_delayed() {
    let changes = LocalChanges::new(true);
    changes.mark(&app("a"), None);
    drop(changes.take(1));
    changes.settle(&app("a"), Settlement::Retry);
    assert!(changes.take(1)[0].delayed);
    changes.mark(&app("b"), None);
    changes.set_away(true);
    changes.mark(&app("c"), None);
    changes.set_away(false);
    assert!(changes.take(2).iter().all(|change| change.delayed));
}

#[tokio::test]
async fn a_request_waits_for_its_change_and_not_for_an_engine_that_is_away() {
    let changes = Arc::new(LocalChanges::new(true));
    assert!(changes.stored(&app("a")).await, "nothing to wait for");
    changes.mark(&app("a"), None);
    let waiting = tokio::spawn({
        let changes = Arc::clone(&changes);
        async move { changes.stored(&app("a")).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(changes.take(1));
    changes.settle(&app("a"), Settlement::Stored);
    assert!(waiting.await.unwrap());
    changes.mark(&app("a"), None);
    let waiting = tokio::spawn({
        let changes = Arc::clone(&changes);
        async move { changes.stored(&app("a")).await }
    });
    tokio::task::yield_now().await;
    changes.set_away(true);
    assert!(!waiting.await.unwrap());
    assert!(!changes.stored(&app("a")).await);
    assert!(LocalChanges::new(false).stored(&app("a")).await);
}

#[test]
fn removals_of_apps_that_are_gone_are_bounded() {
    let changes = LocalChanges::new(true);
    for n in 0..=100_000 {
        changes.mark(&app(&format!("job-{n}")), REMOVED);
    }
    assert_eq!(changes.pending(), 100_000);
    assert!(!changes.is_pending(&app("job-0")));
}
