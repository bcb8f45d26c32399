//! `tls_server_config`: from keys to the settings of rustls.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::client_certificates::{AuthType, ClientCertificates};
use super::fault::{Place, hint};
use super::reader::{Located, Reader};
use super::tls_names::{CURVES, SUITES, Suite, VERSIONS, find};
use super::yaml::NodeId;
use super::{Findings, read_file};

/// The only ALPN protocol: one-shot events need "the next request on the connection", which HTTP/2 does not have.
const ALPN: &[u8] = b"http/1.1";

/// TLS of a server.
pub(in crate::http) struct ServerTls {
    /// None if the file allows only what rustls does not have: every handshake fails then.
    pub(in crate::http) config: Option<Arc<ServerConfig>>,
    /// True if the certificates of clients are verified.
    pub(in crate::http) verifies_clients: bool,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerTls {
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerTls({} certificates)", self.certificates.len())
    }
}

/// `tls_server_config` as written.
pub(super) struct TlsSection<'d> {
    cert: Option<Located<'d>>,
    key: Option<Located<'d>>,
    client_ca: Option<Located<'d>>,
    cert_file: Option<Located<'d>>,
    key_file: Option<Located<'d>>,
    client_ca_file: Option<Located<'d>>,
    client_auth_type: Option<Located<'d>>,
    client_allowed_sans: Option<Vec<Located<'d>>>,
    /// Indexes into [`VERSIONS`].
    min_version: usize,
    max_version: usize,
    /// The suites of TLS 1.2 that are offered, in this order; none: all.
    suites: Option<Vec<rustls::CipherSuite>>,
    /// The key exchange groups that are offered; none: all.
    groups: Option<Vec<NamedGroup>>,
    prefer_server_suites: bool,
}

impl<'d> TlsSection<'d> {
    pub(super) fn read(reader: &mut Reader<'d>, id: Option<NodeId>, findings: &mut Findings) -> Self {
        let keys = [
            "cert",
            "key",
            "client_ca",
            "cert_file",
            "key_file",
            "client_ca_file",
            "client_auth_type",
            "client_allowed_sans",
            "min_version",
            "max_version",
            "cipher_suites",
            "curve_preferences",
            "prefer_server_cipher_suites",
        ];
        let fields = reader.fields(id, "tls_server_config", keys);
        let [
            cert,
            key,
            client_ca,
            cert_file,
            key_file,
            client_ca_file,
            auth,
            sans,
            min,
            max,
            suites,
            curves,
            prefer,
        ] = fields;
        Self {
            cert: reader.text(cert, "cert"),
            key: reader.text(key, "key"),
            client_ca: reader.text(client_ca, "client_ca"),
            cert_file: reader.text(cert_file, "cert_file"),
            key_file: reader.text(key_file, "key_file"),
            client_ca_file: reader.text(client_ca_file, "client_ca_file"),
            client_auth_type: reader.text(auth, "client_auth_type"),
            client_allowed_sans: reader.texts(sans, "client_allowed_sans"),
            min_version: read_version(reader, min, "min_version", 2, findings),
            max_version: read_version(reader, max, "max_version", 3, findings),
            suites: read_suites(reader, suites, findings),
            groups: read_groups(reader, curves, findings),
            prefer_server_suites: reader.boolean(prefer, "prefer_server_cipher_suites").unwrap_or(true),
        }
    }

    /// Returns true if the section asks for TLS: the same keys decide as in the original.
    pub(super) const fn is_enabled(&self) -> bool {
        self.cert.is_some()
            || self.key.is_some()
            || self.client_ca.is_some()
            || self.cert_file.is_some()
            || self.key_file.is_some()
            || self.client_ca_file.is_some()
            || self.client_auth_type.is_some()
    }

