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

use std::convert::Infallible;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::model::{AppName, Clock, Format, Origin};
use crate::sources::{REMOVE_UNLISTED_EVERY, unlisted_apps};
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
        // Without a cluster nothing ever changes this, and the store has no counts of others.
        let is_replica = active.has_changed().is_ok();
        loop {
            let is_active = *active.borrow_and_update();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Ok(()) = active.changed() => {}
                failed = self.relay(), if is_active => return failed,
                never = self.remove_unlisted(), if is_active && is_replica => match never {},
            }
        }
    }

    /// Removes the apps of upstreams that are not in the settings: another replica has counted them, or this one in an earlier run, and no
    /// replica will again.
    async fn remove_unlisted(&self) -> Infallible {
        let UpstreamContext { inlet, clock, .. } = &self.context;
        let listed: Vec<String> = self.settings.upstreams.iter().map(|address| upstream::app_name(address)).collect();
        let is_upstream = |origin: &Origin| origin.format == Format::Stream && origin.source.starts_with(upstream::SOURCE_START);
        let mut ticks = interval(REMOVE_UNLISTED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let is_listed = |app: &AppName| listed.iter().any(|listed| *listed == *app.as_str());
            let unlisted = unlisted_apps(inlet, is_upstream, is_listed).await;
            for app in &unlisted {
                inlet.remove(app, clock());
            }
            if !unlisted.is_empty() {
                let removed = unlisted.len();
                tracing::info!(
                    removed,
                    "removed the counts of upstreams of other replicas that are no upstreams of this one"
                );
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
