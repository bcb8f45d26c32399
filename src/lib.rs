//! # exporter-proxy: architecture
//!
//! One process that serves the Prometheus metrics of many applications on one port. Applications submit metrics in several
//! ways; the proxy keeps the latest update of each and serves all of them. This page is for contributors; the README is for
//! users.
//!
//! ## Overview
//!
//! **Sources write, the store remembers, outlets read**, and the types enforce that direction.
//!
//! ```text
//!  sources                          store                    outlets
//!  receivers (TCP, Unix)  --\                             /-- /metrics
//!  polls                  ---> Inlet  latest per app  View --> /apps, status page
//!  HTTP push              --/                             \-- health, self metrics
//!  upstream streams       --\
//!  Bitswap monitor        ---> message bus                --> the monitoring stream
//!  POST /event            -->  events, for each scraper   --> within its scrapes
//! ```
//!
//! ## Path of one update
//!
//! A listener of [`supervise`] accepts a connection and gives it a connection slot. A decoder of [`wire`] turns its bytes into
//! messages. The receiver in [`sources`] adds origin and time, and [`store::Inlet::put`] replaces the app's entry under a short
//! lock. The HTTP service of [`http`] passes a scraper's request to a handler in [`outlets`], which reads [`store::View`]: a
//! list of [`bytes::Bytes`] of known length, written to the socket without another copy.
//!
//! ## Modules
//!
//! A module may import those that its last column names, all of which stand above it. `tests/repo/layers.rs` reads this table
//! and fails on any other import. Of the store, sources and outlets use one half each.
//!
//! | module | purpose | may import |
//! | --- | --- | --- |
//! | [`exposition`] | the text formats, pure: the crate in `crates/exposition` | none |
//! | `hyperdht` | HyperDHT nodes, encrypted streams and calls (the cargo feature `hyperdht`): the crate in `crates/hyperdht` | none |
//! | [`model`] | the nouns: names, times, updates | `exposition` |
//! | [`wire`] | bytes to messages and back, pure | `hyperdht`, `model` |
//! | [`telemetry`] | self metrics and the log | `model` |
//! | [`supervise`] | tasks: bind, start, watch, drain, stop; listeners and connection slots | `model`, `telemetry` |
//! | [`bus`] | notifications of changes, from publishers to subscribers | `model` |
//! | [`peer_samples`] | the peers of polled IPFS nodes and of the Bitswap monitor | `model` |
//! | [`store`] | updates and events, and the files that keep them across restarts | `model`, `exposition`, `telemetry`, `supervise`, `bus` |
//! | [`http`] | HTTP/1.1 over any byte stream, without routes | `model`, `telemetry`, `supervise` |
//! | [`page`] | the frame of the pages for browsers: style, script, updates, rendering in turns, compression | `model`, `exposition`, `supervise`, `http` |
//! | [`sources`] | the writers and their HTTP handlers | `model`, `wire`, `exposition`, `telemetry`, `supervise`, `http`, `bus`, `peer_samples`, [`store::Inlet`] |
//! | [`outlets`] | the readers and their HTTP handlers | `model`, `wire`, `exposition`, `telemetry`, `supervise`, `http`, `page`, `bus`, `peer_samples`, [`store::View`] |
//! | [`peer`] | links to remote scrapers: identity, registration, QUIC, HyperDHT (the cargo feature `hyperdht`) | `hyperdht`, `model`, `wire`, `telemetry`, `supervise`, `http` |
//! | [`bridge`] | the remote end of links: aliases, targets file, scrapes through links | `model`, `wire`, `telemetry`, `supervise`, `http`, `page`, `peer` |
//! | `cluster` | replicas over an engine with the protocol of Redis (the cargo feature `cluster`) | `model`, `wire`, `telemetry`, `supervise`, `http`, `store`, `bridge` |
//! | [`config`] | text to settings | all above |
//! | [`daemon`] | the composition root | all above |
//! | [`cli`] | one file per subcommand | all above |
//!
//! ## Invariants
//!
//! - An acknowledged event reaches every scraper once; with `store.path` it is on disk before the acknowledgement.
//! - A scrape shows every update that was acknowledged before the scrape began.
//! - Refused input is counted, logged with client and reason, and never changes what was stored before.
//! - No lock is held across an await, nor while text is parsed, copied, compressed or sent.
//! - Pure modules have no sockets and no clock: time is an argument.
//! - Every queue, buffer, map and wait has a named bound with its reason beside it.
//! - Every task has an owner: a failed service stops the program and is named; a failed connection is counted.

pub use exporter_proxy_exposition as exposition;

pub mod model;

pub mod wire;

pub mod supervise;
pub mod telemetry;

pub mod bus;
pub mod peer_samples;

pub mod store;

pub mod http;

pub mod page;

pub mod outlets;
pub mod sources;

pub mod peer;

pub mod bridge;

#[cfg(feature = "cluster")]
pub mod cluster;

pub mod config;
pub mod daemon;

pub mod cli;
