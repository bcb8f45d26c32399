//! Messages of HyperDHT's Prometheus programs: for registering an alias and for requesting metrics.
//!
//! Sources of the formats, by behavior on the wire: the npm packages dht-prom-client 1.0 to 2.2 and hyperdht-prometheus-bridge 2.1. Their
//! encoding exists in builds with the cargo feature `hyperdht`: its crate has the layers below.

#[cfg(feature = "hyperdht")]
mod alias;
#[cfg(feature = "hyperdht")]
mod metrics;

use std::fmt;

use bytes::Bytes;

#[cfg(feature = "hyperdht")]
pub use self::metrics::{metrics_head, metrics_request};

/// The protocol of the channel on which a client registers at a bridge.
pub const REGISTER_PROTOCOL: &str = "register-alias";

/// The method for registering.
pub const REGISTER_METHOD: &str = "alias";

/// The protocol of the channel on which a bridge requests metrics.
pub const METRICS_PROTOCOL: &str = "prometheus-metrics";

/// The method for requesting metrics.
pub const METRICS_METHOD: &str = "metrics";

/// Request of a client to register its alias and key.
#[derive(Clone, PartialEq, Eq)]
pub struct AliasRequest {
    /// The secret shared with the bridge. Never printed.
    pub secret: [u8; 32],
    /// The name of the client in requests to the bridge.
    pub alias: String,
    /// The public key for connections to the client.
    pub target: [u8; 32],
    /// The host that it runs on.
    pub hostname: String,
    /// The kind of service.
    pub service: String,
}

impl fmt::Debug for AliasRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AliasRequest({:?}, {:?}, {:?})", self.alias, self.hostname, self.service)
    }
}

/// Response of the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasReply {
    /// The alias is registered.
    Registered {
        /// True if the registration changed something at the bridge.
        updated: bool,
    },
    /// The registration is refused, with the reason; "Unauthorised" for a wrong secret, as in the original.
    Refused(String),
}

/// Response of a client to a request for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsReply {
    /// The metrics in the text format 0.0.4.
    Metrics(Bytes),
    /// The scrape failed, with the reason.
    Failed(String),
}
