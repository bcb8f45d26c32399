//! Links over HyperDHT: peers find each other by key alone, and talk over UDX streams that are encrypted with keys from their handshake.
//!
//! [`node`] is our place in the network, [`dial`] and [`accept`] make a [`pipe::Pipe`] out of a key: whole messages in both directions. On
//! a pipe one end asks ([`calling`]) and the other answers ([`serving`]). Of these are made what a proxy needs ([`scraped`], with a
//! [`registrar`] for each bridge) and what a bridge needs ([`desk`] for registrations, [`callers`] for scrapes).

mod accept;
mod callers;
mod calling;
mod desk;
mod dial;
mod metrics;
mod network;
mod node;
mod pipe;
mod registrar;
mod route;
mod scraped;
mod sending;
mod serving;
#[cfg(test)]
mod talk_tests;

pub(crate) use callers::Callers;
pub(crate) use desk::Desk;
pub(crate) use network::Network;
pub(crate) use scraped::Scraped;
