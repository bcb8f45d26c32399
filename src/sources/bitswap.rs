//! A Bitswap monitor: a libp2p node that records the wantlists, blocks and presences which IPFS nodes send to it.
//!
//! It is an app with the counts of the original client's metrics, and its events go to the monitoring stream. It never sends a block; it
//! answers wants with `DONT_HAVE` where a peer asks for that. `docs/bitswap.md` describes it for users.
//!
//! Each connection has a [`handler`] in a task of its own, which decodes messages and encodes events. The [`monitor`] drives the swarm: it
//! counts, publishes events in the order of each peer, keeps connections to the configured peers, and samples all peers.

mod behaviour;
mod dialer;
mod handler;
mod inbound;
mod monitor;
mod observer;
mod outbound;
mod peers;
mod protocol;
mod render;
#[cfg(test)]
mod tests;
mod transport;

pub use monitor::{BindError, BitswapContext, BitswapSettings, Monitor};
