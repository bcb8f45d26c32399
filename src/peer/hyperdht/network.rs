//! Our place in the network, as the rest of the program uses it.

use std::sync::Arc;

use super::connection_pool::ConnectionPool;
use super::listener::KeyAdmission;
use super::node::{Node, NodeError};
use super::registration_server::{KnownKeys, RegistrationServer};
use super::scrape_server::HyperdhtScrapeServer;
use crate::peer::Identity;
use crate::peer::hyperdht_api::{HyperdhtError, ScrapeServerSettings};
use crate::peer::link_event::LinkEvents;

/// A node of HyperDHT. Cloning clones a handle.
#[derive(Clone)]
pub(crate) struct Network(Node);

impl Network {
    /// Joins the network through these nodes, `HOST:PORT` each, or through the public ones where there are none. `port` is the UDP
    /// port, 0 for any.
    ///
    /// # Errors
    ///
    /// Where there is no socket for it.
    pub(crate) async fn join(bootstrap: &[String], port: u16) -> Result<Self, HyperdhtError> {
        Ok(Self(Node::open(bootstrap, port).await.map_err(failed)?))
    }

    /// The end that is scraped: reachable under its key from now on, it registers once it runs.
    ///
    /// # Errors
    ///
    /// Where the node is closed.
    pub(crate) async fn scrape_server(&self, settings: ScrapeServerSettings) -> Result<HyperdhtScrapeServer, HyperdhtError> {
        HyperdhtScrapeServer::open(self.0.clone(), settings).await
    }

    /// A place where clients register, reachable under this key from now on.
    ///
    /// # Errors
    ///
    /// Where the node is closed.
    pub(crate) async fn registration_server(&self, own: &Identity, events: Arc<LinkEvents>) -> Result<RegistrationServer, HyperdhtError> {
        let known = Arc::new(KnownKeys::default());
        let admit = {
            let known = Arc::clone(&known);
            move |key| {
                if known.contains(key) {
                    KeyAdmission::Known
                } else {
                    KeyAdmission::Unknown
                }
            }
        };
        let listener = self.0.listen(own, admit).await.map_err(failed)?;
        Ok(RegistrationServer::new(self.0.clone(), own.public_key(), listener, known, events))
    }

    /// What scrapes clients by their keys, showing this one.
    pub(crate) fn connection_pool(&self, own: &Identity, events: Arc<LinkEvents>) -> ConnectionPool {
        ConnectionPool::new(self.0.clone(), own.clone(), events)
    }
}

pub(super) fn failed(error: NodeError) -> HyperdhtError {
    HyperdhtError::Node(error.to_string())
}
