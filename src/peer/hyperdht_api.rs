//! The vocabulary of links over HyperDHT, in every build of this program.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::link_event::LinkEvents;
use super::{Identity, PublicKey, Registration};
use crate::http::Door;
use crate::wire::hyperdht::{AliasReply, AliasRequest};

/// Why something over HyperDHT did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HyperdhtError {
    /// This program was built without it.
    #[error("this program was built without HyperDHT; build it with the cargo feature \"hyperdht\", or use quic:// instead of hyperdht://")]
    Disabled,
    /// There is no node of ours.
    #[error("{0}")]
    Node(String),
    /// The other end was not reached.
    #[error("{0}")]
    Unreachable(String),
    /// The connection ended before there was an answer.
    #[error("the link is lost: {0}")]
    Lost(String),
    /// The other end took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// So much is asked already that no more is.
    #[error("too many requests wait for an answer already")]
    Busy,
    /// The other end says that it cannot answer.
    #[error("the other end cannot answer: {0}")]
    Failed(String),
    /// What came is no answer.
    #[error("the answer is broken: {0}")]
    Broken(String),
}

/// Who wants to register.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registrant {
    /// The key that it has shown; it need not be the one that it registers.
    pub(crate) key: PublicKey,
    /// Where it is.
    pub(crate) address: SocketAddr,
}

/// Decides on registrations.
pub(crate) trait RegistrationHandler: Send + Sync + 'static {
    /// What is answered to a request.
    fn register(&self, registrant: Registrant, request: &AliasRequest) -> AliasReply;
}

/// What the scraped end is made of.
pub(crate) struct ScrapeServerSettings {
    /// Under which key it is scraped.
    pub(crate) identity: Identity,
    /// Where it registers.
    pub(crate) bridges: Vec<PublicKey>,
    /// Who may scrape it, besides the bridges.
    pub(crate) allow: Vec<PublicKey>,
    /// What it registers.
    pub(crate) registration: Arc<Registration>,
    /// What answers scrapes.
    pub(crate) door: Door,
    /// Where it tells what happens.
    pub(crate) events: Arc<LinkEvents>,
}
