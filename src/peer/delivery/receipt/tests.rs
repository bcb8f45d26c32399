//! Unit tests of `delivery_receipt.rs`.

use super::*;

#[test]
fn unreported_deliveries_are_bounded_and_removed_once_reported() {
    let unreported = UnreportedDeliveries::default();
    for n in 0..300 {
        unreported.add(ScrapeId(n));
    }
    let reported = unreported.list();
    assert_eq!((reported.len(), reported[0]), (MAX_UNREPORTED, ScrapeId(44)));
    unreported.add(ScrapeId(1_000));
    unreported.mark_reported(&reported);
    assert_eq!(unreported.list(), [ScrapeId(1_000)]);
}

#[test]
fn numbers_differ() {
    let ids = ScrapeIds::default();
    assert_ne!(ids.next(), ids.next());
}
