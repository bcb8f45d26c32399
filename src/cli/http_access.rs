//! Access of commands to an HTTP port that has TLS and users.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
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

/// The environment variable for a bearer token, where no file is given.
const TOKEN_VARIABLE: &str = "EXPORTER_PROXY_TOKEN";

/// Options for an HTTP port with TLS, users and tokens.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct HttpAccess {
    /// CA certificates (PEM) that are trusted for https:// instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// File with USER:PASSWORD on its first line. Default: the environment variable EXPORTER_PROXY_CREDENTIALS.
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// File with a bearer token. Default: the environment variable EXPORTER_PROXY_TOKEN.
    #[arg(long, value_name = "FILE", conflicts_with = "credentials_file")]
    token_file: Option<PathBuf>,
    /// Client certificate (PEM) for servers that ask for one.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Private key (PEM) of the client certificate.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// The server's certificate where it is known from its own files: then neither its issuer nor its names matter.
    #[arg(skip)]
    pinned: Option<CertificateDer<'static>>,
    /// The server that these options are for.
    #[arg(skip)]
    server: ServerKind,
}

/// The server that credentials are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ServerKind {
    /// A proxy or a bridge. The environment variables hold its credentials.
    #[default]
    Own,
    /// The source of an import. It gets what its own options name, and nothing else.
    Source,
}

impl ServerKind {
    /// The start of the names of its options.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Own => "--",
            Self::Source => "--source-",
        }
    }
}

/// Options for the source of an import.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SourceAccess {
    /// File with USER:PASSWORD for the source on its first line. Credentials and certificates of the proxy are not sent to the source.
    #[arg(long, value_name = "FILE")]
    source_credentials_file: Option<PathBuf>,
    /// File with a bearer token for the source.
    #[arg(long, value_name = "FILE", conflicts_with = "source_credentials_file")]
    source_token_file: Option<PathBuf>,
    /// Client certificate (PEM) for a source that asks for one.
    #[arg(long, value_name = "FILE", requires = "source_key_file")]
    source_cert_file: Option<PathBuf>,
    /// Private key (PEM) of that client certificate.
    #[arg(long, value_name = "FILE", requires = "source_cert_file")]
    source_key_file: Option<PathBuf>,
}

/// Credentials without what is secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// A bearer token: that of this file, or of the environment variable.
    Token(Option<&'a Path>),
    /// A password of this user.
    Password(String),
}

/// A byte stream to a server.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

impl HttpAccess {
    /// The access to the source of an import: of these options it has the trusted CA certificates alone.
    pub(super) fn to_source(&self, source: &SourceAccess) -> Self {
        Self {
            ca_file: self.ca_file.clone(),
            credentials_file: source.source_credentials_file.clone(),
            token_file: source.source_token_file.clone(),
            cert_file: source.source_cert_file.clone(),
            key_file: source.source_key_file.clone(),
            pinned: None,
            server: ServerKind::Source,
        }
    }

    /// The same options, for a server with this very certificate.
    pub(super) fn pinned_to(mut self, certificate: Option<CertificateDer<'static>>) -> Self {
        if self.ca_file.is_none() {
            self.pinned = certificate;
        }
        self
    }

    /// The value of an environment variable with credentials; none if it is empty, or for another server.
    fn variable(&self, name: &str) -> Option<String> {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        value.filter(|_| self.server == ServerKind::Own)
    }

