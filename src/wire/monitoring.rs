//! The monitoring stream, version 3: the protocol of the IPFS metric exporter's TCP server and its clients.
//!
//! Each side sends a [`hello`](HELLO) at once, uncompressed. After that only the server sends: frames of a length (`u32`, big-endian) and a
//! payload, which is one gzip member of one JSON object and a newline. The object is `{"event":{...}}` without other keys, because the
//! original client closes the connection at any other key. It ignores unknown keys inside `event`, as long as the event has a
//! `bitswap_message` or a `connection_event`; at an event with neither it closes the connection as well. Other topics are therefore sent only
//! to clients that request them in their [`Hello`].

pub mod api;
mod bitswap_event;
mod frame;
mod gzip;
mod handshake;
mod line;
mod multiaddr;
mod object;
mod proxy_message;
mod upstream_message;

pub use bitswap_event::BitswapEvent;
pub use frame::{LENGTH_BYTES, MAX_FRAME_BYTES, Oversized, length_of, split};
pub use gzip::{Compressor, GzipError, Inflater};
pub use handshake::{HELLO, HandshakeError, Hello, MAX_HANDSHAKE_BYTES, client_hello, read_hello};
pub use line::line;
pub use multiaddr::legacy;
pub use proxy_message::{ProxyEvent, ProxyMessage};
pub use upstream_message::{Tally, UpstreamMessage, UpstreamMessageError};

/// The key of the addresses of a `bitswap_message` before their conversion for the original client.
const FULL_CONNECTED_ADDRESSES: &str = "full_connected_addresses";
/// The key of the address of a `connection_event` before its conversion.
const FULL_REMOTE: &str = "full_remote";

/// Limit of the decompressed JSON text of one message. A Bitswap message has at most 4 MiB, and its entries grow about fourfold as JSON.
/// Protects against decompression bombs.
pub const MAX_TEXT_BYTES: usize = 32 << 20;
