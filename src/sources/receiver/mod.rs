//! Receivers: applications push Cap'n Proto or JSON over TCP or a Unix socket.

mod budget;
mod connection;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use budget::{Budget, FREE_BYTES};

use self::connection::Conversation;
use crate::model::{Clock, Format, Origin};
use crate::store::Inlet;
use crate::supervise::{Accepted, ConnectionSlots, Listener, Service};
use crate::telemetry::{Counter, Telemetry};
use crate::wire::FormatChoice;

/// What a sender may do. A connection keeps the limits it began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The formats that are taken.
    pub format: FormatChoice,
    /// The largest message in bytes.
    pub max_message_bytes: usize,
    /// How long a sender may be silent inside a message; a whole message may take five times as long.
    pub idle_timeout: Duration,
}

/// What all receivers share with the rest of the program.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where updates go.
    pub inlet: Inlet,
    /// Where things are counted.
    pub telemetry: Arc<Telemetry>,
    /// The time of day.
    pub clock: Clock,
    /// The budget for half-received messages.
    pub budget: Arc<Budget>,
    /// The limits for new connections.
    pub limits: watch::Receiver<Limits>,
}

/// What the connections of one listener share.
#[derive(Debug)]
struct Shared {
    source: Arc<str>,
    surroundings: Surroundings,
    json: Arc<Counter>,
    capnp: Arc<Counter>,
}

impl std::ops::Deref for Shared {
    type Target = Surroundings;

    fn deref(&self) -> &Surroundings {
        &self.surroundings
    }
}

impl Shared {
    fn new(source: Arc<str>, surroundings: Surroundings) -> Self {
        let counter = |format: Format| surroundings.telemetry.updates_total.with([&source, format.as_str()]);
        let (json, capnp) = (counter(Format::Json), counter(Format::Capnp));
        Self {
            source,
            surroundings,
            json,
            capnp,
        }
    }

    fn origin(&self, format: Format) -> Origin {
        Origin {
            source: Arc::clone(&self.source),
            format,
        }
    }

    fn accepted(&self, format: Format) -> &Counter {
        if format == Format::Capnp { &self.capnp } else { &self.json }
    }
}

/// Receives on one listener.
struct Receiver {
    name: String,
    listener: Listener,
    slots: ConnectionSlots,
    shared: Arc<Shared>,
}

/// The part that receives on `listener`, as many connections at a time as there are slots.
pub fn service(listener: Listener, slots: ConnectionSlots, surroundings: Surroundings) -> impl Service {
    let shared = Arc::new(Shared::new(Arc::clone(listener.place()), surroundings));
    Receiver {
        name: format!("receiver {}", shared.source),
        listener,
        slots,
        shared,
    }
}

impl Service for Receiver {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        let Self {
            listener, slots, shared, ..
        } = *self;
        let asked = stop.clone();
        let serve = move |Accepted { stream, slot }: Accepted| {
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            async move {
                let peer = stream.peer().map_or_else(|| "a local process".to_owned(), |peer| peer.to_string());
                Conversation::new(stream, peer, &shared).run(&slot, &stop).await;
            }
        };
        Box::pin(async move {
            listener.serve(slots, asked, serve).await;
            Ok(())
        })
    }
}
