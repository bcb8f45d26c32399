//! Links over HyperDHT: peers find each other by key alone, and talk over UDX streams that are encrypted with keys from their handshake.
//!
//! [`node::Node`] is our place in the network. Dialling and being reached make a [`secret_stream::SecretStream`] out of a key: whole messages in both
//! directions. On a pipe one end asks ([`calling`]) and the other answers ([`serving`]). Of these is made what a proxy needs ([`scraped`],
//! with a [`registrar`] for each bridge) and what a bridge needs ([`registrations`] for registrations, [`pool`] for scrapes).

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
