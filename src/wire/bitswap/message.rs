//! The content of a message.

use super::cid::{cid_of_block, cid_v0_of_block};
use super::{Cid, CidError};
use crate::wire::protobuf::{Fields, ProtobufError, push_bytes, push_number, push_varint};

/// Limit of the wants, blocks and presences that a message keeps of each; further ones are counted only. A node sends its whole wantlist in
/// one message; as JSON, this many wants are about 3 MB.
pub const MAX_LISTED: usize = 16_384;

/// The `block_presence_type` of a peer that has a block.
pub const HAVE: u8 = 0;
/// The `block_presence_type` of a peer that does not have a block.
pub const DONT_HAVE: u8 = 1;

/// Error of a message. The stream should not be continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is not protobuf, or a field has another type.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    /// It has an invalid CID.
    #[error(transparent)]
    Cid(#[from] CidError),
}

/// The kind of a want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WantType {
    /// The block itself.
    #[default]
    Block,
    /// Only its presence.
    Have,
}

/// An entry of a wantlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want<'a> {
    /// The block.
    pub cid: Cid<'a>,
    /// The priority among the peer's wants.
    pub priority: i32,
    /// True if the want is no longer valid.
    pub cancel: bool,
    /// The kind.
    pub want_type: WantType,
    /// True if the peer asks for an answer where the block is missing.
    pub send_dont_have: bool,
}

/// A block, of which only the CID is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// The CID without its digest; `None` in Bitswap 1.0.0.
    prefix: Option<&'a [u8]>,
    data: &'a [u8],
}

/// A statement about the presence of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence<'a> {
    /// The block.
    pub cid: Cid<'a>,
    /// True if the peer has it.
    pub have: bool,
}

/// Numbers of the parts of a message, also of those that are not listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Wants for a block: without and with a request for an answer where it is missing.
    pub want_block: [u64; 2],
    /// Wants for a presence, likewise.
    pub want_have: [u64; 2],
    /// Wants that are cancelled.
    pub cancel: u64,
    /// Wants and presences of unknown types, which are never listed.
    pub unknown: u64,
    /// Blocks.
    pub blocks: u64,
    /// Presences of blocks.
    pub have: u64,
    /// Absences of blocks.
    pub dont_have: u64,
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// The wants, at most [`MAX_LISTED`].
    pub wants: Vec<Want<'a>>,
    /// True if they are all that the peer wants, instead of an addition.
    pub full: bool,
    /// The blocks, at most [`MAX_LISTED`].
    pub blocks: Vec<Block<'a>>,
    /// The presences, at most [`MAX_LISTED`].
    pub presences: Vec<Presence<'a>>,
    /// The numbers of all.
    pub counts: Counts,
}

impl Counts {
    /// The number of wants of known types.
    #[must_use]
    pub const fn wants(&self) -> u64 {
        self.want_block[0] + self.want_block[1] + self.want_have[0] + self.want_have[1] + self.cancel
    }
}

impl<'a> Message<'a> {
    /// Decodes a message. Unknown fields are ignored.
    ///
    /// # Errors
    /// If it is not protobuf of the protocol, or has an invalid CID.
    pub fn read(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut message = Self::default();
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => message.wantlist(value.bytes(number)?)?,
                2 => message.block(None, value.bytes(number)?),
                3 => message.payload(value.bytes(number)?)?,
                4 => message.presence(value.bytes(number)?)?,
                _ => {}
            }
        }
        Ok(message)
    }

    fn wantlist(&mut self, bytes: &'a [u8]) -> Result<(), MessageError> {
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => self.want(value.bytes(number)?)?,
                2 => self.full = value.number(number)? != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn want(&mut self, bytes: &'a [u8]) -> Result<(), MessageError> {
        let (mut cid, mut priority, mut cancel, mut kind, mut send_dont_have) = (&[][..], 0, false, 0, false);
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => cid = value.bytes(number)?,
                2 => priority = low_32_bits(value.number(number)?),
                3 => cancel = value.number(number)? != 0,
                4 => kind = value.number(number)?,
                5 => send_dont_have = value.number(number)? != 0,
                _ => {}
            }
        }
        let cid = Cid::read(cid)?;
        let want_type = match kind {
            0 => WantType::Block,
            1 => WantType::Have,
            _ => {
                self.counts.unknown += 1;
                return Ok(());
            }
        };
        match (cancel, want_type) {
            (true, _) => self.counts.cancel += 1,
            (false, WantType::Block) => self.counts.want_block[usize::from(send_dont_have)] += 1,
            (false, WantType::Have) => self.counts.want_have[usize::from(send_dont_have)] += 1,
        }
        push_listed(
            &mut self.wants,
            Want {
                cid,
                priority,
                cancel,
                want_type,
                send_dont_have,
            },
        );
        Ok(())
    }

    fn payload(&mut self, bytes: &'a [u8]) -> Result<(), MessageError> {
        let (mut prefix, mut data) = (&[][..], &[][..]);
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => prefix = value.bytes(number)?,
                2 => data = value.bytes(number)?,
                _ => {}
            }
        }
        self.block(Some(prefix), data);
        Ok(())
    }

    fn block(&mut self, prefix: Option<&'a [u8]>, data: &'a [u8]) {
        self.counts.blocks += 1;
        push_listed(&mut self.blocks, Block { prefix, data });
    }

    fn presence(&mut self, bytes: &'a [u8]) -> Result<(), MessageError> {
        let (mut cid, mut kind) = (&[][..], 0);
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => cid = value.bytes(number)?,
                2 => kind = value.number(number)?,
                _ => {}
            }
        }
        let cid = Cid::read(cid)?;
        let have = match kind {
            0 => true,
            1 => false,
            _ => {
                self.counts.unknown += 1;
                return Ok(());
            }
        };
        *(if have { &mut self.counts.have } else { &mut self.counts.dont_have }) += 1;
        push_listed(&mut self.presences, Presence { cid, have });
        Ok(())
    }

    /// The number of wants, blocks and presences of known types that are counted and not listed.
    #[must_use]
    pub const fn unlisted(&self) -> u64 {
        let all = self.counts.wants() + self.counts.blocks + self.counts.have + self.counts.dont_have;
        all - (self.wants.len() + self.blocks.len() + self.presences.len()) as u64
    }
}

impl Block<'_> {
    /// Computes the CID in its binary form, which takes some time for a large block. `None` if its hash function is not known here.
    #[must_use]
    pub fn cid(&self) -> Option<Vec<u8>> {
        match self.prefix {
            Some(prefix) => cid_of_block(prefix, self.data),
            None => Some(cid_v0_of_block(self.data)),
        }
    }
}

/// Adds an item unless the list is full.
fn push_listed<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MAX_LISTED {
        list.push(item);
    }
}

/// A number of 32 bits with a sign, which protobuf writes with 64.
#[expect(clippy::cast_possible_truncation, reason = "protobuf cuts an int32 to its lowest 32 bits")]
const fn low_32_bits(value: u64) -> i32 {
    value as i32
}

/// Encodes a message, with its length, that answers wants for missing blocks, given as binary CIDs.
#[must_use]
pub fn dont_have<'a>(cids: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut message, mut presence) = (Vec::new(), Vec::new());
    for cid in cids {
        presence.clear();
        push_bytes(&mut presence, 1, cid);
        push_number(&mut presence, 2, u64::from(DONT_HAVE));
        push_bytes(&mut message, 4, &presence);
    }
    let mut out = Vec::with_capacity(message.len() + 4);
    push_varint(&mut out, message.len() as u64);
    out.append(&mut message);
    out
}

#[cfg(test)]
mod tests;
