//! Keys, ends and errors of the transport as those of links.

use exporter_proxy_hyperdht::{CallError, ConnectionEnd, DialError, KeyPair, NodeError};

use super::api::HyperdhtError;
use crate::peer::identity::{Identity, PublicKey};
use crate::peer::link_event::LinkEnd;

impl From<exporter_proxy_hyperdht::PublicKey> for PublicKey {
    fn from(key: exporter_proxy_hyperdht::PublicKey) -> Self {
        Self::new(*key.as_bytes())
    }
}

impl From<PublicKey> for exporter_proxy_hyperdht::PublicKey {
    fn from(key: PublicKey) -> Self {
        Self::new(*key.as_bytes())
    }
}

impl From<&Identity> for KeyPair {
    fn from(own: &Identity) -> Self {
        Self::from_seed(&own.seed())
    }
}

impl From<ConnectionEnd> for LinkEnd {
    fn from(ConnectionEnd { is_graceful, why }: ConnectionEnd) -> Self {
        Self { is_graceful, why }
    }
}

impl From<LinkEnd> for ConnectionEnd {
    fn from(LinkEnd { is_graceful, why }: LinkEnd) -> Self {
        Self { is_graceful, why }
    }
}

impl From<CallError> for HyperdhtError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Lost(why) => Self::Lost(why),
            CallError::Timeout(wait) => Self::Timeout(wait),
            CallError::Busy => Self::Busy,
            CallError::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<NodeError> for HyperdhtError {
    fn from(error: NodeError) -> Self {
        Self::Node(error.to_string())
    }
}

/// Returns the reason for which a peer was not reached, with the key to change or the transport to use.
pub(super) fn unreachable_reason(peer: PublicKey, error: &DialError) -> String {
    match error {
        DialError::NoNetwork => "no HyperDHT node responds; check hyperdht.bootstrap and whether the firewall lets UDP pass".to_owned(),
        DialError::Unreachable(_) => format!("{peer}: {error}; use quic:// to a bridge with a public address"),
        error => format!("{peer}: {error}"),
    }
}
