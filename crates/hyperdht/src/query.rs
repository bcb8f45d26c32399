//! An iterative query: asks ever closer nodes to a target until no closer one is known.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddrV4;

use bytes::Bytes;

use crate::messages::Reply;
use crate::routing_table::{BUCKET_NODES, NodeId, distance, node_id};

/// Limit on requests without a reply, not counting those that are late.
const CONCURRENCY: usize = 10;
/// Limit on the nodes that one query considers, far more than a query of a network of a million nodes needs. Replies can name any number
/// of made-up nodes.
const MAX_CONSIDERED: usize = 1_000;
/// Limit on the nodes that are notified of one that they have named and that does not respond.
const MAX_REFERRERS: usize = 4;

/// A node that has replied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its address.
    pub(crate) from: SocketAddrV4,
    /// Its id, the hash of its address.
    pub(crate) id: NodeId,
    /// The token for a later request.
    pub(crate) token: Option<[u8; 32]>,
    /// The value of its reply.
    pub(crate) value: Option<Bytes>,
}

/// The state of a node that a query has considered.
#[derive(Debug)]
enum Considered {
    /// It waits for its turn, or for its reply. It was named by these nodes.
    Open(Vec<SocketAddrV4>),
    /// It has replied.
    Replied,
    /// It does not respond.
    Down,
}

/// A query.
#[derive(Debug)]
pub(crate) struct Query {
    target: NodeId,
    own: NodeId,
    considered: HashMap<SocketAddrV4, Considered>,
    /// The nodes to ask, by their distance from the target.
    waiting: BTreeMap<NodeId, SocketAddrV4>,
    /// The closest nodes that have replied, by their distance from the target.
    closest: BTreeMap<NodeId, Found>,
    in_flight: usize,
    /// Those of the requests in flight that were sent again.
    late: usize,
}

impl Query {
    /// Starts a query; `own` is our id, which is never asked.
    pub(crate) fn new(target: NodeId, own: NodeId) -> Self {
        Self {
            target,
            own,
            considered: HashMap::new(),
            waiting: BTreeMap::new(),
            closest: BTreeMap::new(),
            in_flight: 0,
            late: 0,
        }
    }

    /// Returns true if no result could be displaced by a node at this distance.
    fn is_too_far(&self, distance: &NodeId) -> bool {
        self.closest.len() >= BUCKET_NODES && self.closest.last_key_value().is_some_and(|(furthest, _)| distance >= furthest)
    }

    /// Considers a node that `referrer` has named. Returns true if it is known not to respond, which the referrer may want to know.
    pub(crate) fn consider(&mut self, address: SocketAddrV4, referrer: Option<SocketAddrV4>) -> bool {
        let usable = address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast() && !address.ip().is_broadcast();
        if !usable {
            return false;
        }
        match self.considered.get_mut(&address) {
            Some(Considered::Open(referrers)) => {
                if referrers.len() < MAX_REFERRERS {
                    referrers.extend(referrer);
                }
                false
            }
            Some(Considered::Replied) => false,
            Some(Considered::Down) => true,
            None => {
                let id = node_id(address);
                let distance = distance(&id, &self.target);
                if id != self.own && self.considered.len() < MAX_CONSIDERED && !self.is_too_far(&distance) {
                    self.considered.insert(address, Considered::Open(referrer.into_iter().collect()));
                    self.waiting.insert(distance, address);
                }
                false
            }
        }
    }

    /// Returns the next node to ask now.
    pub(crate) fn next(&mut self) -> Option<SocketAddrV4> {
        if self.in_flight >= CONCURRENCY + self.late {
            return None;
        }
        let (distance, address) = self.waiting.pop_first()?;
        if self.is_too_far(&distance) {
            self.waiting.clear();
            return None;
        }
        self.in_flight += 1;
        Some(address)
    }

    /// Handles the reply of a node. Returns the nodes in it that are known not to respond, which the node may want to know.
    pub(crate) fn on_reply(&mut self, from: SocketAddrV4, reply: &Reply, was_late: bool) -> Vec<SocketAddrV4> {
        self.end_of_request(was_late);
        self.considered.insert(from, Considered::Replied);
        let id = node_id(from);
        // A node without an id is ephemeral: it stores nothing. Errors are replies of nodes that do not support the command.
        if reply.error == 0 && reply.id == Some(id) {
            let found = Found {
                from,
                id,
                token: reply.token,
                value: reply.value.clone(),
            };
            self.closest.insert(distance(&id, &self.target), found);
            if self.closest.len() > BUCKET_NODES {
                self.closest.pop_last();
            }
        }
        let named = reply.closer_nodes.iter().copied();
        named.filter(|node| self.consider(*node, Some(from))).collect()
    }

    /// Handles that a node has not replied; returns the nodes that have named it.
    pub(crate) fn on_timeout(&mut self, from: SocketAddrV4, was_late: bool) -> Vec<SocketAddrV4> {
        self.end_of_request(was_late);
        match self.considered.insert(from, Considered::Down) {
            Some(Considered::Open(referrers)) => referrers,
            _ => Vec::new(),
        }
    }

    /// Handles that a request was sent again. Another node may be asked meanwhile.
    pub(crate) fn on_late(&mut self) {
        self.late += 1;
    }

    fn end_of_request(&mut self, was_late: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.late = self.late.saturating_sub(was_late.into());
    }

    /// Returns true if all that could be found was found: late replies are not waited for if there are enough others.
    pub(crate) fn is_finished(&self) -> bool {
        let waiting = self
            .waiting
            .first_key_value()
            .is_some_and(|(distance, _)| !self.is_too_far(distance));
        let enough = self.closest.len() >= BUCKET_NODES;
        !waiting && (self.in_flight == 0 || (enough && self.late == self.in_flight))
    }

    /// Returns the closest nodes that have replied, the closest first.
    pub(crate) fn into_closest(self) -> Vec<Found> {
        self.closest.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
