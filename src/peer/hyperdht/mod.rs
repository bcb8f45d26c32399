//! Links over HyperDHT: peers find each other by key alone, and talk over UDX streams that are encrypted with keys from their handshake.
//!
//! [`node`] is our place in the network, [`dial`] and [`accept`] make a [`pipe::Pipe`] out of a key: whole messages in both directions.

#![allow(dead_code, reason = "the half that uses the pipes is written beside this one")]

mod accept;
mod dial;
mod node;
mod pipe;
