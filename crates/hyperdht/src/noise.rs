//! The handshake of two peers: Noise IK (`Noise_IK_Ed25519_ChaChaPoly_BLAKE2b`), one message in each direction, each with a payload.
//!
//! It differs from standard Noise in its key agreement, for which it uses Ed25519 keys. The first message shows that its sender owns its
//! key and reveals that key to the receiver only; the reply shows that the receiver owns the dialed key.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::hash::{long_hash, namespace};
use crate::key::{KeyPair, PublicKey};

/// The protocol's name, padded with zeros to the length of a hash.
const PROTOCOL: &[u8; 35] = b"Noise_IK_Ed25519_ChaChaPoly_BLAKE2b";
/// Bytes of an authentication tag.
const TAG_BYTES: usize = 16;
const HASH_BYTES: usize = 64;
/// The block of BLAKE2b, which HMAC needs.
const HASH_BLOCK_BYTES: usize = 128;

/// The keys that both ends derive.
#[derive(Clone)]
pub(crate) struct Session {
    /// The verified key of the other end.
    pub(crate) remote: PublicKey,
    /// Encrypts sent messages.
    pub(crate) tx: [u8; 32],
    /// Decrypts received messages.
    pub(crate) rx: [u8; 32],
    /// The hash of the handshake.
    pub(crate) hash: [u8; HASH_BYTES],
}

/// The state that both ends share: all messages so far, and the secrets in them.
#[derive(Clone)]
struct Transcript {
    hash: [u8; HASH_BYTES],
    chaining_key: [u8; HASH_BYTES],
    key: [u8; 32],
    nonce: u64,
}

impl Transcript {
    /// The transcript before the first message, to the owner of this key.
    fn new(responder: &PublicKey) -> Self {
        let mut hash = [0; HASH_BYTES];
        hash[..PROTOCOL.len()].copy_from_slice(PROTOCOL);
        let mut transcript = Self {
            hash,
            chaining_key: hash,
            // Never used: both messages mix in a secret before they encrypt.
            key: [0; 32],
            nonce: 0,
        };
        transcript.mix_hash(&namespace("hyperswarm/dht", 0));
        transcript.mix_hash(responder.as_bytes());
        transcript
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = long_hash(&[&self.hash, data]);
    }

    fn mix_key(&mut self, secret: &[u8; 32]) {
        let [chaining_key, key] = derive(&self.chaining_key, secret);
        self.chaining_key = chaining_key;
        self.key.copy_from_slice(&key[..32]);
        self.nonce = 0;
    }

    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.nonce.to_le_bytes());
        self.nonce += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &self.key).expect("a key of 32 bytes"))
    }

    /// Appends the encrypted `plain` to a message.
    fn encrypt(&mut self, plain: &[u8], message: &mut Vec<u8>) {
        let (cipher, nonce) = (self.cipher(), self.next_nonce());
        let mut sealed = plain.to_vec();
        cipher
            .seal_in_place_append_tag(nonce, Aad::from(&self.hash), &mut sealed)
            .expect("a payload is far shorter than the limit of the cipher");
        self.mix_hash(&sealed);
        message.extend(sealed);
    }

    /// Decrypts a part of a message; `None` if it is not authentic.
    fn decrypt(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (cipher, nonce) = (self.cipher(), self.next_nonce());
        let mut plain = sealed.to_vec();
        let length = cipher.open_in_place(nonce, Aad::from(&self.hash), &mut plain).ok()?.len();
        plain.truncate(length);
        self.mix_hash(sealed);
        Some(plain)
    }

    /// The keys of both directions, that of the initiator first.
    fn split(&self) -> [[u8; 32]; 2] {
        derive(&self.chaining_key, &[]).map(|long| {
            let mut key = [0; 32];
            key.copy_from_slice(&long[..32]);
            key
        })
    }
}

/// Returns HMAC (RFC 2104) with BLAKE2b.
fn hmac(key: &[u8; HASH_BYTES], parts: [&[u8]; 2]) -> [u8; HASH_BYTES] {
    let pad = |byte| {
        let mut pad = [byte; HASH_BLOCK_BYTES];
        pad.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        pad
    };
    let inner = long_hash(&[&pad(0x36), parts[0], parts[1]]);
    long_hash(&[&pad(0x5c), &inner])
}

