use super::*;
use futures_util::FutureExt as _;

const KIB: usize = 1024;

#[test]
fn small_buffers_never_wait() {
    let budget = Budget::new(0);
    let (mut a, mut b) = (budget.reservation(), budget.reservation());
    assert!(a.reserve(FREE_BYTES).now_or_never().is_some());
    assert!(b.reserve(FREE_BYTES).now_or_never().is_some());
}

#[test]
fn a_budget_has_free_bytes_of_its_own() {
    let budget = Budget::with_free(KIB, 5);
    let (mut a, mut b) = (budget.reservation(), budget.reservation());
    assert!(a.try_reserve(5 + KIB) && b.try_reserve(5));
    assert!(!b.try_reserve(6));
    a.shrink_to(5 + KIB - 1);
    assert!(b.try_reserve(6));
}

#[test]
fn one_at_a_time_may_exceed_the_limit() {
    let budget = Budget::new(10 * KIB);
    let (mut a, mut b, mut c) = (budget.reservation(), budget.reservation(), budget.reservation());
    assert!(a.reserve(FREE_BYTES + 8 * KIB).now_or_never().is_some());
    assert!(
        b.reserve(FREE_BYTES + 8 * KIB).now_or_never().is_some(),
        "the first one over the limit may exceed it"
    );
    assert!(
        b.reserve(FREE_BYTES + 80 * KIB).now_or_never().is_some(),
        "and may finish its message"
    );
    assert!(c.reserve(FREE_BYTES + KIB).now_or_never().is_none(), "the next one waits");
    b.shrink_to(0);
    assert!(c.reserve(FREE_BYTES + KIB).now_or_never().is_some());
    drop((a, b, c));
    assert_eq!(budget.state().used, 0);
}

#[test]
fn a_reservation_without_waiting_does_not_exceed_the_limit() {
    let budget = Budget::new(10 * KIB);
    let mut a = budget.reservation();
    assert!(a.try_reserve(FREE_BYTES + 10 * KIB));
    let mut b = budget.reservation();
    assert!(b.try_reserve(FREE_BYTES));
    assert!(!b.try_reserve(FREE_BYTES + 1));
    let state = budget.state();
    assert_eq!((state.used, state.limit_exceeded), (10 * KIB, false));
    drop(state);
}

#[tokio::test]
async fn a_waiter_goes_on_when_another_leaves() {
    let budget = Budget::new(0);
    let mut first = budget.reservation();
    first.reserve(FREE_BYTES + 1).await;
    let mut second = budget.reservation();
    let waiting = tokio::spawn(async move { second.reserve(FREE_BYTES + 1).await });
    tokio::task::yield_now().await;
    drop(first);
    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn a_raised_limit_wakes_the_waiters() {
    let budget = Budget::new(0);
    let mut first = budget.reservation();
    first.reserve(FREE_BYTES + 1).await;
    let mut second = budget.reservation();
    let waiting = tokio::spawn(async move { second.reserve(FREE_BYTES + 1).await });
    tokio::task::yield_now().await;
    budget.set_limit(KIB);
    assert!(waiting.await.is_ok());
    drop(first);
}

/// A budget of 100 KiB that is used up by an offered share of 20 KiB, one of 70 KiB, and one that is not offered.
fn used_up() -> (Arc<Budget>, [Reservation; 3]) {
    let budget = Budget::new(100 * KIB);
    let shares = [20 * KIB, 70 * KIB, 20 * KIB].map(|bytes| {
        let mut share = budget.reservation();
        assert!(share.reserve(FREE_BYTES + bytes).now_or_never().is_some());
        share
    });
    (budget, shares)
}

#[test]
fn the_largest_offered_share_is_asked_back_while_a_reader_waits() {
    let (budget, [mut small, mut large, in_work]) = used_up();
    let mut small_offer = Box::pin(small.asked_back());
    let mut large_offer = Box::pin(large.asked_back());
    assert!(small_offer.as_mut().now_or_never().is_none());
    assert!(large_offer.as_mut().now_or_never().is_none(), "no reader waits");
    let mut waiter = budget.reservation();
    let mut waits = Box::pin(waiter.reserve(FREE_BYTES + 10 * KIB));
    assert!(waits.as_mut().now_or_never().is_none());
    assert!(small_offer.as_mut().now_or_never().is_none());
    assert!(large_offer.as_mut().now_or_never().is_some());
    assert!(small_offer.as_mut().now_or_never().is_none(), "one on its way back is enough");
    drop(large_offer);
    drop(large);
    assert!(waits.as_mut().now_or_never().is_some());
    assert!(small_offer.as_mut().now_or_never().is_none());
    drop((small_offer, waits));
    drop((small, in_work, waiter));
    let state = budget.state();
    assert_eq!((state.used, state.waiting, state.offered.len(), state.asked), (0, 0, 0, None));
}

#[test]
fn while_too_little_is_free_the_next_share_is_asked_back() {
    let (budget, [mut small, mut large, _in_work]) = used_up();
    let mut waiter = budget.reservation();
    let mut waits = Box::pin(waiter.reserve(FREE_BYTES + 70 * KIB));
    assert!(waits.as_mut().now_or_never().is_none());
    assert!(large.asked_back().now_or_never().is_some(), "also one that is offered later");
    let mut small_offer = Box::pin(small.asked_back());
    assert!(small_offer.as_mut().now_or_never().is_none());
    drop(large);
    // The share in work keeps the right to exceed the limit.
    assert!(waits.as_mut().now_or_never().is_none());
    assert!(small_offer.as_mut().now_or_never().is_some());
    drop(small_offer);
    drop(small);
    assert!(waits.as_mut().now_or_never().is_some());
}

#[test]
fn a_share_that_is_kept_gives_its_turn_to_another_one() {
    let (budget, [mut small, mut large, _in_work]) = used_up();
    let mut small_offer = Box::pin(small.asked_back());
    let mut large_offer = Box::pin(large.asked_back());
    assert!(small_offer.as_mut().now_or_never().is_none() && large_offer.as_mut().now_or_never().is_none());
    let mut waiter = budget.reservation();
    let mut waits = Box::pin(waiter.reserve(FREE_BYTES + 10 * KIB));
    assert!(waits.as_mut().now_or_never().is_none());
    assert!(large_offer.as_mut().now_or_never().is_some());
    drop(large_offer);
    assert!(small_offer.as_mut().now_or_never().is_none());
    large.keep();
    assert!(small_offer.as_mut().now_or_never().is_some());
    drop(small_offer);
    small.keep();
    assert!(large.asked_back().now_or_never().is_some(), "it is offered again");
}

#[test]
fn a_reader_that_has_given_up_takes_no_share() {
    let (budget, [mut small, mut large, _in_work]) = used_up();
    let mut large_offer = Box::pin(large.asked_back());
    assert!(large_offer.as_mut().now_or_never().is_none());
    let mut waiter = budget.reservation();
    assert!(waiter.reserve(FREE_BYTES + 10 * KIB).now_or_never().is_none());
    assert!(large_offer.as_mut().now_or_never().is_none());
    let mut small_offer = Box::pin(small.asked_back());
    assert!(small_offer.as_mut().now_or_never().is_none());
    let mut waits = Box::pin(waiter.reserve(FREE_BYTES + 10 * KIB));
    assert!(waits.as_mut().now_or_never().is_none());
    // Its message goes on at the same moment.
    drop(large_offer);
    assert!(small_offer.as_mut().now_or_never().is_some());
}
