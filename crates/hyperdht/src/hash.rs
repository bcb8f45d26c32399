//! BLAKE2b, the hash of HyperDHT.

use blake2::digest::consts::U32;
use blake2::digest::{KeyInit as _, Mac as _};
use blake2::{Blake2b256, Blake2b512, Blake2bMac, Digest as _};

/// Returns the 32-byte hash of the parts, one behind the other.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Blake2b256::new();
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into()
}

/// Returns the 64-byte hash of the parts, one behind the other.
pub(crate) fn long_hash(parts: &[&[u8]]) -> [u8; 64] {
    let mut state = Blake2b512::new();
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into()
}

/// Returns the 32-byte hash of `data` under a key of 1 to 64 bytes.
pub(crate) fn keyed_hash(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut state = Blake2bMac::<U32>::new_from_slice(key).expect("BLAKE2b takes keys of up to 64 bytes");
    state.update(data);
    state.finalize().into_bytes().into()
}

/// Returns the prefix of all that is hashed or signed for one purpose of a protocol, so that no signature is valid for two.
pub(crate) fn namespace(protocol: &str, purpose: u8) -> [u8; 32] {
    hash(&[&hash(&[protocol.as_bytes()]), &[purpose]])
}

#[cfg(test)]
mod tests;
