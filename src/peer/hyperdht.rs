//! Links over HyperDHT: registrations and scrapes of peers that find each other by key.
//!
//! The crate `exporter-proxy-hyperdht` has the transport: the node, its encrypted streams, and calls on them. A proxy uses
//! `scrape_server` with a `Registrar` for each bridge; a bridge uses `registration_server` for registrations and `connection_pool` for
//! scrapes. Without the cargo feature `hyperdht` only the types of `api` exist, and no node can be created.

#[cfg(feature = "hyperdht")]
mod announcement;
#[cfg_attr(not(feature = "hyperdht"), expect(dead_code, reason = "no peer is reachable by key without it"))]
mod api;
#[cfg(feature = "hyperdht")]
mod connection_pool;
#[cfg(feature = "hyperdht")]
mod conversions;
#[cfg(feature = "hyperdht")]
mod default_route;
#[cfg(not(feature = "hyperdht"))]
mod disabled;
#[cfg(feature = "hyperdht")]
mod metrics_method;
#[cfg(feature = "hyperdht")]
mod network;
#[cfg(feature = "hyperdht")]
mod registrar;
#[cfg(feature = "hyperdht")]
mod registration_server;
#[cfg(feature = "hyperdht")]
mod scrape_server;

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
