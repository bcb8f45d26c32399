//! Polls a future again at once when it has woken itself.
//!
//! HTTP hands the body of a request to its handler through a channel within one task, and both ends wake that task while it runs. The runtime
//! would put the task at the end of its queue and wake an idle thread for it, so that a small push would go on on another core, with cold
//! caches, after two more system calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The most polls in a row: a push of one read takes three. Further ones wait for their turn.
const MAX_POLLS: usize = 16;

/// The waker of one future, and whether it was used while the future was polled.
pub(super) struct SelfWakes {
    state: Arc<State>,
    waker: Waker,
}

#[derive(Default)]
struct State {
    /// The task that polls the future.
    task: AtomicWaker,
    is_polled: AtomicBool,
    is_woken: AtomicBool,
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In this order, which is the opposite of the poller's: one of the two sees what the other has stored.
        self.is_woken.store(true, Ordering::SeqCst);
        if !self.is_polled.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl SelfWakes {
    pub(super) fn new() -> Self {
        let state = Arc::new(State::default());
        let waker = Waker::from(Arc::clone(&state));
        Self { state, waker }
    }

    /// Calls `poll`, and again while it was woken meanwhile and `may_repeat` allows it.
    pub(super) fn poll<T>(
        &self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
        may_repeat: impl Fn() -> bool,
    ) -> Poll<T> {
        let State { task, is_polled, is_woken } = &*self.state;
        task.register(cx.waker());
        for _ in 0..MAX_POLLS {
            is_woken.store(false, Ordering::SeqCst);
            is_polled.store(true, Ordering::SeqCst);
            let polled = poll(&mut Context::from_waker(&self.waker));
            is_polled.store(false, Ordering::SeqCst);
            if polled.is_ready() || !is_woken.load(Ordering::SeqCst) {
                return polled;
            }
            if !may_repeat() {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