/// Derives two keys from the chaining key and a secret (HKDF, RFC 5869, without info).
fn derive(chaining_key: &[u8; HASH_BYTES], secret: &[u8]) -> [[u8; HASH_BYTES]; 2] {
    let extracted = hmac(chaining_key, [secret, &[]]);
    let first = hmac(&extracted, [&[1], &[]]);
    let second = hmac(&extracted, [&first, &[2]]);
    [first, second]
}

/// The dialing end, after its message.
pub(crate) struct Initiator {
    transcript: Transcript,
    pair: KeyPair,
    ephemeral: KeyPair,
    remote: PublicKey,
}

impl Initiator {
    /// Returns the handle and the message to the owner of `remote`; `None` if that is not a valid key. `ephemeral` must be a new key pair.
    pub(crate) fn start(pair: &KeyPair, ephemeral: KeyPair, remote: PublicKey, payload: &[u8]) -> Option<(Self, Vec<u8>)> {
        let mut transcript = Transcript::new(&remote);
        let mut message = ephemeral.public_key().as_bytes().to_vec();
        transcript.mix_hash(&message);
        transcript.mix_key(&ephemeral.agree(&remote)?);
        transcript.encrypt(pair.public_key().as_bytes(), &mut message);
        transcript.mix_key(&pair.agree(&remote)?);
        transcript.encrypt(payload, &mut message);
        let pair = pair.clone();
        Some((
            Self {
                transcript,
                pair,
                ephemeral,
                remote,
            },
            message,
        ))
    }

    /// Returns the payload of the reply and the session; `None` if the owner of the dialed key has not written it.
    pub(crate) fn finish(&self, reply: &[u8]) -> Option<(Vec<u8>, Session)> {
        let (ephemeral, sealed) = reply.split_first_chunk::<32>()?;
        let theirs = PublicKey::new(*ephemeral);
        let mut transcript = self.transcript.clone();
        transcript.mix_hash(ephemeral);
        transcript.mix_key(&self.ephemeral.agree(&theirs)?);
        transcript.mix_key(&self.pair.agree(&theirs)?);
        let payload = transcript.decrypt(sealed)?;
        let [tx, rx] = transcript.split();
        let (remote, hash) = (self.remote, transcript.hash);
        Some((payload, Session { remote, tx, rx, hash }))
    }
}

/// The dialed end, after the message of a peer.
pub(crate) struct Responder {
    transcript: Transcript,
    /// The verified key of the peer.
    pub(crate) remote: PublicKey,
    /// The peer's key of this handshake.
    remote_ephemeral: PublicKey,
}

impl Responder {
    /// Returns the handle and the payload of a peer's message to `pair`; `None` if it is not for this key, or not authentic.
    pub(crate) fn start(pair: &KeyPair, message: &[u8]) -> Option<(Self, Vec<u8>)> {
        let (ephemeral, rest) = message.split_first_chunk::<32>()?;
        let (sealed_key, sealed_payload) = rest.split_at_checked(32 + TAG_BYTES)?;
        let remote_ephemeral = PublicKey::new(*ephemeral);
        let mut transcript = Transcript::new(&pair.public_key());
        transcript.mix_hash(ephemeral);
        transcript.mix_key(&pair.agree(&remote_ephemeral)?);
        let remote = PublicKey::new(transcript.decrypt(sealed_key)?.try_into().ok()?);
        transcript.mix_key(&pair.agree(&remote)?);
        let payload = transcript.decrypt(sealed_payload)?;
        Some((
            Self {
                transcript,
                remote,
                remote_ephemeral,
            },
            payload,
        ))
    }

    /// Returns the reply and the session; `None` if the keys of the peer are not valid. `ephemeral` must be a new key pair.
    pub(crate) fn finish(self, ephemeral: &KeyPair, payload: &[u8]) -> Option<(Vec<u8>, Session)> {
        let Self {
            mut transcript, remote, ..
        } = self;
        let mut reply = ephemeral.public_key().as_bytes().to_vec();
        transcript.mix_hash(&reply);
        transcript.mix_key(&ephemeral.agree(&self.remote_ephemeral)?);
        transcript.mix_key(&ephemeral.agree(&remote)?);
        transcript.encrypt(payload, &mut reply);
        let [rx, tx] = transcript.split();
        let hash = transcript.hash;
        Some((reply, Session { remote, tx, rx, hash }))
    }
}

#[cfg(test)]
mod tests;
