//! Limits of the store, and the mode of combining texts.

use std::time::Duration;

use crate::exposition::catalog::Rules;

/// The bounds of a store. They can be changed while it runs; what is stored already stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The age of its last update at which a pushed app is forgotten; `None`: never.
    pub expire_after: Option<Duration>,
    /// The most apps kept.
    pub max_apps: usize,
    /// The most bytes of memory for texts, their index, tables, and rendered and compressed forms, responses that are still being sent
    /// included.
    pub max_memory: u64,
    /// The most series of one app.
    pub max_series_per_app: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            expire_after: None,
            max_apps: 100_000,
            max_memory: 4 << 30,
            max_series_per_app: 2_000_000,
        }
    }
}

/// The mode of combining the texts of all apps.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Byte for byte as they came, one after another; nothing is read.
    Raw,
    /// Families are merged across apps by these rules.
    Merge(Rules),
}
