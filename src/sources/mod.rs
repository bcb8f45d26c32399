//! The writers: each takes metrics in its own way and puts them into the store, which none of them can read.

pub mod events;
pub mod polls;
pub mod push;
pub mod receiver;
pub mod upstreams;
