#![doc = include_str!("../README.md")]
//!
//! ## Modules
//!
//! A [`Node`] is a member of the network. [`Node::dial`] and [`Node::listen`] open a [`SecretStream`], which carries messages in both
//! directions. On it, an [`RpcClient`] sends requests and [`serve`] answers them. The pure parts, for programs with sockets of their own:
//! [`udx`] has one end of a stream without sockets and clocks, [`wire`] the encoding of channels and calls.

mod announce;
mod dial;
mod handshake_reply_cache;
mod key;
mod listener;
mod message_writer;
mod node;
mod punch_limiter;
mod rpc_client;
mod rpc_server;
mod secret_stream;
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