    /// Reads the files and builds the settings; none after a fault. `place` is that of the section.
    pub(super) fn build(&self, path: &Path, place: Place, files: &mut Vec<PathBuf>, findings: &mut Findings) -> Option<ServerTls> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let mut inputs = Inputs {
            directory,
            place,
            files,
            findings,
        };
        let certificate = inputs.pem("cert", self.cert, "cert_file", self.cert_file);
        let key = inputs.pem("key", self.key, "key_file", self.key_file);
        let client_ca = inputs.optional_pem("client_ca", self.client_ca, "client_ca_file", self.client_ca_file);
        let findings = inputs.findings;
        let client = self.clients(client_ca.as_ref(), findings);
        let certified = certified_key(&certificate?, &key?, findings)?;
        let certificates = certified.cert.clone();
        let client = client?;
        Some(ServerTls {
            verifies_clients: client.verifies(),
            config: self.config(certified, client, place, findings),
            certificates,
        })
    }

    /// The policy for client certificates; none after a fault.
    fn clients(&self, ca: Option<&Pem>, findings: &mut Findings) -> Option<ClientCertificates> {
        let auth = match self.client_auth_type {
            None => AuthType::None,
            Some(Located { text, place }) => match AuthType::parse(text) {
                Some(auth) => auth,
                None => {
                    let hint = hint(text, &AuthType::NAMES);
                    let names = AuthType::NAMES.join(", ");
                    findings.fault(
                        place,
                        format!("client_auth_type: unknown type {text:?}{hint}; the types are {names}"),
                    );
                    return None;
                }
            },
        };
        if let Some(ca) = self.client_ca_file.or(self.client_ca).filter(|_| auth == AuthType::None) {
            let text = "client_ca is set without a client_auth_type; set client_auth_type: RequireAndVerifyClientCert";
            findings.fault(ca.place, text.to_owned());
            return None;
        }
        let sans = self.client_allowed_sans.as_ref();
        let sans = sans.map(|sans| sans.iter().map(|san| san.text.to_owned()).collect());
        // What could not be read has been reported.
        let has_ca = self.client_ca_file.or(self.client_ca).is_some();
        if has_ca && ca.is_none() {
            return None;
        }
        match ClientCertificates::new(auth, ca.map(|ca| ca.bytes.as_slice()), sans) {
            Ok((clients, warning)) => {
                if let Some(warning) = warning {
                    let at = self.client_ca_file.or(self.client_ca).or(self.client_auth_type);
                    findings.warn(at.map_or(Place::new(1, 1), |at| at.place), warning);
                }
                Some(clients)
            }
            Err(why) => {
                let at = self.client_ca_file.or(self.client_ca).or(self.client_auth_type);
                findings.fault(at.map_or(Place::new(1, 1), |at| at.place), why);
                None
            }
        }
    }

    /// The settings of rustls; none, with a warning, if the file leaves nothing to offer.
    fn config(&self, key: CertifiedKey, clients: ClientCertificates, place: Place, findings: &mut Findings) -> Option<Arc<ServerConfig>> {
        let mut provider = ring::default_provider();
        if let Some(suites) = &self.suites {
            provider.cipher_suites = ordered(&provider.cipher_suites, suites);
        }
        if let Some(groups) = &self.groups {
            provider.kx_groups.retain(|group| groups.contains(&group.name()));
        }
        let versions = self.versions(&provider);
        let builder = ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&versions);
        let Ok(builder) = builder else {
            let text = "tls_server_config: no client can connect: the file allows no version, cipher suite or curve that is offered \
                        (TLS 1.2 and 1.3, no CBC, no P-521)";
            findings.warn(place, text.to_owned());
            return None;
        };
        let resolver = Arc::new(SingleCertAndKey::from(key));
        let mut config = match clients.verifier() {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(resolver);
        config.ignore_client_order = self.prefer_server_suites;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Some(Arc::new(config))
    }

    fn versions(&self, provider: &CryptoProvider) -> Vec<&'static SupportedProtocolVersion> {
        let range = self.min_version..=self.max_version;
        let has = |version: &SupportedProtocolVersion| provider.cipher_suites.iter().any(|suite| suite.version() == version);
        [(2, &version::TLS12), (3, &version::TLS13)]
            .into_iter()
            .filter(|(at, version)| range.contains(at) && has(version))
            .map(|(_, version)| version)
            .collect()
    }
}

/// All suites of TLS 1.3, then these of TLS 1.2.
fn ordered(all: &[SupportedCipherSuite], wanted: &[rustls::CipherSuite]) -> Vec<SupportedCipherSuite> {
    let is_new = |suite: &&SupportedCipherSuite| suite.tls13().is_some();
    let named = |name: &rustls::CipherSuite| all.iter().find(|suite| suite.suite() == *name);
    all.iter().filter(is_new).chain(wanted.iter().filter_map(named)).copied().collect()
}

/// PEM text and the key that it came from.
struct Pem {
    bytes: Vec<u8>,
    /// The key, and the file if it came from one.
    source: String,
    place: Place,
}

/// The inputs of a section: values of the file and other files.
struct Inputs<'a> {
    directory: &'a Path,
    place: Place,
    files: &'a mut Vec<PathBuf>,
    findings: &'a mut Findings,
}

