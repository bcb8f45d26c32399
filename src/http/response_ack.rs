//! A request that came as a message of another protocol and not as bytes of HTTP, and what becomes of its answer.

use std::fmt;
use std::sync::Arc;

use super::connection::SharedConnection;
use super::connection_state::ConnectionState;
use super::delivery::DeliveryOutcome;

/// Acknowledgement of a response from [`HttpService::call`](super::HttpService::call). Dropped, the response counts as unacked.
#[must_use = "dropping it says that the answer was not received"]
pub struct ResponseAck(Arc<SharedConnection>);

impl ResponseAck {
    /// For the answer that is being given over this connection.
    pub(super) fn new(shared: Arc<SharedConnection>) -> Self {
        Self(shared)
    }

    /// The other end has received all of the answer.
    pub fn received(self) {
        self.0.change(|state| state.settle_all(DeliveryOutcome::Acked));
    }
}

impl Drop for ResponseAck {
    fn drop(&mut self) {
        self.0.change(ConnectionState::close);
        // Nothing is left of what was acknowledged.
        self.0.change(|state| state.settle_all(DeliveryOutcome::Unacked));
    }
}

impl fmt::Debug for ResponseAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseAck({:?})", self.0)
    }
}
