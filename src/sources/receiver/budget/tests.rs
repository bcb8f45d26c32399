use super::*;
use futures_util::FutureExt as _;

const KIB: usize = 1024;

#[test]
fn small_buffers_never_wait() {
    let budget = Budget::new(0);
    let (mut a, mut b) = (budget.hold(), budget.hold());
    assert!(a.reserve(FREE_BYTES).now_or_never().is_some());
    assert!(b.reserve(FREE_BYTES).now_or_never().is_some());
}

#[test]
fn one_at_a_time_may_overdraw() {
    let budget = Budget::new(10 * KIB);
    let (mut a, mut b, mut c) = (budget.hold(), budget.hold(), budget.hold());
    assert!(a.reserve(FREE_BYTES + 8 * KIB).now_or_never().is_some());
    assert!(
        b.reserve(FREE_BYTES + 8 * KIB).now_or_never().is_some(),
        "the first one beyond the limit overdraws"
    );
    assert!(
        b.reserve(FREE_BYTES + 80 * KIB).now_or_never().is_some(),
        "and may finish its message"
    );
    assert!(c.reserve(FREE_BYTES + KIB).now_or_never().is_none(), "the next one waits");
    b.keep(0);
    assert!(c.reserve(FREE_BYTES + KIB).now_or_never().is_some());
    drop((a, b, c));
    assert_eq!(budget.state().used, 0);
}

#[test]
fn whoever_does_not_wait_does_not_overdraw() {
    let budget = Budget::new(10 * KIB);
    let mut a = budget.hold();
    assert!(a.try_cover(FREE_BYTES + 10 * KIB));
    let mut b = budget.hold();
    assert!(b.try_cover(FREE_BYTES));
    assert!(!b.try_cover(FREE_BYTES + 1));
    let state = budget.state();
    assert_eq!((state.used, state.overdrawn), (10 * KIB, false));
    drop(state);
}

#[tokio::test]
async fn a_waiter_goes_on_when_another_leaves() {
    let budget = Budget::new(0);
    let mut first = budget.hold();
    first.reserve(FREE_BYTES + 1).await;
    let mut second = budget.hold();
    let waiting = tokio::spawn(async move { second.reserve(FREE_BYTES + 1).await });
    tokio::task::yield_now().await;
    drop(first);
    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn a_raised_limit_wakes_the_waiters() {
    let budget = Budget::new(0);
    let mut first = budget.hold();
    first.reserve(FREE_BYTES + 1).await;
    let mut second = budget.hold();
    let waiting = tokio::spawn(async move { second.reserve(FREE_BYTES + 1).await });
    tokio::task::yield_now().await;
    budget.set_limit(KIB);
    assert!(waiting.await.is_ok());
    drop(first);
}
