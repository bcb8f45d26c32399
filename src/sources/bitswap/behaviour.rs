//! Limits of connections, and the handler of each.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::behaviour::{ConnectionClosed, DialFailure, ListenFailure};
use libp2p_swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};

use super::handler::{Handler, Received};
use super::inbound::IncompleteMessages;
use super::observer::Observer;

/// Limit of connections with an incomplete handshake. Each ends within seconds.
const MAX_HANDSHAKES: usize = 256;
/// Limit of connections of one peer: two nodes may dial each other at the same time, over TCP and QUIC.
const MAX_PER_PEER: usize = 4;
/// Time without a message after which a connection can be closed for a new one at the limit of connections.
const MIN_IDLE: Duration = Duration::from_secs(10);

/// Reason for refusing a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    Handshakes,
    PerPeer,
    Connections(usize),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshakes => write!(f, "more than {MAX_HANDSHAKES} handshakes at the same time"),
            Self::PerPeer => write!(f, "more than {MAX_PER_PEER} connections of this peer"),
            Self::Connections(max) => write!(f, "more than {max} connections (bitswap.max_peers)"),
        }
    }
}

impl std::error::Error for Denied {}

/// A connection with a handler.
#[derive(Debug)]
struct ConnectionEntry {
    peer: PeerId,
    /// The time of its last message, or of its start.
    active: Instant,
}

/// A report of the behaviour.
#[derive(Debug)]
pub(super) struct FromPeer {
    pub(super) peer: PeerId,
    pub(super) received: Received,
}

/// The behaviour of the monitor's Bitswap half.
pub(super) struct Bitswap {
    observer: Arc<Observer>,
    memory: IncompleteMessages,
    max_connections: usize,
    /// The configured peers: their connections are never refused or closed for others.
    protected: HashSet<PeerId>,
    /// At most [`MAX_HANDSHAKES`].
    handshakes: HashSet<ConnectionId>,
    /// At most `max_connections`, besides those of protected peers.
    connections: HashMap<ConnectionId, ConnectionEntry>,
    /// The number of those that are not of protected peers.
    unprotected: usize,
    /// Emptied by the swarm, which reads it before it reads from a connection.
    events: VecDeque<ToSwarm<FromPeer, Infallible>>,
}

impl Bitswap {
    pub(super) fn new(observer: Arc<Observer>, max_connections: usize, protected: HashSet<PeerId>) -> Self {
        Self {
            observer,
            memory: IncompleteMessages::default(),
            max_connections,
            protected,
            handshakes: HashSet::new(),
            connections: HashMap::new(),
            unprotected: 0,
            events: VecDeque::new(),
        }
    }

    /// Checks the limits for one more connection of a peer, and closes an idle one for it if necessary.
    fn admit(&mut self, peer: PeerId, now: Instant) -> Result<(), Denied> {
        if self.connections.values().filter(|entry| entry.peer == peer).count() >= MAX_PER_PEER {
            return Err(Denied::PerPeer);
        }
        if self.protected.contains(&peer) || self.unprotected < self.max_connections {
            return Ok(());
        }
        let unprotected = self.connections.iter().filter(|(_, entry)| !self.protected.contains(&entry.peer));
        let longest = unprotected.min_by_key(|(_, entry)| entry.active);
        let idle = longest.filter(|(_, entry)| now.saturating_duration_since(entry.active) >= MIN_IDLE);
        let (&connection, entry) = idle.ok_or(Denied::Connections(self.max_connections))?;
        self.events.push_back(ToSwarm::CloseConnection {
            peer_id: entry.peer,
            connection: CloseConnection::One(connection),
        });
        self.remove(connection);
        Ok(())
    }

    fn insert(&mut self, connection: ConnectionId, entry: ConnectionEntry) {
        self.unprotected += usize::from(!self.protected.contains(&entry.peer));
        self.connections.insert(connection, entry);
    }

    fn remove(&mut self, connection: ConnectionId) {
        if let Some(entry) = self.connections.remove(&connection) {
            self.unprotected -= usize::from(!self.protected.contains(&entry.peer));
        }
    }

    fn handler(&mut self, connection: ConnectionId, peer: PeerId, remote: &Multiaddr) -> Result<Handler, ConnectionDenied> {
        let now = Instant::now();
        self.admit(peer, now).map_err(ConnectionDenied::new)?;
        self.insert(connection, ConnectionEntry { peer, active: now });
        Ok(Handler::new(
            Arc::clone(&self.observer),
            self.memory.clone(),
            peer.to_string().into(),
            without_peer(remote).into(),
        ))
    }
}

/// The text of an address without its peer id, as the original reports it.
pub(super) fn without_peer(address: &Multiaddr) -> String {
    let text = address.to_string();
    text.rsplit_once("/p2p/").map_or(text.as_str(), |(front, _)| front).to_owned()
}

impl NetworkBehaviour for Bitswap {
    type ConnectionHandler = Handler;
    type ToSwarm = FromPeer;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.handshakes.len() >= MAX_HANDSHAKES {
            return Err(ConnectionDenied::new(Denied::Handshakes));
        }
        self.handshakes.insert(connection);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handshakes.remove(&connection);
        self.handler(connection, peer, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _role: Endpoint,
        _port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(connection, peer, remote)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.handshakes.remove(&connection_id);
                self.remove(connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, received: THandlerOutEvent<Self>) {
        if let Some(entry) = self.connections.get_mut(&connection) {
            entry.active = Instant::now();
        }
        self.events.push_back(ToSwarm::GenerateEvent(FromPeer { peer, received }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<FromPeer, THandlerInEvent<Self>>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(test)]
mod tests;
