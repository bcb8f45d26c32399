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
use tokio::sync::watch;
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
    /// True while this process relays; otherwise another replica of the cluster does.
    active: watch::Receiver<bool>,
    context: UpstreamContext,
}

impl Upstreams {
    /// Creates the service: while `active` is true it connects to the servers in `settings`, writes counts into `inlet` and relays messages
    /// to its subscribers.
    #[must_use]
    pub fn new(settings: UpstreamSettings, active: watch::Receiver<bool>, inlet: Inlet, telemetry: SharedTelemetry, clock: Clock) -> Self {
        Self {
            settings,
            active,
            context: UpstreamContext { inlet, telemetry, clock },
        }
    }

    async fn work(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut active = self.active.clone();
        loop {
            let is_active = *active.borrow_and_update();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Ok(()) = active.changed() => {}
                failed = self.relay(), if is_active => return failed,
            }
        }
    }

    /// Relays all upstreams until one of them fails.
    async fn relay(&self) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        for address in &self.settings.upstreams {
            let upstream = Upstream::new(address, self.settings.legacy_addresses, self.context.clone())?;
            tasks.spawn(upstream.run());
        }
        match tasks.join_next().await {
            Some(Ok(never)) => match never {},
            Some(Err(error)) => Err(error.into()),
            None => std::future::pending().await,
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
