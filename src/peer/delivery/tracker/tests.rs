//! Unit tests of `delivery_tracker.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn head(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
}

fn asked(tracker: &DeliveryTracker, peer: u8, pairs: &[(HeaderName, &str)]) -> Arc<StreamDelivery> {
    let delivery = StreamDelivery::open(PublicKey::new([peer; 32]), tracker.clone(), Arc::default());
    delivery.on_request(&Uri::from_static("/metrics"), &head(pairs));
    delivery
}

#[test]
fn an_answer_is_delivered_when_its_own_scraper_says_so_on_any_stream() {
    let tracker = DeliveryTracker::default();
    let first = asked(&tracker, 1, &[(SCRAPE, "00000000000000a1")]);
    let others = asked(&tracker, 2, &[(SCRAPE, "00000000000000a1"), (DELIVERED, "a1")]);
    // A report of another peer is ignored, and so is a report of a scrape in its own request.
    assert_eq!((first.unacked().unwrap(), others.unacked().unwrap()), (1, 1));
    let next = asked(&tracker, 1, &[(SCRAPE, "a2"), (DELIVERED, "ff, a1,x")]);
    assert_eq!((first.unacked().unwrap(), next.unacked().unwrap()), (0, 1));
    tracker.delivered(PublicKey::new([1; 32]), ScrapeId(0xa2));
    assert_eq!(next.unacked().unwrap(), 0);
}

#[test]
fn closed_accounts_leave_nothing_behind() {
    let tracker = DeliveryTracker::default();
    for n in 0..MAX_PENDING * 2 {
        drop(asked(&tracker, 1, &[(SCRAPE, &ScrapeId(n as u64).to_string())]));
    }
    assert!(tracker.lock().is_empty());
    let kept: Vec<_> = (0..MAX_PENDING + 10)
        .map(|n| asked(&tracker, 1, &[(SCRAPE, &ScrapeId(n as u64).to_string())]))
        .collect();
    assert_eq!(tracker.lock().len(), MAX_PENDING);
    drop(kept);
}
