//! The proof that a proxy knows the shared secret, without the secret crossing the wire.

use quinn::Connection;
use ring::hmac;

use super::{PublicKey, SharedSecret};

/// The label under which keying material is taken out of TLS (RFC 5705): it separates this use from all others.
const PROOF_LABEL: &[u8] = b"EXPORTER-exporter-proxy register/1";

/// Keying material that both ends of one TLS connection know and nobody else; another connection has other.
pub(super) type KeyingMaterial = [u8; 32];

/// What is proven: this alias, service and hostname, of this proxy to this bridge.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProofInput<'a> {
    pub(super) alias: &'a str,
    pub(super) service: &'a str,
    pub(super) hostname: &'a str,
    pub(super) proxy: PublicKey,
    pub(super) bridge: PublicKey,
}

impl ProofInput<'_> {
    /// The bytes that are signed: the keying material, both keys, then each text with its length before it, so that no two claims have
    /// the same bytes.
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

    /// The proof.
    pub(super) fn prove(&self, secret: &SharedSecret, keying_material: &KeyingMaterial) -> Vec<u8> {
        hmac::sign(&key(secret), &self.bytes(keying_material)).as_ref().to_vec()
    }

    /// Whether a proof holds; takes the same time whatever it is.
    pub(super) fn verify(&self, secret: &SharedSecret, keying_material: &KeyingMaterial, proof: &[u8]) -> bool {
        hmac::verify(&key(secret), &self.bytes(keying_material), proof).is_ok()
    }
}

fn key(secret: &SharedSecret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose())
}

/// The keying material of a connection; `None` where TLS does not give it, which it does once the handshake is complete.
pub(super) fn keying_material(connection: &Connection) -> Option<KeyingMaterial> {
    let mut keying_material = [0; 32];
    connection.export_keying_material(&mut keying_material, PROOF_LABEL, b"").ok()?;
    Some(keying_material)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_claim_alone() {
        let input = ProofInput {
            alias: "a",
            service: "bc",
            hostname: "d",
            proxy: PublicKey::new([1; 32]),
            bridge: PublicKey::new([2; 32]),
        };
        let (secret, keying_material) = (SharedSecret::new([3; 32]), [4; 32]);
        let proof = input.prove(&secret, &keying_material);
        assert!(input.verify(&secret, &keying_material, &proof));
        assert!(!input.verify(&SharedSecret::new([5; 32]), &keying_material, &proof));
        assert!(!input.verify(&secret, &[5; 32], &proof), "a replay on another connection");
        assert!(!input.verify(&secret, &keying_material, &proof[..31]));
        assert!(!input.verify(&secret, &keying_material, &[]));
        let moved = [
            ProofInput {
                alias: "ab",
                service: "c",
                ..input
            },
            ProofInput { hostname: "e", ..input },
            ProofInput {
                proxy: input.bridge,
                bridge: input.proxy,
                ..input
            },
        ];
        assert!(moved.iter().all(|other| !other.verify(&secret, &keying_material, &proof)));
    }
}
