//! Cache of the relays through which each peer was last reached.

use std::collections::HashMap;
use std::net::SocketAddrV4;

use crate::key::PublicKey;

/// Limit on peers with cached relays, more than the proxies of a typical bridge.
const MAX_PEERS: usize = 4096;

/// The relays through which each peer was last reached.
#[derive(Debug, Default)]
pub(crate) struct RelayCache(HashMap<PublicKey, Vec<SocketAddrV4>>);

impl RelayCache {
    /// Returns the relays of a peer.
    pub(crate) fn get(&self, peer: &PublicKey) -> Vec<SocketAddrV4> {
        self.0.get(peer).cloned().unwrap_or_default()
    }

    /// Adds the relays of a peer; evicts another peer if the cache is full.
    pub(crate) fn remember(&mut self, peer: PublicKey, relays: &[SocketAddrV4]) {
        if self.0.len() >= MAX_PEERS
            && !self.0.contains_key(&peer)
            && let Some(any) = self.0.keys().next().copied()
        {
            self.0.remove(&any);
        }
        self.0.insert(peer, relays.to_vec());
    }
}

#[cfg(test)]
mod tests;
