//! One timer for deadlines that move all the time.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is reset only for an earlier deadline. A later deadline is noticed when the old one fires, so a connection with thousands
/// of requests per second hardly touches the timer wheel.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once `deadline` has passed.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                self.0 = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
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
}
