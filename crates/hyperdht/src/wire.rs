//! Messages inside a secret stream: compact-encoding, protomux and protomux-rpc.
//!
//! Sources of the formats, by behavior on the wire: the npm packages compact-encoding, protomux and protomux-rpc. Input is always a
//! complete message of the secret stream.

mod compact;
mod frame;
mod rpc;

pub use self::compact::{Reader, Writer};
pub use self::frame::{Frame, Frames, MAX_PROTOCOL_BYTES};
pub use self::rpc::{Call, MAX_METHOD_BYTES, Reply, RpcError, RpcErrorCode};

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

/// Truncates a text at a character boundary, to at most `most` bytes.
#[must_use]
pub fn shortened(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
