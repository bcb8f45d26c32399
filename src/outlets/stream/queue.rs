//! The message queue of one client.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::batch::{Batch, Outgoing, Progress};
use crate::model::Topics;

/// Bytes that may wait for one client beside the bound on messages, which may be large; a single message is always taken.
pub(super) const MAX_QUEUED_BYTES: usize = 16 << 20;

/// A bounded queue of messages.
#[derive(Debug)]
pub(super) struct ClientQueue {
    /// The topics that the client gets.
    topics: Topics,
    /// The most messages not yet written, those being written included.
    limit: usize,
    /// Held for a push or a swap, never across an await.
    state: Mutex<ClientQueueState>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct ClientQueueState {
    batches: VecDeque<Batch>,
    /// Messages and bytes not yet written.
    messages: usize,
    bytes: usize,
    dropped: u64,
    closed: bool,
}

impl ClientQueue {
    pub(super) fn new(topics: Topics, limit: usize) -> Self {
        Self {
            topics,
            limit,
            state: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    pub(super) fn topics(&self) -> Topics {
        self.topics
    }

    fn state(&self) -> MutexGuard<'_, ClientQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the messages for which there is room, the first ones first, and says how many were dropped.
    pub(super) fn offer(&self, batch: &Batch) -> u64 {
        let mut state = self.state();
        let bytes = if state.messages == 0 {
            usize::MAX
        } else {
            MAX_QUEUED_BYTES.saturating_sub(state.bytes)
        };
        let fitting = batch.first(self.limit.saturating_sub(state.messages), bytes);
        let dropped = (batch.messages() - fitting.as_ref().map_or(0, Batch::messages)) as u64;
        state.dropped += dropped;
        if let Some(fitting) = fitting {
            state.messages += fitting.messages();
            state.bytes += fitting.len();
            state.batches.push_back(fitting);
            drop(state);
            self.arrived.notify_one();
        }
        dropped
    }

    /// Moves all that waits into `out`; waits until there is something while `out` is empty. False once the queue is closed and `out` is empty.
    pub(super) async fn take(&self, out: &mut Outgoing) -> bool {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = self.state();
                out.extend(state.batches.drain(..));
                if !out.is_empty() || state.closed {
                    return !out.is_empty();
                }
            }
            arrived.await;
        }
    }

    /// Makes room for as many messages as were written.
    pub(super) fn written(&self, progress: &Progress) {
        if progress.messages > 0 {
            let mut state = self.state();
            state.messages -= progress.messages;
            state.bytes -= progress.bytes;
        }
    }

    /// Ends the queue behind what is in it.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
    }

    /// Messages dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.state().dropped
    }
}

#[cfg(test)]
mod tests;
