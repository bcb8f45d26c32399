//! The states of the links to the bridges at which this proxy registers, for the status page.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The state of the link to one bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkState {
    /// The time since which this proxy is registered; `None` while it is not.
    pub registered_since: Option<Instant>,
    /// The time of the last scrape through it.
    pub last_scrape: Option<Instant>,
    /// The time and the text of the last error.
    pub last_error: Option<(Instant, Box<str>)>,
}

/// The states of all links, by the configured address of the bridge. Bounded by `p2p.bridges`.
#[derive(Debug, Default)]
pub struct LinkStates(Mutex<BTreeMap<String, LinkState>>);

impl LinkStates {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, LinkState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state of the link to a bridge.
    pub fn update(&self, bridge: &str, change: impl FnOnce(&mut LinkState)) {
        change(self.all().entry(bridge.to_owned()).or_default());
    }

    /// Returns all states, with the addresses of the bridges.
    #[must_use]
    pub fn list(&self) -> Vec<(String, LinkState)> {
        self.all().iter().map(|(bridge, state)| (bridge.clone(), state.clone())).collect()
    }
}
