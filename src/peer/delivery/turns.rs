//! Turns of the responses of a link at its send window.
//!
//! Whenever a part of the window is free, QUIC wakes all streams that wait for it, and the first one to run takes all of it. Among forty
//! large responses a small one loses that draw for a tenth of a second. So only a few large responses write at a time, in order.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::PollSemaphore;

/// Bytes at the beginning of a response that need no turn. Most responses for one app are smaller, and never wait for large ones.
const FREE_BYTES: usize = 64 << 10;

/// Large responses that write at the same time. One alone would leave the window empty while it waits for its task to run.
const WRITERS: usize = 4;

/// Bytes of a turn. With forty large responses a round is 10 MiB.
const TURN_BYTES: usize = 256 << 10;

/// A response that was blocked for so long gives up its turn: its reader does not read, and the others must not wait for it.
const BLOCKED_AFTER: Duration = Duration::from_millis(100);

/// The turns of all responses of a link. Cloning clones a handle.
#[derive(Debug, Clone)]
pub(crate) struct LinkTurns(Arc<Semaphore>);

impl Default for LinkTurns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WRITERS)))
    }
}

/// The turns of one response.
#[derive(Debug)]
pub(super) struct ResponseTurns {
    turns: PollSemaphore,
    /// The turn and the bytes that are left of it.
    held: Option<(OwnedSemaphorePermit, usize)>,
    /// Bytes that are left at the beginning.
    free: usize,
    /// Runs while a write with a turn is blocked.
    blocked: Option<Pin<Box<Sleep>>>,
    /// The turn was given up: the next write needs none.
    is_stuck: bool,
}

impl ResponseTurns {
    pub(super) fn new(link: &LinkTurns) -> Self {
        Self {
            turns: PollSemaphore::new(Arc::clone(&link.0)),
            held: None,
            free: FREE_BYTES,
            blocked: None,
            is_stuck: false,
        }
    }

    /// Waits for a turn, and returns the number of bytes that may be written.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.free > 0 {
            return Poll::Ready(self.free);
        }
        if self.is_stuck {
            return Poll::Ready(TURN_BYTES);
        }
        if let Some((_, left)) = &self.held {
            return Poll::Ready(*left);
        }
        // The semaphore is never closed; if it were, nothing would have to wait.
        let turn = ready!(self.turns.poll_acquire(cx));
        self.held = turn.map(|turn| (turn, TURN_BYTES));
        Poll::Ready(TURN_BYTES)
    }

    /// Gives the turn back: all that there was to write is written, and what follows may take its time.
    pub(super) fn release(&mut self) {
        (self.held, self.blocked) = (None, None);
    }

    /// Records the outcome of a write.
    pub(super) fn wrote(&mut self, outcome: &Poll<usize>, cx: &mut Context<'_>) {
        match outcome {
            Poll::Ready(bytes) => {
                self.free = self.free.saturating_sub(*bytes);
                (self.blocked, self.is_stuck) = (None, false);
                self.held = self.held.take().and_then(|(turn, left)| match left.saturating_sub(*bytes) {
                    0 => None,
                    left => Some((turn, left)),
                });
            }
            Poll::Pending if self.held.is_some() => {
                let timer = self.blocked.get_or_insert_with(|| Box::pin(sleep(BLOCKED_AFTER)));
                if timer.as_mut().poll(cx).is_ready() {
                    (self.held, self.blocked, self.is_stuck) = (None, None, true);
                }
            }
            Poll::Pending => {}
        }
    }
}

#[cfg(test)]
mod tests;
