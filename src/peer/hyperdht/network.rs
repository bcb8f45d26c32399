//! The interface of the HyperDHT node to the rest of the program.

use std::sync::Arc;

use exporter_proxy_hyperdht::udx::MIN_RECEIVE_BYTES;
use exporter_proxy_hyperdht::{KeyAdmission, Node};

use super::api::{HyperdhtError, ScrapeServerSettings};
use super::connection_pool::ConnectionPool;
use super::registration_server::{KnownKeys, RegistrationServer};
use super::scrape_server::HyperdhtScrapeServer;
use crate::peer::identity::Identity;
use crate::peer::link_event::LinkEvents;

/// A node of HyperDHT. A clone is a handle to the same node.
#[derive(Clone)]
pub(crate) struct Network(Node);

impl Network {
    /// Joins the network through these bootstrap nodes, `HOST:PORT` each; empty: the public ones. `port` is the UDP port, 0 for any.
    ///
    /// # Errors
    ///
    /// If the socket cannot be bound.
    pub(crate) async fn join(bootstrap: &[String], port: u16) -> Result<Self, HyperdhtError> {
        Ok(Self(Node::open(bootstrap, port).await?))
    }

    /// Creates a scrape server. It accepts connections from now on, and registers once it runs.
    ///
    /// # Errors
    ///
    /// If the node is closed.
    pub(crate) async fn scrape_server(&self, settings: ScrapeServerSettings) -> Result<HyperdhtScrapeServer, HyperdhtError> {
        HyperdhtScrapeServer::open(self.0.clone(), settings).await
    }

    /// Creates a server for registrations, which accepts connections from now on.
    ///
    /// # Errors
    ///
    /// If the node is closed.
    pub(crate) async fn registration_server(&self, own: &Identity, events: Arc<LinkEvents>) -> Result<RegistrationServer, HyperdhtError> {
        let known = Arc::new(KnownKeys::default());
        let admit = {
            let known = Arc::clone(&known);
            move |key: exporter_proxy_hyperdht::PublicKey| {
                if known.contains(key.into()) {
                    KeyAdmission::Known
                } else {
                    KeyAdmission::Unknown
                }
            }
        };
        // Every key may connect, and a registration has a few hundred bytes.
        let listener = self.0.listen_with_limit(&own.into(), MIN_RECEIVE_BYTES, admit).await?;
        Ok(RegistrationServer::new(self.0.clone(), own.public_key(), listener, known, events))
    }

    /// Creates a pool of connections that dials with this key.
    pub(crate) fn connection_pool(&self, own: &Identity, events: Arc<LinkEvents>) -> ConnectionPool {
        ConnectionPool::new(self.0.clone(), own.clone(), events)
    }
}
