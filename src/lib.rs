//! # exporter-proxy
//!
//! One process that puts the Prometheus metrics of many applications behind one port.
//!
//! The one idea: **sources write, the store remembers, outlets read**, and the types forbid walking backwards.

pub mod model;

pub mod exposition;
pub mod outlets;
pub mod sources;
pub mod store;
pub mod supervise;
pub mod telemetry;
pub mod wire;
