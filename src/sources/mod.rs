//! The writers: each takes metrics in its own way and puts them into the store, which none of them can read.

pub mod events;
pub mod polls;
pub mod push;
pub mod receiver;
pub mod upstreams;

/// Texts longer than this are read on a thread of their own: at a gigabyte a second it takes a millisecond, and the other tasks of a
/// worker thread should not wait longer than that.
const LARGE_BYTES: usize = 1 << 20;
