//! Content identifiers: <https://github.com/multiformats/cid>.

use std::fmt;

use ring::digest::{SHA256, SHA512, digest};

use crate::wire::base58;
use crate::wire::protobuf::push_varint;

/// Limit of a CID: that of Kubo's Bitswap server.
pub const MAX_CID_BYTES: usize = 168;

/// The longest varint of multiformats.
const MAX_VARINT_BYTES: usize = 9;

/// The multicodec of blocks with links, the only one of version 0.
const DAG_PB: u64 = 0x70;
const IDENTITY: u64 = 0x00;
const SHA2_256: u64 = 0x12;
const SHA2_512: u64 = 0x13;
/// Length of a SHA-256 digest.
const SHA2_256_BYTES: u8 = 32;
/// The longest public key that is a peer id itself, instead of its digest.
const MAX_INLINE_KEY_BYTES: u64 = 42;

/// The alphabet of base32 in lower case (RFC 4648), the usual text form of version 1.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A content identifier in its binary form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cid<'a>(&'a [u8]);

/// Error of a CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CidError {
    /// It is missing.
    #[error("a CID is missing")]
    Empty,
    /// It is longer than the limit.
    #[error("a CID of {0} bytes exceeds the limit of {MAX_CID_BYTES}")]
    TooLong(usize),
    /// Its version is neither 0 nor 1.
    #[error("a CID of the unknown version {0}")]
    Version(u64),
    /// It is truncated, has too many bytes, or has a varint that is not minimal.
    #[error("a malformed CID")]
    Malformed,
}

impl<'a> Cid<'a> {
    /// Checks the binary form of a CID.
    ///
    /// # Errors
    /// If it is empty, too long, of an unknown version, or if it does not end with its digest.
    pub fn read(bytes: &'a [u8]) -> Result<Self, CidError> {
        match bytes {
            [] => return Err(CidError::Empty),
            _ if bytes.len() > MAX_CID_BYTES => return Err(CidError::TooLong(bytes.len())),
            [0x12, SHA2_256_BYTES, digest @ ..] if digest.len() == usize::from(SHA2_256_BYTES) => return Ok(Self(bytes)),
            _ => {}
        }
        let mut rest = bytes;
        let version = varint(&mut rest)?;
        if version != 1 {
            return Err(CidError::Version(version));
        }
        let _codec = varint(&mut rest)?;
        let _function = varint(&mut rest)?;
        let length = varint(&mut rest)?;
        if length != rest.len() as u64 {
            return Err(CidError::Malformed);
        }
        Ok(Self(bytes))
    }

    /// The binary form.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Returns true for version 0.
    const fn is_v0(self) -> bool {
        // Version 1 begins with a 1.
        self.0[0] == 0x12
    }
}

/// Prints the usual text form: base58 for version 0, base32 for version 1.
impl fmt::Display for Cid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_v0() {
            return f.write_str(&base58::encode(self.0));
        }
        let mut text = String::with_capacity(1 + self.0.len() * 8 / 5 + 1);
        text.push('b');
        let (mut bits, mut count) = (0_u32, 0);
        for byte in self.0 {
            bits = bits << 8 | u32::from(*byte);
            count += 8;
            while count >= 5 {
                count -= 5;
                text.push(base32_letter(bits >> count));
            }
        }
        if count > 0 {
            text.push(base32_letter(bits << (5 - count)));
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Cid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The letter of the last five bits.
fn base32_letter(bits: u32) -> char {
    char::from(BASE32[usize::from(bits.to_le_bytes()[0] & 31)])
}

/// Computes the CID of a block from its prefix, which is a CID without the digest. `None` if the prefix is malformed, or names a hash
/// function other than SHA-256, SHA-512 and identity.
pub(super) fn cid_of_block(prefix: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let mut rest = prefix;
    let mut next = || varint(&mut rest).ok();
    let (version, codec, function, length) = (next()?, next()?, next()?, next()?);
    if !rest.is_empty() {
        return None;
    }
    let hashed = match function {
        IDENTITY if data.len() <= MAX_CID_BYTES => data.to_vec(),
        SHA2_256 => digest(&SHA256, data).as_ref().to_vec(),
        SHA2_512 => digest(&SHA512, data).as_ref().to_vec(),
        _ => return None,
    };
    // A digest may be cut to the length of the prefix.
    let hashed = hashed.get(..usize::try_from(length).ok()?)?;
    let mut cid = Vec::with_capacity(prefix.len() + hashed.len());
    match (version, codec) {
        (0, DAG_PB) if function == SHA2_256 && length == u64::from(SHA2_256_BYTES) => {}
        (1, _) => {
            push_varint(&mut cid, version);
            push_varint(&mut cid, codec);
        }
        _ => return None,
    }
    push_varint(&mut cid, function);
    push_varint(&mut cid, length);
    cid.extend_from_slice(hashed);
    Cid::read(&cid).is_ok().then_some(cid)
}

/// Computes the CID of a block of Bitswap 1.0.0, which is always of version 0.
pub(super) fn cid_v0_of_block(data: &[u8]) -> Vec<u8> {
    [&[0x12, SHA2_256_BYTES], digest(&SHA256, data).as_ref()].concat()
}

/// Returns true if a multihash can be a peer id: the SHA-256 of a public key, or a short public key itself.
#[must_use]
pub fn multihash_is_peer_id(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let (Ok(function), Ok(length)) = (varint(&mut rest), varint(&mut rest)) else {
        return false;
    };
    let known = match function {
        IDENTITY => length > 0 && length <= MAX_INLINE_KEY_BYTES,
        SHA2_256 => length == u64::from(SHA2_256_BYTES),
        _ => false,
    };
    known && length == rest.len() as u64
}

/// Reads a varint of multiformats: minimal, at most nine bytes.
fn varint(bytes: &mut &[u8]) -> Result<u64, CidError> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(MAX_VARINT_BYTES).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            if *byte == 0 && at > 0 {
                return Err(CidError::Malformed);
            }
            *bytes = &bytes[at + 1..];
            return Ok(value);
        }
    }
    Err(CidError::Malformed)
}

#[cfg(test)]
mod tests;
