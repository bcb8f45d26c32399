//! Bitswap messages of the protocols 1.0.0 to 1.2.0: <https://specs.ipfs.tech/bitswap-protocol/>.
//!
//! A stream has messages, each preceded by its length as a varint. A message is protobuf, decoded here without generated code: that would
//! allocate each of the millions of empty entries which a message of 4 MiB can have, before any limit could be checked. [`Message::read`]
//! counts all entries, and keeps at most [`MAX_LISTED`] of each kind, which borrow from the message.

mod cid;
mod message;

pub use super::protobuf::ProtobufError;
pub use cid::{Cid, CidError, MAX_CID_BYTES, multihash_is_peer_id};
pub use message::{Block, Counts, DONT_HAVE, HAVE, MAX_LISTED, Message, MessageError, Presence, Want, WantType, dont_have};

/// Limit of a message: that of Kubo.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// The longest varint before a message: that of [`MAX_MESSAGE_BYTES`] has four bytes.
const MAX_LENGTH_BYTES: usize = 4;

/// Error of the length before a message. The stream cannot be continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LengthError {
    /// The message is longer than the limit.
    #[error("a message of {0} bytes exceeds the limit of {MAX_MESSAGE_BYTES}")]
    TooLong(usize),
    /// The varint does not end.
    #[error("the length of a message has more than {MAX_LENGTH_BYTES} bytes")]
    Endless,
}

/// Reads the length of the next message at the start of `bytes`: the bytes of the varint and the bytes of the message. `None` if more bytes
/// are needed.
///
/// # Errors
/// If the message is longer than [`MAX_MESSAGE_BYTES`], or the varint has more than four bytes.
pub fn message_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, LengthError> {
    let mut length = 0;
    for (at, byte) in bytes.iter().take(MAX_LENGTH_BYTES).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return match length {
                length if length > MAX_MESSAGE_BYTES => Err(LengthError::TooLong(length)),
                length => Ok(Some((at + 1, length))),
            };
        }
    }
    if bytes.len() < MAX_LENGTH_BYTES {
        return Ok(None);
    }
    Err(LengthError::Endless)
}

#[cfg(test)]
mod tests;
