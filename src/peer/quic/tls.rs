//! TLS 1.3 with raw public keys (RFC 7250) at both ends, without names and certificates.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use crate::peer::identity::{Identity, PublicKey, key_of};

/// The protocols over QUIC with their versions, negotiated by ALPN. A mismatch fails the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A proxy dials a bridge, registers, and is scraped over the same connection.
    Register,
    /// A scraper dials a proxy.
    Scrape,
}

impl Protocol {
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Register => b"exporter-proxy-register/1",
            Self::Scrape => b"exporter-proxy-scrape/1",
        }
    }

    /// Returns the error of dialing a listener for the other protocol.
    pub(crate) const fn wrong_port(self) -> &'static str {
        match self {
            Self::Register => "this is not a bridge's registration port (bridge.quic_listen, usually 6557)",
            Self::Scrape => "this is not a proxy's port for scrapers (p2p.listen, usually 6556)",
        }
    }
}

/// The keys that a listener admits.
#[derive(Debug, Clone)]
pub(crate) enum AdmittedKeys {
    /// Every key; it is checked after the handshake.
    Any,
    /// These keys.
    Only(Arc<HashSet<PublicKey>>),
}

/// The beginning of the error of a dialing end that finds another key than it expects. The listening end receives it, too.
pub(crate) const EXPECTED_KEY: &str = "expected key ";

/// A key that failed verification, recorded for the error message.
pub(crate) type UnexpectedKey = Arc<Mutex<Option<PublicKey>>>;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn no_cipher_suite(_: NoInitialCipherSuite) -> Error {
    Error::General("no cipher suite for QUIC".to_owned())
}

/// Returns the TLS configuration of a dialing end, which verifies the expected key.
pub(crate) fn client_config(
    identity: &Identity,
    expected: PublicKey,
    protocol: Protocol,
) -> Result<(Arc<QuicClientConfig>, UnexpectedKey), Error> {
    let provider = provider();
    let (verifier, unexpected) = KeyVerifier::new(KeyPolicy::Expected(expected), &provider);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(identity.certified())));
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    // A resumed session would not verify keys.
    config.resumption = Resumption::disabled();
    let config = QuicClientConfig::try_from(config).map_err(no_cipher_suite)?;
    Ok((Arc::new(config), unexpected))
}

/// Returns the TLS configuration of a listening end, which verifies the keys of clients. A rejected key is recorded; with one
/// configuration for each handshake the record belongs to that handshake.
pub(crate) fn server_config(
    identity: &Identity,
    admit: AdmittedKeys,
    protocol: Protocol,
) -> Result<(Arc<QuicServerConfig>, UnexpectedKey), Error> {
    let provider = provider();
    let (verifier, unexpected) = KeyVerifier::new(KeyPolicy::Admitted(admit), &provider);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(identity.certified())));
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok((Arc::new(QuicServerConfig::try_from(config).map_err(no_cipher_suite)?), unexpected))
}

/// The keys that an end accepts from its peer.
#[derive(Debug)]
enum KeyPolicy {
    /// The key that a dialing end expects.
    Expected(PublicKey),
    /// The keys that a listening end admits.
    Admitted(AdmittedKeys),
}

impl KeyPolicy {
    /// The reason to reject a key; `None` if it is accepted.
    fn reject(&self, found: PublicKey) -> Option<String> {
        match self {
            Self::Expected(expected) => (found != *expected).then(|| format!("{EXPECTED_KEY}{expected}, found {found}")),
            Self::Admitted(AdmittedKeys::Any) => None,
            Self::Admitted(AdmittedKeys::Only(keys)) => {
                let rejected = || format!("the key {found} is not admitted; to admit it, add it to p2p.allow there");
                (!keys.contains(&found)).then(rejected)
            }
        }
    }
}

/// Verifies the peer's raw public key, at either end.
#[derive(Debug)]
struct KeyVerifier {
    policy: KeyPolicy,
    unexpected: UnexpectedKey,
    algorithms: WebPkiSupportedAlgorithms,
}

impl KeyVerifier {
    fn new(policy: KeyPolicy, provider: &CryptoProvider) -> (Arc<Self>, UnexpectedKey) {
        let unexpected = UnexpectedKey::default();
        let verifier = Self {
            policy,
            unexpected: unexpected.clone(),
            algorithms: provider.signature_verification_algorithms,
        };
        (Arc::new(verifier), unexpected)
    }

    fn verify_key(&self, key: &CertificateDer<'_>) -> Result<(), Error> {
        let found = key_of(key).ok_or_else(|| Error::General("the peer has no Ed25519 key".to_owned()))?;
        let Some(why) = self.policy.reject(found) else { return Ok(()) };
        *self.unexpected.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Err(Error::General(why))
    }

    fn verify_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }
}

/// The parts of both verifier traits of rustls that do not depend on the end.
macro_rules! raw_key_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("links support TLS 1.3 only".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            key: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.verify_signature(message, key, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify_key(key).map(|()| ServerCertVerified::assertion())
    }

    raw_key_signatures!();
}

impl ClientCertVerifier for KeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(&self, key: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixTime) -> Result<ClientCertVerified, Error> {
        self.verify_key(key).map(|()| ClientCertVerified::assertion())
    }

    raw_key_signatures!();
}

#[cfg(test)]
mod tests;
