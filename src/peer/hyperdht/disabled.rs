//! Replacement of the HyperDHT module in builds without the feature: [`Network::join`] fails, so no other method can be called.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api::{HyperdhtError, RegistrationHandler, ScrapeServerSettings};
use crate::peer::identity::{Identity, PublicKey};
use crate::peer::link_event::LinkEvents;
use crate::wire::hyperdht::MetricsReply;

/// A node of HyperDHT, which cannot exist.
#[derive(Clone)]
pub(crate) struct Network(Infallible);

impl Network {
    pub(crate) async fn join(_: &[String], _: u16) -> Result<Self, HyperdhtError> {
        Err(HyperdhtError::Disabled)
    }

    pub(crate) async fn scrape_server(&self, _: ScrapeServerSettings) -> Result<HyperdhtScrapeServer, HyperdhtError> {
        match self.0 {}
    }

    pub(crate) async fn registration_server(&self, _: &Identity, _: Arc<LinkEvents>) -> Result<RegistrationServer, HyperdhtError> {
        match self.0 {}
    }

    pub(crate) fn connection_pool(&self, _: &Identity, _: Arc<LinkEvents>) -> ConnectionPool {
        match self.0 {}
    }
}

/// A scrape server, which cannot exist.
pub(crate) struct HyperdhtScrapeServer(Infallible);

impl HyperdhtScrapeServer {
    pub(crate) async fn run(self, _: CancellationToken) {
        match self.0 {}
    }
}

/// A server for registrations, which cannot exist.
pub(crate) struct RegistrationServer(Infallible);

impl RegistrationServer {
    pub(crate) async fn run(self, _: Arc<dyn RegistrationHandler>, _: CancellationToken) -> anyhow::Result<()> {
        match self.0 {}
    }
}

/// A pool of connections, which cannot exist.
#[derive(Clone)]
pub(crate) struct ConnectionPool(Infallible);

impl ConnectionPool {
    pub(crate) async fn scrape(&self, _: PublicKey, _: Duration) -> Result<MetricsReply, HyperdhtError> {
        match self.0 {}
    }

    pub(crate) async fn reach(&self, _: PublicKey, _: Duration) -> Result<(), HyperdhtError> {
        match self.0 {}
    }

    pub(crate) fn invalidate(&self, _: PublicKey) {
        match self.0 {}
    }

    pub(crate) async fn sweep(&self, _: Instant) {
        match self.0 {}
    }

    pub(crate) async fn close(&self) {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests;
