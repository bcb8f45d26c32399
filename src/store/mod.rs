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
mod feed;
mod inlet;
mod latest;
mod limits;
mod peers;
#[cfg(test)]
mod tests;
mod view;

pub use app::{App, Status, Text};
pub use expiry::Expiry;
pub use exposed::{Exposed, Prepared};
pub use feed::{Change, Counted, Feed, Numbered};
pub use inlet::{Inlet, Receipt, Refused};
pub use limits::{Limits, Mode};
pub use view::{Totals, View};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use exposed::Rendered;
use feed::Followers;
use latest::Latest;
use peers::Peers;

/// Makes an empty store and gives its writing and its reading half.
#[must_use]
pub fn open(limits: Limits, mode: Mode) -> (Inlet, View) {
    let reads = matches!(mode, Mode::Merge(_));
    let shared = Arc::new(Shared {
        reads,
        latest: Mutex::new(Latest::new(limits, mode)),
        rendered: Mutex::default(),
        followers: Arc::default(),
        peers: Peers::default(),
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
    rendered: Mutex<Rendered>,
    /// Who follows what happens. Told under the lock of `latest`, so that they hear of an application's updates in their order.
    followers: Arc<Followers>,
    /// What polled IPFS nodes said of their peers.
    peers: Peers,
}

impl Shared {
    /// The state. A panic elsewhere while the lock was held cannot have left it half changed: every change is a few
    /// assignments after all checks, so a poisoned lock is taken all the same.
    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
