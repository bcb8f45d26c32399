//! What HyperDHT's Prometheus programs say to each other inside a secret stream: compact-encoding, protomux, protomux-rpc, and their own
//! messages for registering an alias and for asking for metrics.
//!
//! Sources of the formats, by behaviour on the wire: the npm packages compact-encoding, protomux, protomux-rpc, dht-prom-client 1.0 to 2.2
//! and hyperdht-prometheus-bridge 2.1. A message of the secret stream is whole when it comes here.

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

/// The method of that.
pub const REGISTER_METHOD: &str = "alias";

/// The protocol of the channel on which a bridge asks a client for metrics.
pub const METRICS_PROTOCOL: &str = "prometheus-metrics";

/// The method of that.
pub const METRICS_METHOD: &str = "metrics";

/// The largest message in bytes: a secret stream says the length in 24 bits, and its tag and authenticator take 17 of those bytes.
pub const MAX_MESSAGE_BYTES: usize = (1 << 24) - 1 - 17;

/// The longest text for people, such as why something failed, that is kept of a message; the rest is cut off.
pub const MAX_TEXT_BYTES: usize = 4 << 10;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    /// It ends before it is complete.
    #[error("a message ends inside {0}")]
    Short(&'static str),
    /// A part of it is longer than it can sensibly be.
    #[error("{what} of {bytes} bytes")]
    Long {
        /// The part.
        what: &'static str,
        /// Its length.
        bytes: u64,
    },
    /// A part of it has a value that means nothing.
    #[error("{what} {value}")]
    Unknown {
        /// The part.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A name is no UTF-8.
    #[error("{0} that is no UTF-8")]
    Text(&'static str),
}

/// The beginning of a text, cut where a character ends.
#[must_use]
pub(crate) fn shortened(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
