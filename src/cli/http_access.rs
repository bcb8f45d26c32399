//! Access of commands to an HTTP port that has TLS and users.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use http::HeaderValue;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, Error};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::target::{HttpServer, Transport, cannot_connect};
use crate::http::verify_signatures;
use crate::sources::polls::{ClientCertificate, client_tls, with_client_certificate};
use crate::supervise::secret_file::{self, FileRule, exposed};

/// The environment variable for credentials, where no file is given.
const CREDENTIALS_VARIABLE: &str = "EXPORTER_PROXY_CREDENTIALS";

/// Options for an HTTP port with TLS and users.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct HttpAccess {
    /// CA certificates (PEM) that are trusted for https:// instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// File with USER:PASSWORD on its first line. Default: the environment variable EXPORTER_PROXY_CREDENTIALS.
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// Client certificate (PEM) for servers that ask for one.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Private key (PEM) of the client certificate.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// The server's certificate where it is known from its own files: then neither its issuer nor its names matter.
    #[arg(skip)]
    pinned: Option<CertificateDer<'static>>,
}

/// A byte stream to a server.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

impl HttpAccess {
    /// The same options, for a server with this very certificate.
    pub(super) fn pinned_to(mut self, certificate: Option<CertificateDer<'static>>) -> Self {
        if self.ca_file.is_none() {
            self.pinned = certificate;
        }
        self
    }

    /// The `Authorization` header, if there are credentials.
    pub(super) fn authorization(&self) -> anyhow::Result<Option<HeaderValue>> {
        let (credentials, source) = match &self.credentials_file {
            Some(file) => {
                if let Some(warning) = exposed(file) {
                    tracing::warn!("--credentials-file: {warning}");
                }
                let text = secret_file::read(file, FileRule::Lenient);
                let text = text.with_context(|| format!("cannot read {}", file.display()))?;
                (text.into_bytes(), file.display().to_string())
            }
            None => match std::env::var(CREDENTIALS_VARIABLE) {
                Ok(text) if !text.is_empty() => (text.into_bytes(), CREDENTIALS_VARIABLE.to_owned()),
                _ => return Ok(None),
            },
        };
        let line = credentials.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        ensure!(line.contains(&b':'), "{source} does not hold USER:PASSWORD");
        let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(line)))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Connects to a server, with TLS if its URL says so.
    pub(super) async fn connect(&self, server: &HttpServer) -> anyhow::Result<Box<dyn ByteStream>> {
        let authority = &server.place;
        let refused = |why: std::io::Error| cannot_connect(authority, &why);
        if server.transport == Transport::Unix {
            return Ok(Box::new(UnixStream::connect(authority).await.map_err(refused)?));
        }
        let stream = TcpStream::connect(authority).await.map_err(refused)?;
        if server.transport == Transport::Http {
            return Ok(Box::new(stream));
        }
        let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).with_context(|| format!("{host} is not a host name"))?;
        let stream = TlsConnector::from(self.tls().await?).connect(name, stream).await;
        Ok(Box::new(stream.map_err(|why| {
            let hint = if self.ca_file.is_none() {
                "; --ca-file names the CA to trust"
            } else {
                ""
            };
            anyhow!("TLS handshake with {authority} failed: {why}{hint}")
        })?))
    }

    async fn tls(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let config = match &self.pinned {
            Some(certificate) => pinned_config(certificate.clone())?,
            None => client_tls(self.ca_file.as_deref()).await.map_err(|why| anyhow!(why))?,
        };
        let (Some(certificate), Some(key)) = (&self.cert_file, &self.key_file) else {
            return Ok(config);
        };
        let certificate = ClientCertificate {
            cert_file: certificate.clone(),
            key_file: key.clone(),
        };
        let presented = with_client_certificate(config, &certificate).await;
        presented.map_err(|why| anyhow!(why))
    }
}

fn pinned_config(certificate: CertificateDer<'static>) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = PinnedCertificate {
        certificate,
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(config.with_no_client_auth()))
}

/// Accepts one certificate.
#[derive(Debug)]
struct PinnedCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.certificate == *certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    verify_signatures!(self => self.provider.signature_verification_algorithms);
}
