#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::Pin;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{Client, Event, Format, LabelSet, ScraperId};
use crate::store::{EventOptions, Limits, Mode, OriginId, Scrape, View, open};

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
fn a_record_without_data_takes_the_place_of_data() {
    let (inlet, view) = open(Limits::default(), Mode::Raw, EventOptions::default());
    let listed = ReplicatedApp {
        updated: None,
        body: Bytes::new(),
        ..example()
    };
    assert_eq!(
        inlet.put_replicated(&listed, Duration::ZERO, || true),
        Ok(ReplicatedOutcome::Applied)
    );
    assert!(!view.app("shop").unwrap().withdrawn, "it had no data");
    assert_eq!(
        inlet.put_replicated(&example(), Duration::ZERO, || true),
        Ok(ReplicatedOutcome::Applied)
    );
    assert_eq!(view.app("shop").unwrap().text.body(), "up 1\n# EOF\n");
    assert_eq!(
        inlet.put_replicated(&listed, Duration::ZERO, || true),
        Ok(ReplicatedOutcome::Applied)
    );
    let app = view.app("shop").unwrap();
    assert!(app.withdrawn && app.text.body().is_empty());
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

/// A replica with an event for any scraper, and its way to the engine.
async fn replica_with_an_event() -> (View, SharedEvents) {
    let options = EventOptions {
        replica: Some(OriginId::from_bytes([1; 16])),
        ..EventOptions::default()
    };
    let (inlet, view) = open(Limits::default(), Mode::Raw, options);
    let shared = inlet.share_events(WhenEngineAway::Accept, false).unwrap();
    shared.set_away(false);
    let labels = LabelSet::new(vec![("type".into(), "deploy".into())]).unwrap();
    inlet.emit(Event { labels, value: 1.0 }, None, &client(), NOW).await.unwrap();
    // The engine has given it back.
    shared.confirm(1);
    (view, shared)
}

const NOW: Timestamp = Timestamp::from_millis(9);

fn client() -> Client {
    Client::Ip("127.0.0.1".parse().unwrap())
}

/// A scrape that waits for a lease, and its request.
async fn asking<'a>(
    view: &'a View,
    shared: &SharedEvents,
    (who, from): (&'a ScraperId, &'a Client),
) -> (Pin<Box<impl Future<Output = Scrape> + 'a>>, LeaseRequest) {
    let mut scrape = Box::pin(view.scrape_shared(who, from, NOW));
    assert!(futures_util::poll!(&mut scrape).is_pending());
    (scrape, shared.scrape().await)
}

#[tokio::test]
async fn a_lease_is_given_back_if_its_scrape_ends_in_the_moment_it_is_granted() {
    let (view, shared) = replica_with_an_event().await;
    let (who, from) = (ScraperId::new("a").unwrap(), client());
    let (scrape, request) = asking(&view, &shared, (&who, &from)).await;
    let lease = request.lease;
    drop(shared.take_unshared(10));
    request.grant(None);
    // The answer is there, and nothing has read it.
    drop(scrape);
    let released: Vec<_> = shared.take_unshared(10).into_iter().map(|scraper| scraper.release).collect();
    assert_eq!(released, [Some(lease)]);
    assert!(shared.active_leases().is_empty());
}

#[tokio::test]
async fn a_lease_is_given_back_if_its_scrape_has_ended_before() {
    let (view, shared) = replica_with_an_event().await;
    let (who, from) = (ScraperId::new("a").unwrap(), client());
    let (scrape, request) = asking(&view, &shared, (&who, &from)).await;
    drop(scrape);
    assert!(request.is_over());
    let lease = request.lease;
    drop(shared.take_unshared(10));
    request.grant(None);
    let released: Vec<_> = shared.take_unshared(10).into_iter().map(|scraper| scraper.release).collect();
    assert_eq!(released, [Some(lease)]);
}

#[tokio::test]
async fn a_lease_that_is_used_is_kept_until_its_events_are_settled() {
    let (view, shared) = replica_with_an_event().await;
    let (who, from) = (ScraperId::new("a").unwrap(), client());
    let (scrape, request) = asking(&view, &shared, (&who, &from)).await;
    let lease = request.lease;
    request.grant(None);
    let scraped = scrape.await;
    assert_eq!(scraped.events.len(), 1);
    assert!(shared.is_active(lease));
    assert!(shared.take_unshared(10).iter().all(|scraper| scraper.release.is_none()));
    drop(scraped);
    assert!(!shared.is_active(lease));
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
