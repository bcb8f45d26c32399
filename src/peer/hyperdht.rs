//! Links over HyperDHT: peers find each other by key, and exchange messages over encrypted UDX streams.
//!
//! A [`node::Node`] is a member of the network. [`dial`] and [`listener`] open a [`secret_stream::SecretStream`], which carries messages
//! in both directions. On it, [`rpc_client`] sends requests and [`rpc_server`] answers them. A proxy uses [`scrape_server`] with a
//! [`registrar`] for each bridge; a bridge uses [`registration_server`] for registrations and [`connection_pool`] for scrapes.

mod announce;
mod connection_pool;
mod default_route;
mod dial;
mod handshake_reply_cache;
mod listener;
mod message_writer;
mod metrics_method;
mod network;
mod node;
mod punch_limiter;
mod registrar;
mod registration_server;
mod rpc_client;
mod rpc_server;
mod scrape_server;
mod secret_stream;
mod udx;
mod udx_stream;

#[cfg(test)]
#[allow(unreachable_pub, reason = "public for the tests of the border, which are another crate")]
mod testnet;
#[cfg(test)]
mod tests;

pub(crate) use connection_pool::ConnectionPool;
pub(crate) use network::Network;
pub(crate) use registration_server::RegistrationServer;
pub(crate) use scrape_server::HyperdhtScrapeServer;
