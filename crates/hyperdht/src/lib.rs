#![doc = include_str!("../README.md")]
//!
//! ## Modules
//!
//! A [`Node`] is a member of the network. [`Node::dial`] and [`Node::listen`] open a [`SecretStream`], which carries messages in both
//! directions. On it, an [`RpcClient`] sends requests and [`serve`] answers them. The pure parts, for programs with sockets of their own:
//! [`udx`] has one end of a stream without sockets and clocks, [`wire`] the encoding of channels and calls, [`messages`] that of what nodes
//! send to each other.

// Modules may import those that their last column names, all of which stand above them.
//
// | module | purpose | may import |
// | --- | --- | --- |
// | `mutex` | locking without poisoning | none |
// | `suspension` | notices that the machine was suspended | none |
// | `hash` | BLAKE2b | none |
// | `key` | Ed25519 keys, random bytes | none |
// | `punch_limiter` | rate limit of hole punching by address | none |
// | `handshake_reply_cache` | replies to copies of a handshake | none |
// | `udx` | streams over packets, without I/O | none |
// | `wire` | compact encoding, channels and calls | none |
// | `messages` | messages of nodes | `wire` |
// | `noise` | the handshake of two peers | `hash`, `key` |
// | `stream_cipher` | the encryption of a stream's messages | `key` |
// | `announce_signature` | the signed text of an announcement | `hash` |
// | `nat` | our external address, the kind of NAT | `messages` |
// | `routing_table` | known nodes by distance | `hash` |
// | `query` | iterative queries | `messages`, `routing_table` |
// | `request_table` | retries and timeouts of requests | none |
// | `record_store` | records of keys, relayed handshakes | `announce_signature`, `hash`, `key`, `messages`, `routing_table` |
// | `engine` | a node without I/O | `hash`, `messages`, `nat`, `query`, `record_store`, `request_table`, `routing_table` |
// | `node_socket` | one socket for the network and all streams | `key`, `mutex`, `udx` |
// | `dht` | a running node | `engine`, `key`, `messages`, `mutex`, `nat`, `node_socket`, `query`, `routing_table` |
// | `testnet` | a network for tests and experiments | `dht` |
// | `udx_stream` | streams as readers and writers | `mutex`, `node_socket`, `udx` |
// | `secret_stream` | encrypted messages over a stream | `hash`, `key`, `noise`, `stream_cipher` |
// | `announce` | keeps a key announced | `announce_signature`, `dht`, `engine`, `key`, `messages`, `query`, `routing_table`, `suspension` |
// | `relay_cache` | the relays of dialed peers | `key` |
// | `dial` | connections to a key | all above |
// | `listener` | connections to our keys | all above |
// | `node` | the handle of a node | all above |
// | `message_writer` | a queue of messages to a stream | `secret_stream` |
// | `rpc_client` | sends requests | `message_writer`, `secret_stream`, `wire` |
// | `rpc_server` | answers requests | `message_writer`, `rpc_client`, `secret_stream`, `wire` |

mod announce;
mod announce_signature;
mod dht;
mod dial;
mod engine;
mod handshake_reply_cache;
mod hash;
mod key;
mod listener;
mod message_writer;
pub mod messages;
mod mutex;
mod nat;
mod node;
mod node_socket;
mod noise;
mod punch_limiter;
mod query;
mod record_store;
mod relay_cache;
mod request_table;
mod routing_table;
mod rpc_client;
mod rpc_server;
mod secret_stream;
mod stream_cipher;
mod suspension;
pub mod testnet;
pub mod udx;
mod udx_stream;
pub mod wire;

#[cfg(test)]
mod tests;

pub use dial::DialError;
pub use key::{KeyPair, PublicKey};
pub use listener::{AnnouncementWatch, IncomingConnection, KeyAdmission, KeyListener};
pub use message_writer::OnAcked;
pub use node::{Node, NodeError};
pub use rpc_client::{CallError, ConnectionEnd, RpcClient};
pub use rpc_server::{RpcMethod, RpcReply, serve};
pub use secret_stream::{MAX_MESSAGE_BYTES, SecretStream, SecretStreamError, SecretStreamReader, SecretStreamWriter};
pub use suspension::resumed;
