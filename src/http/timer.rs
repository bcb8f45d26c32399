//! One timer for deadlines that move all the time.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is set anew only when a deadline comes nearer: one that moves away is found out when the old one fires, so a connection
/// that answers thousands of requests a second touches the clock's wheel hardly ever.
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

    #[tokio::test(start_paused = true)]
    async fn deadlines_may_move_both_ways() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut timer = Timer::default();
        for (first, then) in [(10, 5), (7, 20), (30, 30)] {
            let mut looked = false;
            poll_fn(|cx| {
                // The first look asks for one time, each later one for another.
                let deadline = if looked { at(then) } else { at(first) };
                looked = true;
                let looked_at = timer.poll_until(cx, deadline);
                assert_eq!(
                    looked_at.is_ready(),
                    begun.elapsed() >= Duration::from_secs(then.max(1)) && Instant::now() >= deadline
                );
                if looked_at.is_pending() {
                    return timer.poll_until(cx, at(then));
                }
                looked_at
            })
            .await;
            assert_eq!(begun.elapsed(), Duration::from_secs(then));
        }
    }
}
