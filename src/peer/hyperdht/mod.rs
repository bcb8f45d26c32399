//! Links over HyperDHT: peers find each other by key alone, and talk over UDX streams that are encrypted with keys from their handshake.
//!
//! [`node::Node`] is our place in the network. Dialling and being reached make a [`pipe::Pipe`] out of a key: whole messages in both
//! directions.

#![allow(dead_code, reason = "the half that uses the pipes is written beside this one")]

mod accept;
mod announce;
mod answers;
mod dial;
mod node;
mod pipe;
mod stream;
mod udx;

#[cfg(test)]
#[allow(unreachable_pub, reason = "public for the tests of the border, which are another crate")]
mod testnet;
#[cfg(test)]
mod tests;
