//! The writers: everything by which metrics come in. No source can read the store.

pub mod polls;