    /// The `Authorization` header, if there are credentials: those of a file, otherwise those of an environment variable.
    pub(super) fn authorization(&self) -> anyhow::Result<Option<HeaderValue>> {
        let prefix = self.server.prefix();
        let header = match (&self.credentials_file, &self.token_file) {
            (Some(file), _) => {
                if let Some(warning) = exposed(file).filter(|_| is_first_warning(file)) {
                    tracing::warn!("{prefix}credentials-file: {warning}");
                }
                basic(&read_secret(file)?, &file.display().to_string())?
            }
            (None, Some(file)) => {
                if let Some(warning) = exposed(file).filter(|_| is_first_warning(file)) {
                    tracing::warn!("{prefix}token-file: {warning}");
                }
                bearer(&read_secret(file)?, &file.display().to_string())?
            }
            (None, None) => match (self.variable(CREDENTIALS_VARIABLE), self.variable(TOKEN_VARIABLE)) {
                (None, None) => return Ok(None),
                (Some(credentials), None) => basic(&credentials, CREDENTIALS_VARIABLE)?,
                (None, Some(token)) => bearer(token.trim(), TOKEN_VARIABLE)?,
                (Some(_), Some(_)) => bail!("{CREDENTIALS_VARIABLE} and {TOKEN_VARIABLE} are both set; unset one of them"),
            },
        };
        let mut value = HeaderValue::try_from(header)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// A hint at the options for the credentials that a response asks for; empty if it asks for none.
    pub(super) fn hint(&self, headers: &HeaderMap) -> &'static str {
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
        let (mut basic, mut bearer) = (false, false);
        for challenge in challenges {
            basic |= challenge.starts_with(b"Basic");
            bearer |= challenge.starts_with(b"Bearer");
        }
        match (self.server, basic, bearer) {
            (_, false, false) => "",
            (ServerKind::Own, true, false) => "; set --credentials-file or EXPORTER_PROXY_CREDENTIALS",
            (ServerKind::Own, false, true) => "; set --token-file or EXPORTER_PROXY_TOKEN",
            (ServerKind::Own, true, true) => {
                "; set --credentials-file or --token-file, or EXPORTER_PROXY_CREDENTIALS or EXPORTER_PROXY_TOKEN"
            }
            (ServerKind::Source, true, false) => "; set --source-credentials-file",
            (ServerKind::Source, false, true) => "; set --source-token-file",
            (ServerKind::Source, true, true) => "; set --source-credentials-file or --source-token-file",
        }
    }

    /// The credentials in use, without what is secret. Those that cannot be read are left out.
    pub(super) fn credential(&self) -> Option<Credential<'_>> {
        let user = |text: String| Some(Credential::Password(text.lines().next()?.split_once(':')?.0.to_owned()));
        match (&self.credentials_file, &self.token_file) {
            (Some(file), _) => user(secret_file::read(file, FileRule::Lenient).ok()?),
            (None, Some(file)) => Some(Credential::Token(Some(file))),
            (None, None) => match (self.variable(CREDENTIALS_VARIABLE), self.variable(TOKEN_VARIABLE)) {
                (Some(text), _) => user(text),
                (None, Some(_)) => Some(Credential::Token(None)),
                (None, None) => None,
            },
        }
    }

    /// The file of CA certificates, and those of the client certificate and its key.
    pub(super) fn tls_files(&self) -> (Option<&Path>, Option<(&Path, &Path)>) {
        let pair = self.cert_file.as_deref().zip(self.key_file.as_deref());
        (self.ca_file.as_deref(), pair)
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

/// The text of a file with a secret.
fn read_secret(file: &Path) -> anyhow::Result<String> {
    secret_file::read(file, FileRule::Lenient).with_context(|| format!("cannot read {}", file.display()))
}

/// The header for `USER:PASSWORD` on the first line of a text; `source` names it in errors.
fn basic(text: &str, source: &str) -> anyhow::Result<String> {
    let line = text.lines().next().unwrap_or_default();
    ensure!(line.contains(':'), "{source} does not hold USER:PASSWORD");
    Ok(format!("Basic {}", BASE64_STANDARD.encode(line)))
}

/// The header for a bearer token.
fn bearer(token: &str, source: &str) -> anyhow::Result<String> {
    let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(is_one, "{source} does not hold one bearer token");
    Ok(format!("Bearer {token}"))
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

/// True once for each file: commands send several requests, and each reads its files again.
fn is_first_warning(file: &Path) -> bool {
    /// Bounded by the options.
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned())
}

#[cfg(test)]
mod tests;
