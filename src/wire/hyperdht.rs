//! Messages of HyperDHT's Prometheus programs inside a secret stream: compact-encoding, protomux, protomux-rpc, and their own messages for
//! registering an alias and for requesting metrics.
//!
//! Sources of the formats, by behavior on the wire: the npm packages compact-encoding, protomux, protomux-rpc, dht-prom-client 1.0 to 2.2
//! and hyperdht-prometheus-bridge 2.1. Input is always a complete message of the secret stream.

mod alias;
mod compact;
mod frame;
mod metrics;
mod rpc;

pub use self::alias::{AliasReply, AliasRequest};
pub use self::compact::{Reader, Writer};
pub use self::frame::{Frame, Frames, MAX_PROTOCOL_BYTES};
pub use self::metrics::{MetricsReply, metrics_head, metrics_request};
pub use self::rpc::{Call, MAX_METHOD_BYTES, Reply, RpcError, RpcErrorCode};

/// The protocol of the channel on which a client registers at a bridge.
pub const REGISTER_PROTOCOL: &str = "register-alias";

/// The method for registering.
pub const REGISTER_METHOD: &str = "alias";

/// The protocol of the channel on which a bridge requests metrics.
pub const METRICS_PROTOCOL: &str = "prometheus-metrics";

/// The method for requesting metrics.
pub const METRICS_METHOD: &str = "metrics";

/// Limit of a message in bytes: a secret stream has lengths of 24 bits, including 17 bytes of tag and authenticator.
pub const MAX_MESSAGE_BYTES: usize = (1 << 24) - 1 - 17;

/// Limit of a text for users, such as the reason of a failure; longer ones are truncated.
pub const MAX_TEXT_BYTES: usize = 4 << 10;

/// Error of decoding a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    /// It ends before it is complete.
    #[error("a message ends inside {0}")]
    Short(&'static str),
    /// A part of it is too long.
    #[error("{what} of {bytes} bytes")]
    Long {
        /// The part.
        what: &'static str,
        /// Its length.
        bytes: u64,
    },
    /// A part of it has an unknown value.
    #[error("{what} {value}")]
    Unknown {
        /// The part.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A name is not UTF-8.
    #[error("{0} that is not UTF-8")]
    Text(&'static str),
}

/// Truncates a text at a character boundary.
#[must_use]
pub(crate) fn shortened(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
