//! The routing table: known nodes by their distance from our id.
//!
//! The distance of two ids is their exclusive or, as a number. A bucket has the nodes that share the same number of leading bits with our
//! id, so the table knows many nodes near our id and some of each larger distance.

use std::net::SocketAddrV4;

use crate::hash::hash;

/// The id of a node: the hash of its address. Targets of queries are in the same space.
pub(crate) type NodeId = [u8; 32];

/// Limit on the nodes of a bucket, and the number of nodes that are close to a target: the value of HyperDHT.
pub(crate) const BUCKET_NODES: usize = 20;
/// One bucket for each number of leading bits. With [`BUCKET_NODES`] each, the table is bounded by 5120 nodes; the network has a few for
/// each of the first dozen buckets.
const BUCKETS: usize = 256;

/// Returns the id of the node at an address.
pub(crate) fn node_id(address: SocketAddrV4) -> NodeId {
    hash(&[&address.ip().octets(), &address.port().to_le_bytes()])
}

/// Returns the distance of two ids; it orders as a number.
pub(crate) fn distance(a: &NodeId, b: &NodeId) -> NodeId {
    std::array::from_fn(|at| a[at] ^ b[at])
}

/// A known node. Times are ticks of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownNode {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddrV4,
    /// The time at which it was added.
    pub(crate) added: u64,
    /// The time of its last packet.
    pub(crate) seen: u64,
    /// The time of the last packet from or to it.
    pub(crate) pinged: u64,
}

/// The known nodes.
#[derive(Debug)]
pub(crate) struct RoutingTable {
    own: NodeId,
    buckets: Vec<Vec<KnownNode>>,
    len: usize,
}

impl RoutingTable {
    pub(crate) fn new(own: NodeId) -> Self {
        Self {
            own,
            buckets: vec![Vec::new(); BUCKETS],
            len: 0,
        }
    }

    /// Returns our id.
    pub(crate) fn own(&self) -> &NodeId {
        &self.own
    }

    /// Returns the number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the bucket of an id: the number of leading bits that it shares with ours.
    fn bucket_of(&self, id: &NodeId) -> usize {
        let distance = distance(&self.own, id);
        let zeros = distance.iter().take_while(|byte| **byte == 0).count();
        let bits = distance.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
        (8 * zeros + bits).min(BUCKETS - 1)
    }

    /// Returns the node with this id.
    pub(crate) fn get_mut(&mut self, id: &NodeId) -> Option<&mut KnownNode> {
        let bucket = self.bucket_of(id);
        self.buckets[bucket].iter_mut().find(|node| node.id == *id)
    }

    /// Adds a node that is not in the table; `false` if its bucket is full or it is ourselves.
    pub(crate) fn add(&mut self, node: KnownNode) -> bool {
        let at = self.bucket_of(&node.id);
        let bucket = &mut self.buckets[at];
        if node.id == self.own || bucket.len() >= BUCKET_NODES || bucket.iter().any(|other| other.id == node.id) {
            return false;
        }
        bucket.push(node);
        self.len += 1;
        true
    }

    /// Removes a node.
    pub(crate) fn remove(&mut self, id: &NodeId) {
        let bucket = self.bucket_of(id);
        let before = self.buckets[bucket].len();
        self.buckets[bucket].retain(|node| node.id != *id);
        self.len -= before - self.buckets[bucket].len();
    }

    /// Returns the node of the bucket of `id` that was in contact the longest ago.
    pub(crate) fn stalest_beside(&self, id: &NodeId) -> Option<&KnownNode> {
        let bucket = &self.buckets[self.bucket_of(id)];
        bucket.iter().min_by_key(|node| (node.pinged, node.added))
    }

    /// Returns up to `count` nodes that were in contact the longest ago.
    pub(crate) fn stalest(&self, count: usize) -> Vec<KnownNode> {
        let mut nodes: Vec<KnownNode> = self.buckets.iter().flatten().copied().collect();
        nodes.sort_by_key(|node| (node.pinged, node.added));
        nodes.truncate(count);
        nodes
    }

    /// Returns a node for a random number.
    pub(crate) fn pick(&self, random: u64) -> Option<&KnownNode> {
        let at = usize::try_from(random % u64::try_from(self.len).ok().filter(|len| *len > 0)?).ok()?;
        self.buckets.iter().flatten().nth(at)
    }

    /// Returns up to `count` nodes closest to a target, the closest first.
    pub(crate) fn closest(&self, target: &NodeId, count: usize) -> Vec<KnownNode> {
        let near = self.bucket_of(target);
        // The target's bucket is closest; all buckets nearer to us are at one distance from the target; the others follow one by one.
        let mut found: Vec<KnownNode> = self.buckets[near].clone();
        if found.len() < count {
            found.extend(self.buckets[near + 1..].iter().flatten());
        }
        for bucket in self.buckets[..near].iter().rev() {
            if found.len() >= count {
                break;
            }
            found.extend(bucket);
        }
        found.sort_by_key(|node| distance(&node.id, target));
        found.truncate(count);
        found
    }
}

#[cfg(test)]
mod tests;
