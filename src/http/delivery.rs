//! Delivery outcome of a response.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::connection::SharedConnection;

/// Delivery outcome of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The client has received all of it.
    Acked,
    /// It may not have; what it held is due again.
    Unacked,
}

type Settle = Box<dyn FnOnce(DeliveryOutcome) + Send>;

/// The outcome of one response, decided and reported once.
///
/// Deciding and reporting are two steps, because a decision is made under the lock of a connection and the callback runs without it. A
/// thread that asks between the two steps gets the outcome that was decided, and never decides again.
pub(super) struct TrackedResponse {
    decided: OnceLock<DeliveryOutcome>,
    /// The callback, until it has run.
    settle: Mutex<Option<Settle>>,
    /// See [`Delivery::allow_reset`].
    may_be_reset: AtomicBool,
}

impl TrackedResponse {
    pub(super) fn new(settle: impl FnOnce(DeliveryOutcome) + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            decided: OnceLock::new(),
            settle: Mutex::new(Some(Box::new(settle))),
            may_be_reset: AtomicBool::new(false),
        })
    }

    /// See [`Delivery::allow_reset`].
    pub(super) fn may_be_reset(&self) -> bool {
        self.may_be_reset.load(Ordering::Relaxed)
    }

    /// Decides the outcome, unless it was decided before. The callback does not run yet.
    pub(super) fn decide(&self, outcome: DeliveryOutcome) -> DeliveryOutcome {
        *self.decided.get_or_init(|| outcome)
    }

    /// Decides the outcome, unless it was decided before, runs the callback, unless it has run before, and returns the outcome.
    ///
    /// The callback runs under the lock of the callback, so it has run when this returns.
    pub(super) fn settle(&self, outcome: DeliveryOutcome) -> DeliveryOutcome {
        let outcome = self.decide(outcome);
        let mut callback = self.callback();
        if let Some(settle) = callback.take() {
            settle(outcome);
        }
        outcome
    }

    /// Returns the outcome once the callback has run.
    pub(super) fn outcome(&self) -> Option<DeliveryOutcome> {
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
    pub fn outcome(&self) -> Option<DeliveryOutcome> {
        self.tracked.outcome()
    }

    /// Decides now, because the same client has come back on another connection.
    ///
    /// [`DeliveryOutcome::Acked`] where the response was written whole and the peer's kernel has acknowledged all of it, else
    /// [`DeliveryOutcome::Unacked`]; none while the response is still being written, because then it is simply another scrape at the same time.
    /// The callback has run when this returns an outcome; call it with no lock held that the callback takes.
    #[must_use]
    pub fn settle_now(&self) -> Option<DeliveryOutcome> {
        if let Some(outcome) = self.outcome() {
            return Some(outcome);
        }
        match self.shared.upgrade() {
            Some(shared) => shared.settle_now(&self.tracked),
            None => Some(self.tracked.settle(DeliveryOutcome::Unacked)),
        }
    }
}

impl Delivery {
    /// From now on a reset is no doubt, if the response was written whole and the peer's kernel had acknowledged all of it: a balancer resets
    /// a connection for which it has no use at once after the response. It goes with [`Delivery::settle_if_acked`], which decides the same if it
    /// comes first.
    pub fn allow_reset(&self) {
        self.tracked.may_be_reset.store(true, Ordering::Relaxed);
    }

    /// Decides [`DeliveryOutcome::Acked`] now where the response was written whole and the peer's kernel has acknowledged all of it; otherwise
    /// the outcome stays open. For clients that may send their next request to another machine. Call it with no lock held that the callback takes.
    pub fn settle_if_acked(&self) {
        if self.outcome().is_none()
            && let Some(shared) = self.shared.upgrade()
        {
            shared.settle_if_acked(&self.tracked);
        }
    }

    /// Calls [`Delivery::settle_if_acked`] at this interval until the outcome is decided. For a caller that does not keep its deliveries.
    pub async fn settle_when_acked(self, every: Duration) {
        // The connection decides at its end.
        while self.outcome().is_none() && self.shared.strong_count() > 0 {
            tokio::time::sleep(every).await;
            self.settle_if_acked();
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.outcome()).finish()
    }
}

#[cfg(test)]
mod tests;
