//! Public keys and shared secrets as text: 52 characters of z-base-32 or 64 of hexadecimal.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ring::hmac;

use crate::wire::z_base_32;

/// Length of 32 bytes as hexadecimal.
const HEX_CHARS: usize = 64;

/// The error of parsing a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 bytes as 52 characters of z-base-32 or 64 of hexadecimal")]
pub struct InvalidKey;

/// An Ed25519 public key (RFC 8032), the identity of a peer.
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

    /// Returns the key as shared z-base-32 text.
    #[must_use]
    pub fn text(&self) -> Arc<str> {
        z_base_32::encode(&self.0).into()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&z_base_32::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        read_32_bytes(text).map(Self)
    }
}

/// The 32 bytes shared by a bridge and its proxies. Its Debug form is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret([u8; 32]);

impl SharedSecret {
    /// Creates a secret from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares the secret with these bytes in constant time.
    pub(crate) fn is(&self, bytes: &[u8; 32]) -> bool {
        // Compares tags under the secret, which is constant-time and reveals nothing about the position of a difference.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        hmac::verify(&key, bytes, hmac::sign(&key, &self.0).as_ref()).is_ok()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MASKED")
    }
}

impl FromStr for SharedSecret {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        read_32_bytes(text).map(Self)
    }
}

/// Parses 32 bytes in either format, ignoring whitespace around them, such as a final newline.
pub(crate) fn read_32_bytes(text: &str) -> Result<[u8; 32], InvalidKey> {
    let text = text.trim();
    if text.len() == HEX_CHARS {
        return read_hex(text).ok_or(InvalidKey);
    }
    z_base_32::decode(text).ok_or(InvalidKey)
}

fn read_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

/// Formats 32 bytes as hexadecimal.
pub(crate) fn write_hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
