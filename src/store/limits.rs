//! How much the store keeps, for how long, and how it puts together what it keeps.

use std::time::Duration;

use crate::exposition::catalog::Rules;

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

/// How the applications' texts become one.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Byte for byte as they came, one after another; nothing is read.
    Raw,
    /// Families are merged across applications by these rules.
    Merge(Rules),
}
