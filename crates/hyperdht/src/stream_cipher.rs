//! The encryption of a stream's messages: libsodium's `crypto_secretstream_xchacha20poly1305`.
//!
//! Each message is encrypted with ChaCha20 and authenticated with Poly1305 under a nonce that depends on all messages before it, so that
//! none can be removed, repeated or moved. Before the message stands one encrypted byte, its tag; behind it, its 16 bytes of Poly1305.

use bytes::BytesMut;
use chacha20::cipher::array::Array;
use chacha20::cipher::consts::U16;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _, StreamCipherSeek as _};
use chacha20::{ChaCha20, R20, hchacha};
use poly1305::universal_hash::{KeyInit as _, UniversalHash as _};
use poly1305::{Block, Poly1305};

use crate::key::fill_random;

/// Bytes of the header that starts a stream: the nonce of its first message.
pub(crate) const HEADER_BYTES: usize = 24;
/// Bytes that a message grows by: its tag and its authentication.
pub(crate) const OVERHEAD_BYTES: usize = TAG_BYTES + MAC_BYTES;

const TAG_BYTES: usize = 1;
const MAC_BYTES: usize = 16;
/// The block of the key stream in which the tag is encrypted. The first block is the key of Poly1305; the message begins behind both.
const BLOCK_BYTES: usize = 64;
/// The tag of a message without a special meaning.
const TAG_MESSAGE: u8 = 0;
/// The bit of a tag after which both ends derive a new key.
const TAG_REKEY: u8 = 2;
/// The message counter in a nonce; the rest depends on the messages so far.
const COUNTER_BYTES: usize = 4;

/// A message that was not encrypted with the keys of the stream, or not as the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// The key and the nonce of the next message, equal at both ends.
struct CipherState {
    key: [u8; 32],
    nonce: [u8; 12],
}

impl CipherState {
    fn new(key: &[u8; 32], header: &[u8; HEADER_BYTES]) -> Self {
        let (input, rest) = header.split_at(16);
        let input: &Array<u8, U16> = input.try_into().expect("16 bytes");
        let mut nonce = [0; 12];
        nonce[0] = 1;
        nonce[COUNTER_BYTES..].copy_from_slice(rest);
        Self {
            key: hchacha::<R20>(key.into(), input).into(),
            nonce,
        }
    }

    /// Returns the key stream of the next message, positioned at the tag, and its authenticator.
    fn start(&self) -> (ChaCha20, Poly1305) {
        let mut cipher = ChaCha20::new(&self.key.into(), &self.nonce.into());
        let mut mac_key = [0; 32];
        cipher.apply_keystream(&mut mac_key);
        cipher.seek(BLOCK_BYTES);
        (cipher, Poly1305::new(&mac_key.into()))
    }

    /// Continues with the next message.
    fn advance(&mut self, mac: &[u8; MAC_BYTES], tag: u8) {
        let (counter, inner) = self.nonce.split_at_mut(COUNTER_BYTES);
        inner.iter_mut().zip(mac).for_each(|(byte, mac)| *byte ^= mac);
        let next = u32::from_le_bytes([counter[0], counter[1], counter[2], counter[3]]).wrapping_add(1);
        counter.copy_from_slice(&next.to_le_bytes());
        if tag & TAG_REKEY != 0 || next == 0 {
            self.rekey();
        }
    }

    /// Replaces the key, so that a later loss of the key does not reveal earlier messages. It is due after 4 billion messages at the
    /// latest.
    fn rekey(&mut self) {
        let mut cipher = ChaCha20::new(&self.key.into(), &self.nonce.into());
        cipher.apply_keystream(&mut self.key);
        cipher.apply_keystream(&mut self.nonce[COUNTER_BYTES..]);
        self.nonce[..COUNTER_BYTES].copy_from_slice(&1_u32.to_le_bytes());
    }
}

/// Returns the authentication of an encrypted tag and message. The padding behind the message is that of libsodium, which differs from
/// the standard construction: as many zeros as the message has bytes in its last, incomplete block.
fn authenticate(mut mac: Poly1305, tag_block: &[u8; BLOCK_BYTES], message: &[u8]) -> [u8; MAC_BYTES] {
    let (blocks, _) = Block::slice_as_chunks(tag_block);
    mac.update(blocks);
    let (blocks, rest) = Block::slice_as_chunks(message);
    mac.update(blocks);
    let mut tail = [0; 3 * MAC_BYTES];
    tail[..rest.len()].copy_from_slice(rest);
    // The length of the associated data, of which there is none, and the length of what was encrypted.
    let lengths = 2 * rest.len() + 8;
    let length = BLOCK_BYTES as u64 + message.len() as u64;
    tail[lengths..lengths + 8].copy_from_slice(&length.to_le_bytes());
    mac.compute_unpadded(&tail[..lengths + 8]).into()
}

/// The encrypting end.
pub(crate) struct Encryptor(CipherState);

impl Encryptor {
    /// Starts a stream under a key of one connection and direction; returns the header for the other end.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    pub(crate) fn new(key: &[u8; 32]) -> std::io::Result<(Self, [u8; HEADER_BYTES])> {
        let mut header = [0; HEADER_BYTES];
        fill_random(&mut header)?;
        Ok((Self(CipherState::new(key, &header)), header))
    }

    /// Appends the encrypted message to `out`: [`OVERHEAD_BYTES`] longer than the message.
    pub(crate) fn seal(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.seal_with_tag(message, TAG_MESSAGE, out);
    }

    fn seal_with_tag(&mut self, message: &[u8], tag: u8, out: &mut Vec<u8>) {
        let (mut cipher, mac) = self.0.start();
        let mut tag_block = [0; BLOCK_BYTES];
        tag_block[0] = tag;
        cipher.apply_keystream(&mut tag_block);
        out.push(tag_block[0]);
        let start = out.len();
        out.extend_from_slice(message);
        cipher.apply_keystream(&mut out[start..]);
        let mac = authenticate(mac, &tag_block, &out[start..]);
        out.extend_from_slice(&mac);
        self.0.advance(&mac, tag);
    }
}

/// The decrypting end.
pub(crate) struct Decryptor(CipherState);

impl Decryptor {
    /// Starts a stream with the header from the other end.
    pub(crate) fn new(key: &[u8; 32], header: &[u8; HEADER_BYTES]) -> Self {
        Self(CipherState::new(key, header))
    }

    /// Decrypts the next message in place.
    ///
    /// # Errors
    ///
    /// If it is not authentic. The stream can continue with the authentic message only.
    pub(crate) fn open(&mut self, mut sealed: BytesMut) -> Result<BytesMut, NotAuthentic> {
        let end = sealed
            .len()
            .checked_sub(MAC_BYTES)
            .filter(|end| *end >= TAG_BYTES)
            .ok_or(NotAuthentic)?;
        let mac = sealed.split_off(end);
        let tag = sealed.split_to(TAG_BYTES);
        let (mut cipher, authenticator) = self.0.start();
        let mut tag_block = [0; BLOCK_BYTES];
        cipher.apply_keystream(&mut tag_block);
        let plain_tag = tag_block[0] ^ tag[0];
        tag_block[0] = tag[0];
        let expected = authenticate(authenticator, &tag_block, &sealed);
        // In constant time: all bytes are compared.
        let difference = expected.iter().zip(&mac[..]).fold(0, |all, (a, b)| all | (a ^ b));
        if difference != 0 {
            return Err(NotAuthentic);
        }
        cipher.apply_keystream(&mut sealed);
        self.0.advance(&expected, plain_tag);
        Ok(sealed)
    }
}

#[cfg(test)]
mod tests;
