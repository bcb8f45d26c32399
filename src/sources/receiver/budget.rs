//! Memory budget for incomplete messages, shared by all connections of all receivers; polls have one of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::http::MemoryBudget;

/// Bytes that each connection may buffer without the budget, so that messages of usual size never wait. The number of connection slots
/// bounds the sum.
pub const FREE_BYTES: usize = 32 * 1024;

/// Counts the bytes of incomplete messages, and makes readers wait at the limit.
///
/// One connection at a time may exceed the limit by at most one message, to prevent a deadlock of connections that wait for each other.
///
/// While its client hardly sends, a reader [offers](Reservation::asked_back) its share. While others wait, the largest of those shares is asked back,
/// one after another: what a client has sent and left unfinished must not keep the messages of others for minutes.
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
    /// Callers of [`Reservation::reserve`] that have found no room.
    waiting: usize,
    /// Offered shares by their size. Bounded by the connections, as the numbers of their offers.
    offered: BTreeMap<(usize, u64), Arc<Notify>>,
    offers: u64,
    /// The offer that was asked back, until its share is released or kept.
    asked: Option<u64>,
}

/// The share of one connection in the budget, released on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
    exceeds_limit: bool,
    /// The offer of this share, if it was asked back.
    asked: Option<u64>,
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
                waiting: 0,
                offered: BTreeMap::new(),
                offers: 0,
                asked: None,
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
            asked: None,
        }
    }

    fn state(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BudgetState {
    /// Asks for the largest offered share, if a reader waits and no share is on its way back.
    fn ask(&mut self) {
        if self.waiting == 0 || self.asked.is_some() {
            return;
        }
        if let Some((&(_, number), notify)) = self.offered.last_key_value() {
            notify.notify_one();
            self.asked = Some(number);
        }
    }
}

/// Counts a reader as waiting until it is dropped.
struct MemoryWait<'a>(&'a Budget);

impl<'a> MemoryWait<'a> {
    fn new(budget: &'a Budget) -> Self {
        budget.state().waiting += 1;
        Self(budget)
    }
}

impl Drop for MemoryWait<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// Lists a share as offered until it is dropped.
struct Offer<'a> {
    budget: &'a Budget,
    key: (usize, u64),
    asked: Arc<Notify>,
    /// True once the reader has learnt that its share is asked back.
    is_known: bool,
}

impl<'a> Offer<'a> {
    fn new(budget: &'a Budget, bytes: usize) -> Self {
        let (mut state, asked) = (budget.state(), Arc::new(Notify::new()));
        state.offers += 1;
        let key = (bytes, state.offers);
        state.offered.insert(key, Arc::clone(&asked));
        state.ask();
        drop(state);
        Self {
            budget,
            key,
            asked,
            is_known: false,
        }
    }

    /// Returns true if a reader still waits for the share that was asked back.
    fn is_wanted(&mut self) -> bool {
        let mut state = self.budget.state();
        self.is_known = state.waiting > 0;
        if !self.is_known {
            state.asked = None;
        }
        self.is_known
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.offered.remove(&self.key);
        if !self.is_known && state.asked == Some(self.key.1) {
            state.asked = None;
            state.ask();
        }
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
        let mut waiting = None;
        loop {
            // Registered before the check, so that a release in between is not missed.
            let freed = budget.freed.notified();
            if self.take(wanted, true) {
                return;
            }
            waiting.get_or_insert_with(|| MemoryWait::new(&budget));
            budget.state().ask();
            freed.await;
        }
    }

    /// Offers the share while its client hardly sends. Resolves once another reader waits for memory and this is the largest share that is
    /// offered: the caller releases it, by dropping it, or [keeps](Reservation::keep) it.
    pub async fn asked_back(&mut self) {
        if self.bytes == 0 {
            return std::future::pending().await;
        }
        let mut offer = Offer::new(&self.budget, self.bytes);
        loop {
            offer.asked.notified().await;
            if offer.is_wanted() {
                self.asked = Some(offer.key.1);
                return;
            }
        }
    }

    /// Keeps the share that was asked back, because more of the message has arrived. Another one is asked back.
    pub fn keep(&mut self) {
        if self.asked.take().is_some() {
            let mut state = self.budget.state();
            state.asked = None;
            state.ask();
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
        if self.asked.take().is_some() {
            state.asked = None;
        }
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

    async fn asked_back(&mut self) {
        Self::asked_back(self).await;
    }

    fn keep(&mut self) {
        Self::keep(self);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        if self.asked.is_some() {
            state.asked = None;
        }
        state.used -= self.bytes;
        state.limit_exceeded &= !self.exceeds_limit;
        drop(state);
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
