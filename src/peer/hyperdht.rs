//! Links over HyperDHT: peers find each other by key, and exchange messages over encrypted UDX streams.
//!
//! A `Node` is a member of the network. The modules `dial` and `listener` open a `SecretStream`, which carries messages in both
//! directions. On it, `rpc_client` sends requests and `rpc_server` answers them. A proxy uses `scrape_server` with a `Registrar` for each
//! bridge; a bridge uses `registration_server` for registrations and `connection_pool` for scrapes. Without the cargo feature `hyperdht`
//! only the types of `api` exist, and no node can be created.

#[cfg(feature = "hyperdht")]
mod announce;
#[cfg_attr(not(feature = "hyperdht"), expect(dead_code, reason = "no peer is reachable by key without it"))]
mod api;
#[cfg(feature = "hyperdht")]
mod connection_pool;
#[cfg(feature = "hyperdht")]
mod default_route;
#[cfg(feature = "hyperdht")]
mod dial;
#[cfg(not(feature = "hyperdht"))]
mod disabled;
#[cfg(feature = "hyperdht")]
mod handshake_reply_cache;
#[cfg(feature = "hyperdht")]
mod listener;
#[cfg(feature = "hyperdht")]
mod message_writer;
#[cfg(feature = "hyperdht")]
mod metrics_method;
#[cfg(feature = "hyperdht")]
mod network;
#[cfg(feature = "hyperdht")]
mod node;
#[cfg(feature = "hyperdht")]
mod punch_limiter;
#[cfg(feature = "hyperdht")]
mod registrar;
#[cfg(feature = "hyperdht")]
mod registration_server;
#[cfg(feature = "hyperdht")]
mod rpc_client;
#[cfg(feature = "hyperdht")]
mod rpc_server;
#[cfg(feature = "hyperdht")]
mod scrape_server;
#[cfg(feature = "hyperdht")]
mod secret_stream;
#[cfg(feature = "hyperdht")]
mod udx;
#[cfg(feature = "hyperdht")]
mod udx_stream;

#[cfg(all(test, feature = "hyperdht"))]
#[allow(unreachable_pub, reason = "public for the tests of the border, which are another crate")]
mod testnet;
#[cfg(all(test, feature = "hyperdht"))]
mod tests;

pub use api::HyperdhtError;

pub(crate) use api::{Registrant, RegistrationHandler, ScrapeServerSettings};
#[cfg(feature = "hyperdht")]
pub(crate) use connection_pool::ConnectionPool;
#[cfg(not(feature = "hyperdht"))]
pub(crate) use disabled::{ConnectionPool, HyperdhtScrapeServer, Network, RegistrationServer};
#[cfg(feature = "hyperdht")]
pub(crate) use network::Network;
#[cfg(feature = "hyperdht")]
pub(crate) use registration_server::RegistrationServer;
#[cfg(feature = "hyperdht")]
pub(crate) use scrape_server::HyperdhtScrapeServer;