impl Inputs<'_> {
    /// A required value; none after a fault.
    fn pem(&mut self, inline_key: &str, inline: Option<Located<'_>>, file_key: &str, file: Option<Located<'_>>) -> Option<Pem> {
        if inline.is_none() && file.is_none() {
            let text = format!("tls_server_config: {inline_key} and {file_key} are missing; set one of them");
            self.findings.fault(self.place, text);
        }
        self.optional_pem(inline_key, inline, file_key, file)
    }

    /// A value: the file has precedence.
    fn optional_pem(&mut self, inline_key: &str, inline: Option<Located<'_>>, file_key: &str, file: Option<Located<'_>>) -> Option<Pem> {
        if let (Some(inline), Some(_)) = (inline, file) {
            let text = format!("{inline_key} has no effect, because {file_key} is set; remove one of them");
            self.findings.warn(inline.place, text);
        }
        let Some(Located { text, place }) = file else {
            return inline.map(|Located { text, place }| Pem {
                bytes: text.as_bytes().to_vec(),
                source: inline_key.to_owned(),
                place,
            });
        };
        let path = self.directory.join(text);
        let source = format!("{file_key}: {}", path.display());
        let read = read_file(&path);
        self.files.push(path);
        match read {
            Ok(bytes) => Some(Pem { bytes, source, place }),
            Err(why) => {
                self.findings.fault(place, format!("{source}: cannot read it: {why}"));
                None
            }
        }
    }
}

/// The certificates with their key; none after a fault.
fn certified_key(certificate: &Pem, key: &Pem, findings: &mut Findings) -> Option<CertifiedKey> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate.bytes).collect();
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => Some(chain),
        Ok(_) => {
            let swapped = PrivateKeyDer::from_pem_slice(&certificate.bytes).is_ok();
            let hint = if swapped { ", but a private key; are they switched?" } else { "" };
            findings.fault(
                certificate.place,
                format!("{}: there is no PEM certificate{hint}", certificate.source),
            );
            None
        }
        Err(why) => {
            findings.fault(certificate.place, format!("{}: invalid PEM: {why}", certificate.source));
            None
        }
    };
    let private = PrivateKeyDer::from_pem_slice(&key.bytes)
        .map_err(|_| {
            findings.fault(
                key.place,
                format!("{}: there is no PEM private key without a passphrase", key.source),
            )
        })
        .ok();
    let built = CertifiedKey::from_der(chain?, private?, &ring::default_provider());
    let reason = match built {
        Ok(certified) => return Some(certified),
        Err(rustls::Error::InconsistentKeys(_)) => "the key does not belong to the certificate".to_owned(),
        Err(rustls::Error::InvalidCertificate(why)) => {
            findings.fault(certificate.place, format!("{}: invalid certificate: {why}", certificate.source));
            return None;
        }
        Err(_) => "the key cannot be used; supported are RSA of 2048 bits and more, ECDSA with P-256 or P-384, and Ed25519".to_owned(),
    };
    findings.fault(key.place, format!("{}: {reason}", key.source));
    None
}

fn read_version(reader: &mut Reader<'_>, id: Option<NodeId>, key: &str, default: usize, findings: &mut Findings) -> usize {
    let Some(Located { text, place }) = reader.word(id, key) else {
        return default;
    };
    let Some(at) = VERSIONS.iter().position(|known| *known == text) else {
        let hint = hint(text, &VERSIONS);
        reader.fault(
            place,
            format!("{key}: unknown version {text:?}{hint}; the versions are {}", VERSIONS.join(", ")),
        );
        return default;
    };
    if at < 2 {
        findings.warn(place, format!("{key}: {text} is not offered; the oldest version is TLS12"));
    }
    at
}

fn read_suites(reader: &mut Reader<'_>, id: Option<NodeId>, findings: &mut Findings) -> Option<Vec<rustls::CipherSuite>> {
    let names = reader.texts(id, "cipher_suites")?;
    let mut offered = Vec::new();
    for Located { text, place } in &names {
        match find(text, &SUITES) {
            Some(Suite::Tls12(suite)) => offered.push(suite),
            Some(Suite::Tls13) => {}
            Some(Suite::Absent) => findings.warn(
                *place,
                format!("cipher_suites: {text} is not offered: suites with CBC are not supported"),
            ),
            None => {
                let hint = hint(text, &SUITES.map(|(name, _)| name));
                reader.fault(*place, format!("cipher_suites: unknown or insecure suite {text:?}{hint}"));
            }
        }
    }
    (!names.is_empty()).then_some(offered)
}

fn read_groups(reader: &mut Reader<'_>, id: Option<NodeId>, findings: &mut Findings) -> Option<Vec<NamedGroup>> {
    let names = reader.texts(id, "curve_preferences")?;
    let mut offered = Vec::new();
    for Located { text, place } in &names {
        match find(text, &CURVES) {
            Some(Some(group)) => offered.push(group),
            Some(None) => findings.warn(*place, format!("curve_preferences: {text} is not offered")),
            None => {
                let known = CURVES.map(|(name, _)| name);
                let hint = hint(text, &known);
                let list = known.join(", ");
                reader.fault(
                    *place,
                    format!("curve_preferences: unknown curve {text:?}{hint}; the curves are {list}"),
                );
            }
        }
    }
    (!names.is_empty()).then_some(offered)
}
