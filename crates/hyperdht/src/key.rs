//! Keys of peers.

use std::fmt;

use peeroxide_dht::noise::{Keypair, keypair_from_seed};

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
pub struct KeyPair(Keypair);

impl KeyPair {
    /// Derives the key pair from a seed, the private key of RFC 8032.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(keypair_from_seed(seed))
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
        PublicKey(self.0.public_key)
    }

    /// Returns the key pair as the handshake needs it.
    pub(crate) fn noise(&self) -> &Keypair {
        &self.0
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public_key())
    }
}

/// Fills a buffer with random bytes.
pub(crate) fn fill_random(bytes: &mut [u8]) -> std::io::Result<()> {
    getrandom::fill(bytes).map_err(|_| std::io::Error::other("the system has no randomness"))
}

#[cfg(test)]
mod tests;
