//! The connected peers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;

use super::protocol::{is_newer, is_supported};
use crate::model::{Peer, PeerSample, Timestamp};

/// Limits of the texts of a peer that are kept, of which it sends any number: its addresses, its protocols, and the bytes of each text.
const MAX_ADDRESSES: usize = 16;
const MAX_PROTOCOLS: usize = 64;
const MAX_TEXT_BYTES: usize = 256;

/// A connected peer.
#[derive(Debug)]
struct PeerEntry {
    id: Arc<str>,
    /// Its connections and their addresses: as many as the behaviour allows.
    connections: Vec<(ConnectionId, Arc<str>)>,
    agent: Option<Arc<str>>,
    latency: Option<Duration>,
    addresses: Vec<Arc<str>>,
    protocols: Vec<Arc<str>>,
    /// True if it offers a version of Bitswap that the monitor reads, or has sent a message.
    is_sender: bool,
}

/// All connected peers; bounded by the connections that the behaviour allows.
#[derive(Debug, Default)]
pub(super) struct Peers(HashMap<PeerId, PeerEntry>);

impl Peers {
    /// Adds a connection.
    pub(super) fn connected(&mut self, peer: PeerId, connection: ConnectionId, remote: &str) -> Arc<str> {
        let entry = self.0.entry(peer).or_insert_with(|| PeerEntry {
            id: peer.to_string().into(),
            connections: Vec::new(),
            agent: None,
            latency: None,
            addresses: Vec::new(),
            protocols: Vec::new(),
            is_sender: false,
        });
        entry.connections.push((connection, remote.into()));
        Arc::clone(&entry.id)
    }

    /// Removes a connection, and the peer with its last one. Returns the peer's id if it was known.
    pub(super) fn disconnected(&mut self, peer: PeerId, connection: ConnectionId) -> Option<Arc<str>> {
        let entry = self.0.get_mut(&peer)?;
        entry.connections.retain(|(known, _)| *known != connection);
        let id = Arc::clone(&entry.id);
        if entry.connections.is_empty() {
            self.0.remove(&peer);
        }
        Some(id)
    }

    /// Stores what a peer says about itself. Returns the first version of Bitswap that it newly offers and the monitor cannot read.
    pub(super) fn identified<'t>(
        &mut self,
        peer: PeerId,
        agent: &str,
        addresses: impl Iterator<Item = String>,
        protocols: impl Iterator<Item = &'t str> + Clone,
    ) -> Option<&'t str> {
        let entry = self.0.get_mut(&peer)?;
        let newer = protocols.clone().find(|protocol| is_newer(protocol));
        let newer = newer.filter(|_| !entry.protocols.iter().any(|known| is_newer(known)));
        entry.agent = Some(cut(agent));
        entry.is_sender |= protocols.clone().any(is_supported);
        entry.addresses = addresses.take(MAX_ADDRESSES).map(|address| cut(&address)).collect();
        // Versions of Bitswap come first, so that they are never cut off.
        let (bitswap, other): (Vec<&str>, Vec<&str>) = protocols.partition(|protocol| is_supported(protocol) || is_newer(protocol));
        entry.protocols = bitswap.into_iter().chain(other).take(MAX_PROTOCOLS).map(cut).collect();
        newer
    }

    /// Records that a peer has sent a message.
    pub(super) fn sent(&mut self, peer: PeerId) {
        if let Some(entry) = self.0.get_mut(&peer) {
            entry.is_sender = true;
        }
    }

    /// Stores a measured round-trip time.
    pub(super) fn measured(&mut self, peer: PeerId, latency: Duration) {
        if let Some(entry) = self.0.get_mut(&peer) {
            entry.latency = Some(latency);
        }
    }

    /// The id of a peer.
    pub(super) fn id(&self, peer: PeerId) -> Option<&Arc<str>> {
        self.0.get(&peer).map(|entry| &entry.id)
    }

    /// Number of peers.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Number of connections.
    pub(super) fn connections(&self) -> usize {
        self.0.values().map(|entry| entry.connections.len()).sum()
    }

    /// Number of peers that offer a version of Bitswap that the monitor reads.
    pub(super) fn senders(&self) -> usize {
        self.0.values().filter(|entry| entry.is_sender).count()
    }

    /// The peers at this time.
    pub(super) fn sample(&self, at: Timestamp) -> PeerSample {
        let peers = self.0.values().map(|entry| Peer {
            id: Arc::clone(&entry.id),
            agent: entry.agent.clone(),
            latency: entry.latency,
            addresses: entry.addresses.clone(),
            connected: entry.connections.iter().map(|(_, remote)| Arc::clone(remote)).collect(),
            protocols: entry.protocols.clone(),
        });
        PeerSample {
            at,
            connections: self.connections(),
            peers: peers.collect(),
        }
    }
}

/// A text of a peer, cut to its limit.
fn cut(text: &str) -> Arc<str> {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].into()
}

#[cfg(test)]
mod tests;
