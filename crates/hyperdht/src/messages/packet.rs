//! Packets: requests and replies of nodes.
//!
//! A packet begins with its kind and version (one byte), flags of the optional parts, the number of the request (two bytes, little-endian),
//! and the receiver's address as the sender sees it.

use std::net::SocketAddrV4;

use bytes::Bytes;

use crate::wire::{Reader, WireFault, Writer};

/// Limit on the nodes of a reply that are used, the size of a bucket of the routing table. Further ones are ignored.
pub const MAX_CLOSER_NODES: usize = 20;

/// The lower four bits of the first byte.
const VERSION: u8 = 3;
/// The first byte of a request and of a reply.
const REQUEST: u8 = VERSION;
const REPLY: u8 = 1 << 4 | VERSION;

/// Flags of optional parts.
const ID: u8 = 1;
const TOKEN: u8 = 2;
const INTERNAL: u8 = 4;
const CLOSER_NODES: u8 = 4;
const TARGET: u8 = 8;
const ERROR: u8 = 8;
const VALUE: u8 = 16;

/// A request to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The number of the request, which its reply repeats.
    pub tid: u16,
    /// The address that it was sent to.
    pub to: SocketAddrV4,
    /// The id of the sender, unless it is ephemeral.
    pub id: Option<[u8; 32]>,
    /// The token of an earlier reply, which shows that the sender receives at its address.
    pub token: Option<[u8; 32]>,
    /// True for the commands in [`super::internal`], false for those in [`super::command`].
    pub internal: bool,
    /// The command.
    pub command: u64,
    /// The id that the command is about.
    pub target: Option<[u8; 32]>,
    /// The value of the command.
    pub value: Option<Bytes>,
}

/// A reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The number of the request.
    pub tid: u16,
    /// The address of the requester as the node sees it.
    pub to: SocketAddrV4,
    /// The id of the node, unless it is ephemeral.
    pub id: Option<[u8; 32]>,
    /// A token for a later request.
    pub token: Option<[u8; 32]>,
    /// Nodes that are closer to the target, at most [`MAX_CLOSER_NODES`].
    pub closer_nodes: Vec<SocketAddrV4>,
    /// 0, or the code of an error.
    pub error: u64,
    /// The value of the reply.
    pub value: Option<Bytes>,
}

/// A packet of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A request.
    Request(Request),
    /// A reply.
    Reply(Reply),
}

impl Packet {
    /// Decodes a datagram.
    ///
    /// # Errors
    ///
    /// If it is truncated, or of another version.
    pub fn decode(datagram: Bytes) -> Result<Self, WireFault> {
        let mut reader = Reader::new(datagram);
        let kind = reader.byte("a packet")?;
        let flags = reader.byte("flags")?;
        let tid = u16::from_le_bytes(reader.array("a request number")?);
        let to = reader.address("an address")?;
        let fixed = |reader: &mut Reader, flag, what| match flags & flag {
            0 => Ok(None),
            _ => reader.fixed32(what).map(Some),
        };
        let value = |reader: &mut Reader| match flags & VALUE {
            0 => Ok(None),
            _ => reader.bytes(usize::MAX, "a value").map(Some),
        };
        let id = fixed(&mut reader, ID, "a node id")?;
        let token = fixed(&mut reader, TOKEN, "a token")?;
        match kind {
            REQUEST => Ok(Self::Request(Request {
                tid,
                to,
                id,
                token,
                internal: flags & INTERNAL != 0,
                command: reader.uint("a command")?,
                target: fixed(&mut reader, TARGET, "a target")?,
                value: value(&mut reader)?,
            })),
            REPLY => Ok(Self::Reply(Reply {
                tid,
                to,
                id,
                token,
                closer_nodes: match flags & CLOSER_NODES {
                    0 => Vec::new(),
                    _ => reader.addresses(MAX_CLOSER_NODES, "nodes")?,
                },
                error: match flags & ERROR {
                    0 => 0,
                    _ => reader.uint("an error")?,
                },
                value: value(&mut reader)?,
            })),
            kind => Err(WireFault::Unknown {
                what: "a packet of kind",
                value: kind.into(),
            }),
        }
    }

    /// Encodes the packet.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Request(request) => request.encode(),
            Self::Reply(reply) => reply.encode(),
        }
    }
}

/// Writes the parts that both kinds begin with.
fn start(kind: u8, flags: u8, tid: u16, to: SocketAddrV4, id: Option<[u8; 32]>, token: Option<[u8; 32]>) -> Writer {
    let mut writer = Writer::default();
    writer.raw(&[kind, flags]).raw(&tid.to_le_bytes()).address(to);
    for part in [id, token].into_iter().flatten() {
        writer.raw(&part);
    }
    writer
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

impl Request {
    /// Encodes the request as a packet.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let flags = flag(self.id.is_some(), ID)
            | flag(self.token.is_some(), TOKEN)
            | flag(self.internal, INTERNAL)
            | flag(self.target.is_some(), TARGET)
            | flag(self.value.is_some(), VALUE);
        let mut writer = start(REQUEST, flags, self.tid, self.to, self.id, self.token);
        writer.uint(self.command);
        if let Some(target) = &self.target {
            writer.raw(target);
        }
        if let Some(value) = &self.value {
            writer.bytes(value);
        }
        writer.finish()
    }
}

impl Reply {
    /// Encodes the reply as a packet.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let flags = flag(self.id.is_some(), ID)
            | flag(self.token.is_some(), TOKEN)
            | flag(!self.closer_nodes.is_empty(), CLOSER_NODES)
            | flag(self.error != 0, ERROR)
            | flag(self.value.is_some(), VALUE);
        let mut writer = start(REPLY, flags, self.tid, self.to, self.id, self.token);
        if !self.closer_nodes.is_empty() {
            writer.addresses(&self.closer_nodes);
        }
        if self.error != 0 {
            writer.uint(self.error);
        }
        if let Some(value) = &self.value {
            writer.bytes(value);
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests;
