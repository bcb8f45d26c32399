//! Upstreams: the monitoring streams of other servers, counted as metrics and relayed to those who follow ours.
//!
//! Each upstream is an app of its own, so that what was heard stands in `/metrics` and its state in `/apps`. One that is lost
//! is connected to again, at growing intervals. What is relayed keeps its order within an upstream; where our own clients'
//! messages cannot be made fast enough, reading waits, and the upstream's server decides what to drop.

mod backoff;
mod counts;
mod link;
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
pub use link::{Link, Lost};
use upstream::Upstream;

/// Whom to listen to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The servers, as `HOST:PORT`.
    pub upstreams: Vec<String>,
    /// Whether multiaddresses are relayed as the original client can read them.
    pub legacy_addresses: bool,
}

/// What every upstream tells, and whom it asks for the time.
#[derive(Debug, Clone)]
struct Surroundings {
    inlet: Inlet,
    telemetry: SharedTelemetry,
    clock: Clock,
}

/// The part that listens to all upstreams.
#[derive(Debug)]
pub struct Upstreams {
    settings: Settings,
    surroundings: Surroundings,
}

impl Upstreams {
    /// A part that listens to what `settings` lists, writes counts into `inlet` and tells its followers what was heard.
    #[must_use]
    pub fn new(settings: Settings, inlet: Inlet, telemetry: SharedTelemetry, clock: Clock) -> Self {
        Self {
            settings,
            surroundings: Surroundings { inlet, telemetry, clock },
        }
    }

    async fn work(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        for address in &self.settings.upstreams {
            let upstream = Upstream::new(address, self.settings.legacy_addresses, self.surroundings.clone())?;
            tasks.spawn(upstream.run());
        }
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            Some(ended) = tasks.join_next() => match ended {
                Ok(never) => match never {},
                Err(lost) => Err(lost.into()),
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
