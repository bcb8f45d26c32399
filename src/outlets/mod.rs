//! The readers: each hands out what the store remembers in its own way, and none can change it.

mod own;
mod table;

pub use own::Own;
