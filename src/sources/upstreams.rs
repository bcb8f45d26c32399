//! Upstreams: monitoring streams of other servers, counted as metrics and relayed to our subscribers.
//!
//! Each upstream is an app of its own: its counts are in `/metrics` and its state in `/apps`. Lost connections are re-established with
//! backoff. Relayed messages keep their order within an upstream; if subscribers' messages cannot be encoded fast enough, reading waits, and
//! the upstream server decides what to drop.

pub(in crate::sources) mod backoff;
mod connection;
pub(in crate::sources) mod counts;
#[cfg(test)]
mod tests;
mod upstream;

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::model::Clock;
use crate::store::Inlet;
use crate::supervise::Service;
use crate::telemetry::SharedTelemetry;
pub use connection::{ConnectionError, UpstreamConnection};
use upstream::Upstream;

/// Servers with streams to relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// The servers, as `HOST:PORT`.
    pub upstreams: Vec<String>,
    /// True if multiaddresses are converted for the original client.
    pub legacy_addresses: bool,
}

/// Dependencies of every upstream.
#[derive(Debug, Clone)]
struct UpstreamContext {
    inlet: Inlet,
    telemetry: SharedTelemetry,
    clock: Clock,
}

/// The service that subscribes to all upstreams.
#[derive(Debug)]
pub struct Upstreams {
    settings: UpstreamSettings,
    context: UpstreamContext,
}

impl Upstreams {
    /// Creates the service: it connects to the servers in `settings`, writes counts into `inlet` and relays messages to its subscribers.
    #[must_use]
    pub fn new(settings: UpstreamSettings, inlet: Inlet, telemetry: SharedTelemetry, clock: Clock) -> Self {
        Self {
            settings,
            context: UpstreamContext { inlet, telemetry, clock },
        }
    }

    async fn work(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        for address in &self.settings.upstreams {
            let upstream = Upstream::new(address, self.settings.legacy_addresses, self.context.clone())?;
            tasks.spawn(upstream.run());
        }
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            Some(ended) = tasks.join_next() => match ended {
                Ok(never) => match never {},
                Err(error) => Err(error.into()),
            },
        }
    }
}

impl Service for Upstreams {
    fn name(&self) -> &str {
        "upstreams"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(self.work(stop))
    }
}
