//! # exporter-proxy: the map
//!
//! One process that puts the Prometheus metrics of many applications behind one port. Applications hand in metrics as they
//! like; the proxy keeps the latest of each and gives everything out. This page is for whoever works on the program; the
//! README is for whoever uses it.
//!
//! ## Bird's view
//!
//! One idea carries everything: **sources write, the store remembers, outlets read**, and the types forbid walking backwards.
//!
//! ```text
//!  sources                          store                    outlets
//!  receivers (TCP, Unix)  --\                             /-- /metrics
//!  polls                  ---> Inlet  latest per app  View --> /apps, status page
//!  HTTP push              --/                             \-- health, own metrics
//!  upstream streams       -->  live feed of changes       --> the monitoring stream
//!  POST /event            -->  events, for each scraper   --> within its scrapes
//! ```
//!
//! ## The walk of one blob of metrics
//!
//! A listener of [`supervise`] accepts a connection and gives it a slot. A decoder of [`wire`] turns its bytes into messages.
//! The receiver in [`sources`] adds where it came from and when, and [`store::Inlet::put`] swaps the application's entry under a
//! short lock. A scraper's request comes through the service of [`http`] to a handler in [`outlets`], which takes what
//! [`store::View`] shows: a list of [`bytes::Bytes`] with a known length, written without being copied again.
//!
//! ## Rooms
//!
//! | room | what it does | what it knows |
//! | --- | --- | --- |
//! | [`model`] | the nouns: names, times, updates | nobody |
//! | [`wire`] | bytes to messages and back, pure | `model` |
//! | [`exposition`] | the text formats, pure | `model` |
//! | [`telemetry`] | the program's own counters and its log | `model` |
//! | [`supervise`] | parts: bind, start, watch, stop, drain; listeners and slots | `model`, `telemetry` |
//! | [`store`] | what is remembered, and the files that outlive the program | `model`, `exposition` |
//! | [`http`] | HTTP/1.1 over any byte stream; knows no route | `model`, `supervise` |
//! | [`sources`] | the writers, their HTTP handlers too | `wire`, `http`, the store's [`store::Inlet`] |
//! | [`outlets`] | the readers, their HTTP handlers too | `exposition`, `http`, the store's [`store::View`] |
//! | [`peer`] | links to those who scrape from afar: identity, registration, QUIC, HyperDHT (the cargo feature `hyperdht`) | `wire`, `http` |
//! | [`bridge`] | the far end: aliases, targets file, scrapes through links | `peer`, `http` |
//! | [`config`] | text to settings | the rooms' vocabulary |
//! | [`daemon`] | the composition root: puts all of it together | everybody |
//! | [`cli`] | one file a subcommand | everybody |
//!
//! `telemetry` and `supervise` are tools that every room doing I/O may use. `tests/tidy.rs` reads the imports and fails where
//! an edge runs the wrong way, so this table cannot rot.
//!
//! ## What always holds
//!
//! - An event that was acknowledged reaches every scraper once; with a folder (`store.path`) it is on the disk before that.
//! - A scrape shows every update that was acknowledged before the scrape began.
//! - What is refused is counted, logged with who, what and where, and never touches what was stored before.
//! - No lock is held across an await, nor while text is parsed, copied, compressed or sent.
//! - Pure rooms have no sockets and no clock: time is an argument.
//! - Every queue, buffer, map and wait has a named bound with its reason beside it.
//! - No task without an owner: a part that falls brings the program down and is named; a connection that falls is counted.

pub mod model;

pub mod exposition;
pub mod wire;

pub mod supervise;
pub mod telemetry;

pub mod store;

pub mod http;

pub mod outlets;
pub mod sources;

pub mod peer;

pub mod bridge;

pub mod config;
pub mod daemon;

pub mod cli;
