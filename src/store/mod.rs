//! What is remembered: the latest of each application.
//!
//! [`open`] gives the two halves. [`Inlet`] only writes and [`View`] only reads, so that a source can never come to
//! depend on what other sources sent, and an outlet can never change what it shows.
//!
//! Promises. A scrape sees every update whose `put` returned before the scrape began. Nothing that is refused touches
//! what was stored before. No lock is held while text is parsed, copied, compressed or sent, and none across an await.
//! The clock is always an argument.

mod app;
mod expiry;
mod exposed;
mod inlet;
mod latest;
mod limits;
#[cfg(test)]
mod tests;
mod view;

pub use app::{App, Status, Text};
pub use expiry::Expiry;
pub use exposed::{Exposed, Prepared};
pub use inlet::{Inlet, Receipt, Refused};
pub use limits::{Limits, Mode};
pub use view::{Totals, View};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use exposed::Answers;
use latest::Latest;

/// Makes an empty store and gives its writing and its reading half.
#[must_use]
pub fn open(limits: Limits, mode: Mode) -> (Inlet, View) {
    let reads = matches!(mode, Mode::Merge(_));
    let shared = Arc::new(Shared {
        reads,
        latest: Mutex::new(Latest::new(limits, mode)),
        rendering: Mutex::default(),
        answers: Mutex::default(),
    });
    (Inlet::new(Arc::clone(&shared)), View::new(shared))
}

/// What both halves hold.
#[derive(Debug)]
struct Shared {
    /// Whether texts are read and merged.
    reads: bool,
    /// Held for the swap of an entry or the copying of handles, never for work on bodies.
    latest: Mutex<Latest>,
    /// Held while something is rendered: whoever comes first renders, the others wait for it.
    rendering: Mutex<()>,
    /// Held for moments only.
    answers: Mutex<Answers>,
}

impl Shared {
    /// The state. A panic elsewhere while the lock was held cannot have left it half changed: every change is a few
    /// assignments after all checks, so a poisoned lock is taken all the same.
    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Taken by whoever renders, so that the others wait and find it done; pushes never wait for it.
    fn rendering(&self) -> MutexGuard<'_, ()> {
        self.rendering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
