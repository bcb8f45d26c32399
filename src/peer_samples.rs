//! Samples of the peers of polled IPFS nodes, written by the polls and read by the monitoring API.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{AppName, PeerSample};

/// The latest sample of each node; there are as many nodes as the configuration lists. Cloning it clones a handle.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn the_latest_of_each_node() {
        let (peers, node) = (PeerSamples::default(), |name| AppName::new(name).unwrap());
        let sample = |connections| PeerSample {
            at: Timestamp::default(),
            connections,
            peers: Vec::new(),
        };
        for (name, connections) in [("b", 1), ("a", 2), ("b", 3)] {
            peers.put(&node(name), Some(sample(connections)));
        }
        let seen = || {
            let all = peers.all().into_iter();
            all.map(|(node, sample)| (node.to_string(), sample.connections)).collect::<Vec<_>>()
        };
        assert_eq!(seen(), [("a".to_owned(), 2), ("b".to_owned(), 3)]);
        peers.put(&node("a"), None);
        assert_eq!(seen(), [("b".to_owned(), 3)]);
    }
}
