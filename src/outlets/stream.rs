//! The monitoring stream: whatever happens, live, to any number of TCP clients.
//!
//! ```text
//! store's feed --> Publisher: numbers, encodes, compresses once --> Hub --> a bounded queue each --> connection
//! ```
//!
//! A client gets the kinds of messages that its handshake asks for; one that does not ask gets those that the original's
//! client can read. Nothing is encoded that no client gets. A client that does not keep pace loses messages of its own queue,
//! alone, and one that gets all kinds sees by `seq` which; one that does not read at all is disconnected.

mod batch;
mod connection;
mod hub;
mod packer;
mod publisher;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use publisher::Publisher;

use crate::model::Topics;
use crate::store::View;
use crate::supervise::{ConnectionSlots, Listener, Service};
use crate::telemetry::SharedTelemetry;
use hub::Hub;

/// The most clients at once. Each may hold its queue in memory; the original server has no bound.
pub const MAX_SUBSCRIBERS: usize = 1_024;

/// Queued messages of a client. A Bitswap monitor makes up to 31,000 a second, so this is what a client that pauses for two seconds
/// misses; the bytes of a queue have a limit of their own.
pub const SUBSCRIBER_BUFFER: usize = 65_536;

/// Settings of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The messages that a client may be behind.
    pub subscriber_buffer: usize,
    /// Kinds of events that clients may select.
    pub topics: Topics,
}

/// The stream server, to be asked for its parts.
#[derive(Debug)]
pub struct Stream {
    hub: Arc<Hub>,
    /// The addresses of HTTP, for a client of HTTP that connects here.
    http: Arc<str>,
    slots: ConnectionSlots,
}

impl Stream {
    /// A server of what `view` shows, to at most [`MAX_SUBSCRIBERS`] clients at once, or fewer where there are fewer `slots`. The name of the
    /// proxy stands for the peer and the monitor of its own messages; `http` is where clients of HTTP are sent.
    #[must_use]
    pub fn new(settings: Settings, proxy: Arc<str>, http: Arc<str>, slots: usize, view: View, telemetry: SharedTelemetry) -> Self {
        Self {
            hub: Arc::new(Hub::new(settings, proxy, view, telemetry)),
            http,
            slots: ConnectionSlots::new(slots.min(MAX_SUBSCRIBERS)),
        }
    }

    /// The part that encodes. There must be one running for the clients to get anything.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.hub))
    }

    /// The part that serves the clients of one address.
    pub fn service(&self, listener: Listener) -> impl Service + use<> {
        let (hub, http, place) = (Arc::clone(&self.hub), Arc::clone(&self.http), Arc::clone(listener.place()));
        let name = format!("stream {place}");
        listener.into_service(name, self.slots.clone(), move |accepted| {
            connection::serve(accepted, Arc::clone(&hub), Arc::clone(&http), Arc::clone(&place))
        })
    }
}
