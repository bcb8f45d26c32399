//! The proof that a proxy knows the shared secret, without sending the secret.

use quinn::Connection;
use ring::hmac;

use crate::peer::identity::{PublicKey, SharedSecret};

/// The TLS exporter label of the keying material (RFC 5705), unique to this use.
const PROOF_LABEL: &[u8] = b"EXPORTER-exporter-proxy register/1";

/// Keying material exported from TLS, known to both ends of one connection only.
pub(crate) type KeyingMaterial = [u8; 32];

/// The content of a proof: alias, service and hostname of a proxy, for one bridge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProofInput<'a> {
    pub(crate) alias: &'a str,
    pub(crate) service: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) proxy: PublicKey,
    pub(crate) bridge: PublicKey,
}

impl ProofInput<'_> {
    /// Returns the bytes to sign: keying material, both keys, then each text with its length before it, so that different inputs have
    /// different bytes.
    fn bytes(&self, keying_material: &KeyingMaterial) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(keying_material);
        bytes.extend_from_slice(self.proxy.as_bytes());
        bytes.extend_from_slice(self.bridge.as_bytes());
        for text in [self.alias, self.service, self.hostname] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// Returns the proof.
    pub(crate) fn prove(&self, secret: &SharedSecret, keying_material: &KeyingMaterial) -> Vec<u8> {
        hmac::sign(&key(secret), &self.bytes(keying_material)).as_ref().to_vec()
    }

    /// Verifies a proof in constant time.
    pub(crate) fn verify(&self, secret: &SharedSecret, keying_material: &KeyingMaterial, proof: &[u8]) -> bool {
        hmac::verify(&key(secret), &self.bytes(keying_material), proof).is_ok()
    }
}

fn key(secret: &SharedSecret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose())
}

/// Exports the keying material of a connection; `None` before the handshake is complete.
pub(crate) fn keying_material(connection: &Connection) -> Option<KeyingMaterial> {
    let mut keying_material = [0; 32];
    connection.export_keying_material(&mut keying_material, PROOF_LABEL, b"").ok()?;
    Some(keying_material)
}

#[cfg(test)]
mod tests;
