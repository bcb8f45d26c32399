//! Delivery outcome of a response.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::connection::SharedConnection;

/// Delivery outcome of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The client has received all of it.
    Confirmed,
    /// It may not have; what it held is due again.
    Returned,
}

type Settle = Box<dyn FnOnce(Fate) + Send>;

/// The outcome of one response, decided and reported once.
///
/// Deciding and reporting are two steps, because a decision is made under the lock of a connection and the callback runs without it. A
/// thread that asks between the two steps gets the outcome that was decided, and never decides again.
pub(super) struct TrackedResponse {
    decided: OnceLock<Fate>,
    /// The callback, until it has run.
    settle: Mutex<Option<Settle>>,
}

impl TrackedResponse {
    pub(super) fn new(settle: impl FnOnce(Fate) + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            decided: OnceLock::new(),
            settle: Mutex::new(Some(Box::new(settle))),
        })
    }

    /// Decides the outcome, unless it was decided before. The callback does not run yet.
    pub(super) fn decide(&self, fate: Fate) -> Fate {
        *self.decided.get_or_init(|| fate)
    }

    /// Decides the outcome, unless it was decided before, runs the callback, unless it has run before, and returns the outcome.
    ///
    /// The callback runs under the lock of the callback, so it has run when this returns.
    pub(super) fn settle(&self, fate: Fate) -> Fate {
        let fate = self.decide(fate);
        let mut callback = self.callback();
        if let Some(settle) = callback.take() {
            settle(fate);
        }
        fate
    }

    /// Returns the outcome once the callback has run.
    pub(super) fn fate(&self) -> Option<Fate> {
        if self.callback().is_some() {
            return None;
        }
        self.decided.get().copied()
    }

    fn callback(&self) -> MutexGuard<'_, Option<Settle>> {
        self.settle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handle to the delivery outcome of one response, from [`Connection::on_delivery`](super::Connection::on_delivery).
///
/// Dropping it has no effect: the connection decides and reports the outcome.
#[derive(Clone)]
pub struct Delivery {
    pub(super) tracked: Arc<TrackedResponse>,
    pub(super) shared: Weak<SharedConnection>,
}

impl Delivery {
    /// The outcome, if it is decided.
    #[must_use]
    pub fn fate(&self) -> Option<Fate> {
        self.tracked.fate()
    }

    /// Decides now, because the same client has come back on another connection.
    ///
    /// [`Fate::Confirmed`] where the response was written whole and the peer's kernel has acknowledged all of it, else
    /// [`Fate::Returned`]; none while the response is still being written, because then it is simply another scrape at the same time.
    /// The callback has run when this returns an outcome; call it with no lock held that the callback takes.
    #[must_use]
    pub fn settle_now(&self) -> Option<Fate> {
        if let Some(fate) = self.fate() {
            return Some(fate);
        }
        match self.shared.upgrade() {
            Some(shared) => shared.settle_now(&self.tracked),
            None => Some(self.tracked.settle(Fate::Returned)),
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.fate()).finish()
    }
}

#[cfg(test)]
mod tests;
