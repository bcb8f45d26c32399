//! The text formats: parsing, families, merging, rendering, negotiation. Pure: no sockets, no clock, no lock.

pub mod escape;
pub mod gzip;
pub mod negotiate;
pub mod raw;
