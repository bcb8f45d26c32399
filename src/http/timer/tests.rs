use std::future::poll_fn;
use std::time::Duration;

use super::*;

/// Looks once, on its way to `deadline`, at what is asked for then.
async fn look(timer: &mut Timer, deadline: Instant) -> bool {
    poll_fn(|cx| Poll::Ready(timer.poll_until(cx, deadline).is_ready())).await
}

#[tokio::test(start_paused = true)]
async fn deadlines_may_move_both_ways() {
    for (first, then) in [(10, 5), (7, 20), (30, 30)] {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut timer = Timer::default();
        assert!(!look(&mut timer, at(first)).await);
        poll_fn(|cx| timer.poll_until(cx, at(then))).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(then));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_is_ready_at_once_and_the_next_one_counts_anew() {
    let mut timer = Timer::default();
    let now = Instant::now();
    assert!(look(&mut timer, now).await);
    assert!(!look(&mut timer, now + Duration::from_secs(1)).await);
}
