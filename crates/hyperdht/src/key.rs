//! Keys of peers: Ed25519, for signatures as well as for the key agreement of handshakes.

use std::fmt;

use curve25519_dalek::edwards::CompressedEdwardsY;
use ring::digest::{SHA512, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// An Ed25519 public key (RFC 8032), under which a peer is found. Its text form is hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Creates a key from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns true if the owner of the key has signed the message.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An Ed25519 key pair, with which a peer is announced or dials. Its Debug form has the public key only.
#[derive(Clone)]
pub struct KeyPair {
    seed: [u8; 32],
    public_key: PublicKey,
}

impl KeyPair {
    /// Derives the key pair from a seed, the private key of RFC 8032.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut public_key = PublicKey([0; 32]);
        public_key.0.copy_from_slice(signer(seed).public_key().as_ref());
        Self { seed: *seed, public_key }
    }

    /// Generates a key pair.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    pub fn random() -> std::io::Result<Self> {
        let mut seed = [0; 32];
        fill_random(&mut seed)?;
        Ok(Self::from_seed(&seed))
    }

    /// Returns the public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// Returns the signature of a message.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(signer(&self.seed).sign(message).as_ref());
        signature
    }

    /// Returns the secret that only the owners of the two keys can compute; `None` if `theirs` is not a point of the curve, or one of the
    /// few that give the same secret with every key.
    pub(crate) fn agree(&self, theirs: &PublicKey) -> Option<[u8; 32]> {
        let point = CompressedEdwardsY(theirs.0).decompress()?;
        if point.is_small_order() {
            return None;
        }
        // The scalar behind a seed, as RFC 8032 defines it; the multiplication clamps it.
        let mut scalar = [0; 32];
        scalar.copy_from_slice(&digest(&SHA512, &self.seed).as_ref()[..32]);
        Some(point.mul_clamped(scalar).compress().to_bytes())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public_key)
    }
}

fn signer(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).expect("every seed of 32 bytes is a private key")
}

/// Fills a buffer with random bytes.
pub(crate) fn fill_random(bytes: &mut [u8]) -> std::io::Result<()> {
    let random = SystemRandom::new();
    random
        .fill(bytes)
        .map_err(|_| std::io::Error::other("the system has no randomness"))
}

#[cfg(test)]
pub(crate) mod tests;
