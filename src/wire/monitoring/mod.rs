//! The monitoring stream, version 3: the protocol of the IPFS metric exporter's TCP server and its clients.
//!
//! Each side sends a [`hello`](HELLO) at once, uncompressed. From then on only the server speaks: frames of a length
//! (`u32`, big-endian) and a payload, the payload one gzip member of one JSON object and a newline. The object is
//! `{"event":{...}}` and nothing beside it, since the original client drops the connection over any other key there. Keys
//! inside `event` that it does not know are ignored, as long as the event has a `bitswap_message` or a `connection_event`;
//! at an event with neither it drops the connection, too. Kinds of our own are therefore sent only to a client whose
//! [`Hello`] asks for them.

pub mod api;
mod event;
mod frame;
mod gzip;
mod handshake;
mod heard;
mod line;
mod multiaddr;
mod object;

pub use event::{EventDetail, LocalEvent};
pub use frame::{LENGTH_BYTES, MAX_FRAME_BYTES, Oversized, length_of, split};
pub use gzip::{Compressor, GzipError, Inflater};
pub use handshake::{HELLO, HandshakeError, Hello, MAX_HANDSHAKE_BYTES, client_hello, read_hello};
pub use heard::{Heard, HeardError, MessageCounts};
pub use line::line;
pub use multiaddr::legacy;

/// The longest JSON text of one message, unpacked. A Bitswap message has at most 4 MiB and its entries grow about
/// fourfold as JSON; the rest is room. A bomb is cut off here.
pub const MAX_TEXT_BYTES: usize = 32 << 20;
