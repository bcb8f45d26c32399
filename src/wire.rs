//! Encoding and decoding of messages, one protocol per file. Pure: no sockets, no time, no origin.
//!
//! The bytes of a receiver go through a [`StreamDecoder`]: it accepts them in any split and returns an [`Inbound`] or a [`Refusal`] for
//! each message. It scans each byte only once for the end of a message.

pub mod base58;
pub mod bitswap;
mod buffer;
mod capnp_message;
mod capnp_stream;
pub mod engine_url;
pub mod event_form;
mod foreign;
mod gob;
pub mod hyperdht;
mod json_stream;
pub mod kubo;
mod link;
pub mod monitoring;
pub mod node_address;
mod protobuf;
pub mod pushgateway;
mod refusal;
pub mod response_head;
pub mod schema;
pub mod scrape_query;
mod sniff;
mod stream;
pub mod z_base_32;

use bytes::Bytes;

use crate::model::AppName;

pub use self::buffer::{LARGEST_READ, SMALLEST_READ};
pub use self::capnp_message::encode;
pub use self::capnp_stream::MAX_SEGMENTS;
pub use self::foreign::ForeignFormat;
pub use self::json_stream::{MAX_APPS_PER_OBJECT, MAX_DEPTH};
pub use self::link::{AliasLost, LinkFault, LinkMessage, MAX_LINK_MESSAGE_BYTES, Register, SharedKey};
pub use self::refusal::{Fault, JsonType, MessagePart, Position, Refusal};
pub use self::sniff::{FormatChoice, is_http};
pub use self::stream::StreamDecoder;

/// A decoded message: the metrics of one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The application.
    pub app: AppName,
    /// The exposition text: UTF-8, in an allocation of exactly its size. Empty text removes all series of the app.
    pub data: Bytes,
}
