//! What became of a response: whether the client has it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::connection::SharedConnection;

/// What became of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The client has received all of it.
    Confirmed,
    /// It may not have; what it held is due again.
    Returned,
}

type Settle = Box<dyn FnOnce(Fate) + Send>;

/// The place where one response's fate is decided, exactly once.
pub(super) struct TrackedResponse(Mutex<State>);

enum State {
    Open(Settle),
    Settled(Fate),
}

impl TrackedResponse {
    pub(super) fn new(settle: impl FnOnce(Fate) + Send + 'static) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Open(Box::new(settle)))))
    }

    /// Tells the owner, unless it has been told before, and returns what it was told.
    ///
    /// The owner is told under the tracked response's lock, so whoever gets the answer knows that the owner has acted on it already.
    pub(super) fn settle(&self, fate: Fate) -> Fate {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Settled(fate)) {
            State::Open(settle) => {
                settle(fate);
                fate
            }
            State::Settled(before) => {
                *state = State::Settled(before);
                before
            }
        }
    }

    pub(super) fn fate(&self) -> Option<Fate> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Settled(fate) => Some(fate),
            State::Open(_) => None,
        }
    }
}

/// A handle on the fate of one response, from [`Connection::on_delivery`](super::Connection::on_delivery).
///
/// Dropping it changes nothing: the connection decides and tells.
#[derive(Clone)]
pub struct Delivery {
    pub(super) tracked: Arc<TrackedResponse>,
    pub(super) shared: Weak<SharedConnection>,
}

impl Delivery {
    /// What has been decided so far.
    #[must_use]
    pub fn fate(&self) -> Option<Fate> {
        self.tracked.fate()
    }

    /// Decides now, because the same client has come back on another connection.
    ///
    /// [`Fate::Confirmed`] where the response was written whole and the peer's kernel has acknowledged all of it, else
    /// [`Fate::Returned`]; none while the response is still being written, because then it is simply another scrape at the same time.
    /// The callback has run when this returns a fate; call it with no lock held that the callback takes.
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
