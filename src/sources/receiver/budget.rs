//! Memory budget for incomplete messages, shared by all connections of all receivers; polls have one of their own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::http::MemoryBudget;

/// Bytes that each connection may buffer without the budget, so that messages of usual size never wait. The number of connection slots
/// bounds the sum.
pub const FREE_BYTES: usize = 32 * 1024;

/// Counts the bytes of incomplete messages, and makes readers wait at the limit.
///
/// One connection at a time may exceed the limit by at most one message, to prevent a deadlock of connections that wait for each other.
#[derive(Debug)]
pub struct Budget {
    /// Bytes that each reservation has without the budget.
    free: usize,
    state: Mutex<BudgetState>,
    freed: Notify,
}

#[derive(Debug)]
struct BudgetState {
    limit: usize,
    used: usize,
    limit_exceeded: bool,
}

/// The share of one connection in the budget, released on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
    exceeds_limit: bool,
}

impl Budget {
    /// A budget of `limit` bytes, from which each connection takes what it buffers beyond [`FREE_BYTES`].
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Self::with_free(limit, FREE_BYTES)
    }

    /// A budget of `limit` bytes, from which each connection takes what it buffers beyond `free` bytes.
    #[must_use]
    pub fn with_free(limit: usize, free: usize) -> Arc<Self> {
        Arc::new(Self {
            free,
            state: Mutex::new(BudgetState {
                limit,
                used: 0,
                limit_exceeded: false,
            }),
            freed: Notify::new(),
        })
    }

    /// Changes the limit; existing shares are kept.
    pub fn set_limit(&self, limit: usize) {
        self.state().limit = limit;
        self.freed.notify_waiters();
    }

    /// An empty share for one connection.
    #[must_use]
    pub fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation {
            budget: Arc::clone(self),
            bytes: 0,
            exceeds_limit: false,
        }
    }

    fn state(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Reserves memory for a buffer of `bytes`; waits for other connections at the limit.
    pub async fn reserve(&mut self, bytes: usize) {
        let wanted = bytes.saturating_sub(self.budget.free);
        if wanted <= self.bytes {
            return;
        }
        let budget = Arc::clone(&self.budget);
        loop {
            // Registered before the check, so that a release in between is not missed.
            let freed = budget.freed.notified();
            if self.take(wanted, true) {
                return;
            }
            freed.await;
        }
    }

    /// As [`Reservation::reserve`], but only if the budget has room for it now. Returns false if it does not.
    pub fn try_reserve(&mut self, bytes: usize) -> bool {
        let wanted = bytes.saturating_sub(self.budget.free);
        wanted <= self.bytes || self.take(wanted, false)
    }

    fn take(&mut self, wanted: usize, may_exceed: bool) -> bool {
        let mut state = self.budget.state();
        let more = wanted - self.bytes;
        if !self.exceeds_limit && state.used.saturating_add(more) > state.limit {
            if state.limit_exceeded || !may_exceed {
                return false;
            }
            (state.limit_exceeded, self.exceeds_limit) = (true, true);
        }
        state.used += more;
        self.bytes = wanted;
        true
    }

    /// Releases the memory beyond a buffer of `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let wanted = bytes.saturating_sub(self.budget.free);
        if wanted >= self.bytes {
            return;
        }
        let mut state = self.budget.state();
        state.used -= self.bytes - wanted;
        self.bytes = wanted;
        if self.exceeds_limit && (wanted == 0 || state.used <= state.limit) {
            (state.limit_exceeded, self.exceeds_limit) = (false, false);
        }
        drop(state);
        self.budget.freed.notify_waiters();
    }
}

impl MemoryBudget for Reservation {
    async fn reserve(&mut self, bytes: usize) {
        Self::reserve(self, bytes).await;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.used -= self.bytes;
        state.limit_exceeded &= !self.exceeds_limit;
        drop(state);
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
