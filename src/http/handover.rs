//! A request that came as a message of another protocol and not as bytes of HTTP, and what becomes of its answer.

use std::fmt;
use std::sync::Arc;

use super::connection::Shared;
use super::delivery::Fate;
use super::talk::Talk;

/// What decides the fate of an answer from [`Door::ask`](super::Door::ask): dropped, the answer counts as not received.
#[must_use = "dropping it says that the answer was not received"]
pub struct Handover(Arc<Shared>);

impl Handover {
    /// For the answer that is being given over this connection.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The other end has received all of the answer.
    pub fn received(self) {
        self.0.change(|talk| talk.judge(Fate::Confirmed));
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.0.change(Talk::close);
        // Nothing is left of what was confirmed.
        self.0.change(|talk| talk.judge(Fate::Returned));
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handover({:?})", self.0)
    }
}
