//! Replicas: proxies that share their apps over an engine with the protocol of Redis, so that each serves every scrape from its own memory.
//!
//! A source of one replica writes into its store, as without a cluster. The store notes which apps changed
//! ([`LocalChanges`](crate::store::LocalChanges)). The cluster writes their state to the engine, one record an app, and each write gets a
//! revision. All replicas watch the revisions, fetch records that are newer than theirs, and put them into their stores. The engine decides
//! on the order: of two updates of an app the one with the later revision stays.
//!
//! `engine` is what the state machines need of an engine, `redis` the real one. `revisions` and `connectivity` decide without I/O,
//! with the time as an argument. `session` is one connection to the engine from the first record to the loss of it, and `service` opens
//! the next one. `bridge_session` is the connection of a bridge, which shares its aliases in the same way; `bridge` is its service.

mod bridge;
mod bridge_session;
mod connectivity;
mod engine;
mod events;
#[cfg(test)]
mod fake;
mod members;
mod probe;
mod record;
mod redis;
mod revisions;
mod service;
mod session;
mod settings;
#[cfg(test)]
mod tests;

pub use bridge::{BridgeCluster, BridgeClusterContext, BridgeIdentity};
pub use probe::routes;
pub use service::{Cluster, ClusterContext};
pub use settings::ClusterSettings;
