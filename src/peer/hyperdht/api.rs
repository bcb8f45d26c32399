//! Types of links over HyperDHT that exist in every build, with and without the cargo feature.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::http::HttpService;
use crate::peer::identity::{Identity, PublicKey, Registration};
use crate::peer::link_event::LinkEvents;
use crate::wire::hyperdht::{AliasReply, AliasRequest};

/// The error of an operation over HyperDHT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HyperdhtError {
    /// The program was built without HyperDHT.
    #[error("this program was built without HyperDHT; build it with the cargo feature \"hyperdht\", or use quic:// instead of hyperdht://")]
    Disabled,
    /// The local node failed.
    #[error("{0}")]
    Node(String),
    /// The peer was not reached.
    #[error("{0}")]
    Unreachable(String),
    /// The connection ended before the response.
    #[error("link lost: {0}")]
    Lost(String),
    /// The peer took too long.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// Too many requests are pending on the connection.
    #[error("too many requests are waiting for a response")]
    Busy,
    /// The peer responded with an error.
    #[error("the peer responded with an error: {0}")]
    Failed(String),
    /// The response is malformed.
    #[error("the response is malformed: {0}")]
    Broken(String),
}

/// The client of a registration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registrant {
    /// The verified key of the client; it may register another key.
    pub(crate) key: PublicKey,
    /// The address of the client.
    pub(crate) address: SocketAddr,
}

/// Accepts or refuses registrations.
pub(crate) trait RegistrationHandler: Send + Sync + 'static {
    /// Returns the reply to a request.
    fn register(&self, registrant: Registrant, request: &AliasRequest) -> AliasReply;
}

/// Settings of a scrape server on HyperDHT.
pub(crate) struct ScrapeServerSettings {
    /// The key under which it is scraped.
    pub(crate) identity: Identity,
    /// The bridges to register with.
    pub(crate) bridges: Vec<PublicKey>,
    /// The keys that may scrape it, in addition to the bridges.
    pub(crate) allow: Vec<PublicKey>,
    /// The content of the registrations.
    pub(crate) registration: Arc<Registration>,
    /// The HTTP service that handles scrapes.
    pub(crate) service: HttpService,
    /// The sink of link events.
    pub(crate) events: Arc<LinkEvents>,
}
