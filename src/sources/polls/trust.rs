//! Certificate verification.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

use super::error::PollError;
use super::files;
use super::settings::ClientCertificate;
use crate::http::verify_signatures;
use crate::supervise::blocking;
use crate::supervise::secret_file::FileRule;

/// The only ALPN protocol, so that a server cannot choose HTTP/2.
const ALPN: &[u8] = b"http/1.1";

/// TLS settings of endpoints without a CA file, shared by all and created on first use.
#[derive(Debug, Default)]
pub(super) struct SystemTrust {
    config: OnceCell<Arc<ClientConfig>>,
}

impl SystemTrust {
    /// The TLS settings that trust the operating system's CAs.
    async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let load = || async {
            let found = blocking(rustls_native_certs::load_native_certs).await;
            let mut roots = RootCertStore::empty();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                return Err("the system has no CA certificates; install them, or set ca_file".to_owned());
            }
            CertificateVerifier::trusting(roots).and_then(config)
        };
        self.config.get_or_try_init(load).await.map(Arc::clone)
    }
}

/// Trust settings of one endpoint.
#[derive(Debug)]
pub(super) enum Trust {
    /// The operating system's CAs.
    System(Arc<SystemTrust>),
    /// The certificates in a file, with the bytes and the TLS settings of the last read.
    File(Box<Path>, Option<(Vec<u8>, Arc<ClientConfig>)>),
    /// Any certificate.
    Unverified,
}

impl Trust {
    /// The TLS settings for the next connection. A CA file is read again, so that a new one works without a restart.
    pub(super) async fn config(&mut self) -> Result<Arc<ClientConfig>, PollError> {
        match self {
            Self::System(shared) => {
                let tls = |why| PollError::Tls {
                    host: "any host".to_owned(),
                    why,
                };
                shared.config().await.map_err(tls)
            }
            Self::Unverified => unverified().map_err(|why| PollError::Tls {
                host: "any host".to_owned(),
                why,
            }),
            Self::File(path, cached) => {
                let pem = files::read(path).await?;
                if let Some((_, config)) = cached.as_ref().filter(|(before, _)| *before == pem) {
                    return Ok(Arc::clone(config));
                }
                let made = CertificateVerifier::trusting_file(&pem).and_then(config);
                let made = made.map_err(|why| PollError::File {
                    path: path.to_path_buf(),
                    why,
                })?;
                *cached = Some((pem, Arc::clone(&made)));
                Ok(made)
            }
        }
    }
}

/// Reads the certificate and the key of a client. The key is a secret file.
pub(super) async fn client_key(certificate: &ClientCertificate, rule: FileRule) -> Result<CertifiedKey, PollError> {
    let ClientCertificate { cert_file, key_file } = certificate;
    let fail = |path: &Path, why: String| PollError::File {
        path: path.to_owned(),
        why,
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&files::read(cert_file).await?).collect();
    let chain = chain.map_err(|e| fail(cert_file, e.to_string()))?;
    let key =
        PrivateKeyDer::from_pem_slice(files::read_secret(key_file, rule).await?.as_bytes()).map_err(|e| fail(key_file, e.to_string()))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|e| fail(cert_file, format!("{e} (with the key of {})", key_file.display())))
}

/// The same TLS settings, with a certificate for servers that ask for one.
pub(super) async fn with_client_certificate(
    config: Arc<ClientConfig>,
    certificate: &ClientCertificate,
    rule: FileRule,
) -> Result<Arc<ClientConfig>, PollError> {
    let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(client_key(certificate, rule).await?));
    let mut config = ClientConfig::clone(&config);
    config.client_auth_cert_resolver = resolver;
    Ok(Arc::new(config))
}

/// The TLS settings that take any certificate.
pub(super) fn unverified() -> Result<Arc<ClientConfig>, String> {
    config(CertificateVerifier::accepting_any())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn config(verifier: CertificateVerifier) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Verifies the certificate of an endpoint.
#[derive(Debug)]
struct CertificateVerifier {
    /// Verification against trusted CAs. `None` accepts any certificate (`allow_invalid_certs`): the connection is encrypted, but the
    /// server is not authenticated. Signatures are not checked either then, because they prove nothing about an arbitrary certificate.
    strict: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are also trusted as server certificates. They are those of a `ca_file`: a self-signed certificate of
    /// `openssl req -x509` is marked as a CA, which a server certificate must not be, but listing that very certificate shows the intent.
    listed: Vec<CertificateDer<'static>>,
}

impl CertificateVerifier {
    /// Trusts these CAs.
    fn trusting(roots: RootCertStore) -> Result<Self, String> {
        let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        Ok(Self {
            strict: Some(strict.map_err(|e| e.to_string())?),
            listed: Vec::new(),
        })
    }

    /// Trusts the certificates of a file.
    fn trusting_file(pem: &[u8]) -> Result<Self, String> {
        let listed: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        if listed.is_empty() {
            return Err("no PEM certificate in the file".to_owned());
        }
        let mut roots = RootCertStore::empty();
        for certificate in &listed {
            roots.add(certificate.clone()).map_err(|e| e.to_string())?;
        }
        Ok(Self {
            listed,
            ..Self::trusting(roots)?
        })
    }

    /// Accepts any certificate.
    fn accepting_any() -> Self {
        Self {
            strict: None,
            listed: Vec::new(),
        }
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(strict) = &self.strict else {
            return Ok(ServerCertVerified::assertion());
        };
        match strict.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // Wrong dates, names and signatures have error kinds of their own; this one is about the permitted uses of a certificate.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) if self.listed.contains(certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    verify_signatures!(self => provider().signature_verification_algorithms, unless self.strict.is_none());
}
