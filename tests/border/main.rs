//! Tests at the border: the whole proxy, from the outside, with real peers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and says aloud what it skips"
)]
#![allow(missing_docs, unreachable_pub, reason = "nobody reads the documentation of a test binary")]

mod access;
#[cfg(feature = "bitswap")]
mod bitswap;
#[cfg(feature = "cluster")]
mod cluster;
mod commands;
mod documentation;
mod doors;
mod event_scripts;
mod events;
mod exposition;
mod fallback_socket;
mod full_disk;
mod harness;
mod hostile;
#[cfg(feature = "hyperdht")]
mod hyperdht;
#[cfg(feature = "hyperdht")]
mod hyperdht_js;
mod inputs;
#[cfg(feature = "hyperdht")]
mod javascript;
mod keep_alive;
mod links;
mod log;
mod log_levels;
mod native_histograms;
mod openmetrics2;
mod peers;
mod polls;
mod process;
mod pushgateway;
mod receiver_tls;
mod receivers;
mod restarts;
mod reverse_proxy;
mod secrets;
mod service_manager;
mod status_page;
mod stream;
mod web;
mod web_config;
