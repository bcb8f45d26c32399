#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use bytes::Bytes;

use super::*;
use crate::model::{AppName, Format, Origin, Timestamp, Update};
use crate::store::{EventOptions, Inlet, Limits, Mode, PutOptions, open};

fn put(inlet: &Inlet, app: &str) {
    let update = Update {
        app: AppName::new(app).unwrap(),
        body: Bytes::from_static(b"a 1\n"),
        syntax: None,
        records: Bytes::new(),
        read: None,
        labels: [].into(),
        origin: Origin {
            source: "s".into(),
            format: Format::Push,
        },
        at: Timestamp::from_millis(1),
    };
    inlet.put(update, PutOptions::PUSHED).unwrap();
}

fn listings() -> (Inlet, Arc<ListingCache>) {
    let (inlet, view) = open(Limits::default(), Mode::Raw, EventOptions::default());
    (inlet, Arc::new(ListingCache::new(view, || Timestamp::from_millis(2))))
}

/// The number of apps in a listing of JSON.
fn names(listing: &Listing) -> usize {
    String::from_utf8(listing.row.concat()).unwrap().matches("\"name\"").count()
}

#[tokio::test(start_paused = true)]
async fn a_selection_counts_all_apps_and_lists_the_first() {
    let (inlet, listings) = listings();
    ["a", "b", "c"].iter().for_each(|app| put(&inlet, app));
    let filter = |q: &str| AppFilter {
        q: Some(q.to_owned()),
        ..AppFilter::default()
    };
    let (all, one) = (
        listings.select(AppFilter::default(), 2).await,
        listings.select(filter("B"), 2).await,
    );
    assert_eq!((all.listed.len(), all.named, all.counts.apps()), (2, 3, 3));
    assert_eq!((one.listed.len(), one.named, one.counts.apps()), (1, 1, 3));
    let more = listings.select(AppFilter::default(), 3).await;
    assert_eq!(more.listed.len(), 3, "a longer selection is not cut short by a cached one");
    assert!(
        Arc::ptr_eq(&more, &listings.select(AppFilter::default(), 2).await),
        "a longer one serves for a shorter one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_selection_keeps_no_replaced_text_for_long() {
    let (inlet, listings) = listings();
    put(&inlet, "a");
    let selection = listings.select(AppFilter::default(), 1).await;
    let app = Arc::downgrade(&selection.listed[0].0);
    drop(selection);
    put(&inlet, "a");
    assert!(app.upgrade().is_some());
    sleep(STANDS * 2).await;
    assert!(app.upgrade().is_none(), "the replaced app is still held");
}

#[test]
fn few_applications_are_listed_as_they_are_and_many_as_they_were_a_moment_ago() {
    let millis = Duration::from_millis;
    assert!(stands(millis(999), true, 5) && !stands(millis(1_000), true, 5));
    assert!(!stands(Duration::ZERO, false, SMALL));
    assert!(stands(millis(199), false, 10_000) && !stands(millis(200), false, 10_000));
    assert!(stands(millis(1_999), true, 100_000) && !stands(millis(2_000), true, 100_000));
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_prepared_once_for_all_who_ask() {
    let (inlet, listings) = listings();
    put(&inlet, "a");
    let (one, other) = tokio::join!(listings.get(ListingFormat::Json), listings.get(ListingFormat::Json));
    assert!(Arc::ptr_eq(&one, &other));
    put(&inlet, "b");
    let second = listings.get(ListingFormat::Json).await;
    assert_eq!((names(&one), names(&second)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_compressed_once_for_all_who_ask() {
    use crate::exposition::gzip::join;

    let (inlet, listings) = listings();
    (0..100).for_each(|number| put(&inlet, &format!("app {number}")));
    let listing = listings.get(ListingFormat::Json).await;
    let (one, other) = tokio::join!(listings.compressed(&listing), listings.compressed(&listing));
    // The same slices, and not only equal ones.
    let [one, other] = [one, other].map(|piece| join([&piece]).remove(1));
    assert!(Arc::ptr_eq(&one, &other));
    assert!(one.iter().map(Bytes::len).sum::<usize>() < listing.len() / 4);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_was_only_announced_is_listed() {
    let (inlet, listings) = listings();
    assert_eq!(names(&*listings.get(ListingFormat::Json).await), 0);
    let origin = Origin {
        source: "s".into(),
        format: Format::Poll,
    };
    inlet
        .register(AppName::new("a").unwrap(), origin, Timestamp::from_millis(1))
        .unwrap();
    assert_eq!(names(&*listings.get(ListingFormat::Json).await), 1);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_is_not_asked_for_is_forgotten() {
    let (_inlet, listings) = listings();
    listings.get(ListingFormat::Table).await;
    let is_kept = || listings.places[ListingFormat::Table as usize].kept().is_some();
    sleep(KEPT - Duration::from_millis(1)).await;
    assert!(is_kept());
    sleep(Duration::from_millis(2)).await;
    assert!(!is_kept());
}
