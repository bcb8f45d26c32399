//! How much the store keeps, and for how long.

use std::time::Duration;

/// The bounds of a store. They can be changed while it runs; what is stored already stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The age of its last update at which a pushed application is forgotten; `None`: never.
    pub expire_after: Option<Duration>,
    /// The most applications kept.
    pub max_apps: usize,
    /// The most bytes of exposition text kept, of all applications together.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            expire_after: None,
            max_apps: 100_000,
            max_bytes: 4 << 30,
        }
    }
}
