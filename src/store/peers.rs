//! The peers of polled IPFS nodes, as each node gave them last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{AppName, PeerSample};

/// The latest sample of each node; there are as many nodes as the configuration lists.
#[derive(Debug, Default)]
pub(super) struct Peers {
    nodes: Mutex<BTreeMap<AppName, Arc<PeerSample>>>,
}

impl Peers {
    fn change<R>(&self, change: impl FnOnce(&mut BTreeMap<AppName, Arc<PeerSample>>) -> R) -> R {
        change(&mut self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl super::Inlet {
    /// Replaces the sample of a node, or forgets it.
    pub fn put_peers(&self, node: &AppName, sample: Option<PeerSample>) {
        // What was there before may be large; it is freed behind the lock.
        let _before = self.peers().change(|nodes| match sample {
            Some(sample) => nodes.insert(node.clone(), Arc::new(sample)),
            None => nodes.remove(node),
        });
    }
}

impl super::View {
    /// The latest sample of each node that has one.
    #[must_use]
    pub fn peers(&self) -> Vec<Arc<PeerSample>> {
        self.peer_samples().change(|nodes| nodes.values().cloned().collect())
    }
}
