//! Samples of the peers of IPFS nodes, written by the polls and the Bitswap monitor and read by the monitoring API.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{AppName, PeerSample};

/// The latest sample of each node; there are as many as the configuration lists, and the monitor. Cloning it clones a handle.
#[derive(Debug, Clone, Default)]
pub struct PeerSamples {
    nodes: Arc<Mutex<BTreeMap<AppName, Arc<PeerSample>>>>,
}

impl PeerSamples {
    /// Replaces the sample of a node, or removes it.
    pub fn put(&self, node: &AppName, sample: Option<PeerSample>) {
        // What was there before may be large; it is freed after the lock.
        let _before = self.change(|nodes| match sample {
            Some(sample) => nodes.insert(node.clone(), Arc::new(sample)),
            None => nodes.remove(node),
        });
    }

    /// The nodes and their samples, sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<(AppName, Arc<PeerSample>)> {
        self.change(|nodes| nodes.iter().map(|(node, sample)| (node.clone(), Arc::clone(sample))).collect())
    }

    fn change<R>(&self, change: impl FnOnce(&mut BTreeMap<AppName, Arc<PeerSample>>) -> R) -> R {
        change(&mut self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
