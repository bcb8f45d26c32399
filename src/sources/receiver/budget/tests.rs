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
