//! The records of announced keys at a node that stores them, and the handshakes that it relays to their owners.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::announce_signature::{Purpose, signed_text};
use crate::hash::hash;
use crate::key::PublicKey;
use crate::messages::{Announcement, Handshake, HandshakeMode, Request, command};
use crate::routing_table::NodeId;

/// Lifetime of a record, that of HyperDHT.
const TTL: Duration = Duration::from_secs(20 * 60);
/// Limit on records; the oldest is evicted.
const MAX_RECORDS: usize = 4_096;

/// The record of a key.
#[derive(Debug)]
struct Record {
    /// The address of the owner as this node sees it.
    owner: SocketAddrV4,
    encoded: Bytes,
    /// The number of its last announcement.
    announced: u64,
}

/// The response of a node to a command of HyperDHT.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Response {
    /// A reply with this value, a new token and the nodes closer to the target.
    Reply(Option<Bytes>),
    /// A reply without them.
    Done,
    /// The request with this value is passed on, under its number.
    Relay(SocketAddrV4, Bytes),
    /// The reply is sent to the peer that the request was relayed for.
    ReplyTo(SocketAddrV4, Bytes),
    /// The command is not supported.
    Unknown,
    /// No response.
    Ignored,
}

/// The records of a node, by the hash of their key.
#[derive(Debug, Default)]
pub(crate) struct RecordStore {
    records: HashMap<NodeId, Record>,
    /// The last announcement of each record, the oldest first.
    order: BTreeMap<u64, (Instant, NodeId)>,
    announcements: u64,
}

impl RecordStore {
    /// Handles a command for the node with the id `own`. The caller has checked the token.
    pub(crate) fn handle(&mut self, own: &NodeId, from: SocketAddrV4, request: &Request, now: Instant) -> Response {
        while self
            .order
            .first_key_value()
            .is_some_and(|(_, (since, _))| now.duration_since(*since) >= TTL)
        {
            self.evict_oldest();
        }
        let Some(target) = request.target else {
            return Response::Ignored;
        };
        let done = match request.command {
            command::FIND_PEER => return Response::Reply(self.records.get(&target).map(|record| record.encoded.clone())),
            command::PEER_HANDSHAKE => return self.relay(&target, from, request).unwrap_or(Response::Ignored),
            command::ANNOUNCE => self.announce(own, from, &target, request, now),
            command::UNANNOUNCE => self.unannounce(own, &target, request),
            _ => return Response::Unknown,
        };
        done.map_or(Response::Ignored, |()| Response::Done)
    }

    fn announce(&mut self, own: &NodeId, from: SocketAddrV4, target: &NodeId, request: &Request, now: Instant) -> Option<()> {
        let encoded = verified(own, target, request, Purpose::Announce)?;
        self.remove(target);
        while self.records.len() >= MAX_RECORDS {
            self.evict_oldest();
        }
        self.announcements += 1;
        let (owner, announced) = (from, self.announcements);
        self.order.insert(announced, (now, *target));
        let record = Record { owner, encoded, announced };
        self.records.insert(*target, record);
        Some(())
    }

    fn unannounce(&mut self, own: &NodeId, target: &NodeId, request: &Request) -> Option<()> {
        verified(own, target, request, Purpose::Unannounce)?;
        self.remove(target);
        Some(())
    }

    fn remove(&mut self, target: &NodeId) {
        if let Some(record) = self.records.remove(target) {
            self.order.remove(&record.announced);
        }
    }

    fn evict_oldest(&mut self) {
        if let Some((_, (_, target))) = self.order.pop_first() {
            self.records.remove(&target);
        }
    }

    /// Passes a handshake on: to the owner of the key, to another relay, or back.
    fn relay(&self, target: &NodeId, from: SocketAddrV4, request: &Request) -> Option<Response> {
        let handshake = Handshake::decode(request.value.clone()?).ok()?;
        let owner = self.records.get(target).map(|record| record.owner);
        let value = |mode, peer_address, relay_address| {
            let noise = handshake.noise.clone();
            let handshake = Handshake {
                mode,
                noise,
                peer_address,
                relay_address,
            };
            Bytes::from(handshake.encode())
        };
        Some(match handshake.mode {
            HandshakeMode::FromClient => match handshake.relay_address.or(owner) {
                Some(next) => Response::Relay(next, value(HandshakeMode::FromRelay, Some(from), None)),
                None => Response::Reply(None),
            },
            HandshakeMode::FromRelay => {
                let value = value(HandshakeMode::FromSecondRelay, handshake.peer_address, Some(from));
                Response::Relay(owner?, value)
            }
            HandshakeMode::FromServer => {
                let value = value(HandshakeMode::Reply, Some(from), None);
                Response::ReplyTo(handshake.peer_address?, value)
            }
            HandshakeMode::FromSecondRelay | HandshakeMode::Reply => return None,
        })
    }
}

/// Returns the encoded record of a request if its owner has signed it for this node, this target and this token.
fn verified(own: &NodeId, target: &NodeId, request: &Request, purpose: Purpose) -> Option<Bytes> {
    let announcement = Announcement::decode(request.value.clone()?).ok()?;
    let record = announcement.peer?;
    let encoded = record.encode();
    let key = PublicKey::new(record.public_key);
    let text = signed_text(purpose, target, own, &request.token?, &encoded, announcement.refresh.as_ref());
    let is_owner = hash(&[key.as_bytes()]) == *target && key.has_signed(&text, &announcement.signature?);
    is_owner.then(|| encoded.into())
}

#[cfg(test)]
mod tests;
