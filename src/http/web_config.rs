//! The web configuration file of Prometheus' exporter-toolkit: TLS, users, response headers and a rate limit of an HTTP port.
//!
//! [`read_web_config`] accepts and refuses the same files as `promtool check web-config`; the differences that rustls causes are in
//! docs/web.md. It reports all faults at once, and as warnings what the file asks for and does not get.

mod client_certificates;
mod fault;
mod go_duration;
mod password_hash;
mod reader;
mod server_tls;
mod subject_alt_names;
mod tls_names;
mod yaml;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

pub use fault::WebConfigFaults;
pub(super) use password_hash::PasswordHash;
pub(super) use server_tls::ServerTls;
pub(super) use subject_alt_names::subject_alt_names;

use fault::{Finding, Place, hint};
use reader::{Located, Reader};
use server_tls::TlsSection;
use yaml::{Document, NodeId};

use crate::supervise::files::open_regular;

/// The largest web configuration, certificate or key file: a chain of certificates takes some kilobytes, a bundle of all public CAs 250.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Headers that can be set, with the values that they can have; none: any value.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// A web configuration as used.
#[derive(Debug)]
pub struct WebConfig {
    /// None: plain HTTP.
    pub(super) tls: Option<ServerTls>,
    /// By name; empty: no authentication.
    pub(super) users: BTreeMap<String, PasswordHash>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) rate_limit: Option<RateLimit>,
}

impl WebConfig {
    /// Returns true if connections are encrypted.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns true if requests need a user and a password.
    #[must_use]
    pub fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// Returns true if the certificates of clients are verified.
    #[must_use]
    pub fn verifies_clients(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.verifies_clients)
    }

    /// Returns true if there is a user of this name.
    #[must_use]
    pub fn has_user(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// The server's own certificates, the leaf first, as DER.
    #[must_use]
    pub fn certificates(&self) -> &[rustls::pki_types::CertificateDer<'static>] {
        self.tls.as_ref().map_or(&[], ServerTls::certificates)
    }
}

/// `rate_limit`: a token bucket for all requests together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateLimit {
    /// The time in which a token is added.
    pub(super) interval: Duration,
    /// The number of tokens at most; 0: no request passes.
    pub(super) burst: u32,
}

/// A web configuration and what it asks for and does not get.
#[derive(Debug)]
pub struct CheckedWebConfig {
    /// The configuration.
    pub config: WebConfig,
    /// A line for each warning, with its place.
    pub warnings: Vec<String>,
}

/// Result of reading a web configuration file.
#[derive(Debug)]
pub struct WebConfigReading {
    /// All files that were read or should have been, the web configuration file first.
    pub files: Vec<PathBuf>,
    /// The configuration.
    pub outcome: Result<CheckedWebConfig, WebConfigFaults>,
}

/// Reads a web configuration file and the files that it names. Blocks on the file system.
#[must_use]
pub fn read_web_config(path: &Path) -> WebConfigReading {
    let mut files = vec![path.to_owned()];
    let mut findings = Findings::default();
    let config = read_text(path)
        .and_then(|text| Document::parse(&text))
        .map(|document| interpret(path, &document, &mut files, &mut findings));
    let config = config.map_err(|fault| findings.faults.push(fault)).ok().flatten();
    let Findings { mut faults, mut warnings } = findings;
    let lines = |list: &mut Vec<Finding>| {
        list.sort();
        list.iter().map(|fault| fault.line(path)).collect()
    };
    let outcome = match config {
        Some(config) if faults.is_empty() => Ok(CheckedWebConfig {
            config,
            warnings: lines(&mut warnings),
        }),
        _ => Err(WebConfigFaults(lines(&mut faults))),
    };
    WebConfigReading { files, outcome }
}

/// Faults and warnings found so far.
#[derive(Default)]
struct Findings {
    faults: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Findings {
    fn fault(&mut self, place: Place, text: String) {
        self.faults.push(Finding::at(place, text));
    }

    fn warn(&mut self, place: Place, text: String) {
        self.warnings.push(Finding::at(place, text));
    }
}

fn read_text(path: &Path) -> Result<String, Finding> {
    let bytes = read_file(path).map_err(|why| Finding::of_file(format!("cannot read the web configuration file: {why}")))?;
    String::from_utf8(bytes).map_err(|why| {
        let line = why.as_bytes()[..why.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        Finding::at(Place::new(line, 1), "the file is not UTF-8".to_owned())
    })
}

/// Reads a regular file of limited size.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file: File = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {} MiB", MAX_FILE_BYTES >> 20),
        ));
    }
    Ok(bytes)
}

/// Reads all sections; none if one of them has a fault that leaves nothing to use.
fn interpret(path: &Path, document: &Document, files: &mut Vec<PathBuf>, findings: &mut Findings) -> Option<WebConfig> {
    if let Some(place) = document.ignored {
        findings.warn(place, "only the first YAML document of the file is used".to_owned());
    }
    let mut reader = Reader::new(document);
    let keys = ["tls_server_config", "http_server_config", "rate_limit", "basic_auth_users"];
    let [tls, http, rate_limit, users] = reader.fields(document.root, "the web configuration", keys);
    let section = TlsSection::read(&mut reader, tls, findings);
    let headers = read_http(&mut reader, http, findings);
    let rate_limit = read_rate_limit(&mut reader, rate_limit, findings);
    let users = read_users(&mut reader, users, findings);
    let is_sound = reader.faults.is_empty();
    findings.faults.append(&mut reader.faults);
    let place = tls.map_or(Place::new(1, 1), |tls| reader.place(tls));
    let tls = match section.is_enabled() {
        true => Some(section.build(path, place, files, findings)),
        false => None,
    };
    is_sound.then_some(())?;
    Some(WebConfig {
        tls: match tls {
            Some(built) => Some(built?),
            None => None,
        },
        users,
        headers,
        rate_limit,
    })
}

fn read_http(reader: &mut Reader<'_>, id: Option<NodeId>, findings: &mut Findings) -> Vec<(HeaderName, HeaderValue)> {
    let [http2, headers] = reader.fields(id, "http_server_config", ["http2", "headers"]);
    // HTTP/1.1 is what ALPN offers, so there is nothing to switch off.
    reader.boolean(http2, "http2");
    let mut found = Vec::new();
    for (name, value) in reader.pairs(headers, "headers") {
        let Some((known, values)) = HEADERS.iter().find(|(known, _)| *known == name.text) else {
            let known = HEADERS.map(|(known, _)| known);
            let hint = hint(name.text, &known);
            let list = known.join(", ");
            reader.fault(
                name.place,
                format!("headers: {:?} cannot be set{hint}; the headers are {list}", name.text),
            );
            continue;
        };
        if !values.is_empty() && !values.contains(&value.text) {
            let expected = values.join(" or ");
            reader.fault(value.place, format!("{known}: expected {expected}, found {:?}", value.text));
            continue;
        }
        // Blank is the same as left out.
        if !value.text.is_empty() {
            found.extend(header(known, value, findings));
        }
    }
    found
}

fn header(name: &str, value: Located<'_>, findings: &mut Findings) -> Option<(HeaderName, HeaderValue)> {
    let printable: String = value.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if printable != value.text {
        findings.warn(value.place, format!("{name}: control characters are sent as spaces"));
    }
    let name = HeaderName::try_from(name).ok()?;
    Some((name, HeaderValue::try_from(printable).ok()?))
}

fn read_rate_limit(reader: &mut Reader<'_>, id: Option<NodeId>, findings: &mut Findings) -> Option<RateLimit> {
    let [interval, burst] = reader.fields(id, "rate_limit", ["interval", "burst"]);
    let nanoseconds = reader.duration(interval, "interval");
    let burst = reader.integer(burst, "burst").unwrap_or(0);
    // As in the original, a limit without a positive interval limits nothing.
    let interval = Duration::from_nanos(u64::try_from(nanoseconds?).ok().filter(|nanoseconds| *nanoseconds > 0)?);
    let burst = u32::try_from(burst.max(0)).unwrap_or(u32::MAX);
    if let (0, Some(id)) = (burst, id) {
        findings.warn(
            reader.place(id),
            "rate_limit: burst is 0, so every request is refused; set at least 1".to_owned(),
        );
    }
    Some(RateLimit { interval, burst })
}

fn read_users(reader: &mut Reader<'_>, id: Option<NodeId>, findings: &mut Findings) -> BTreeMap<String, PasswordHash> {
    let mut users = BTreeMap::new();
    for (name, value) in reader.pairs(id, "basic_auth_users") {
        match PasswordHash::new(value.text) {
            Ok(hash) => {
                if let Some(warning) = hash.warning() {
                    findings.warn(value.place, format!("basic_auth_users: {}: {warning}", name.text));
                }
                if name.text.contains(':') {
                    let text = format!("basic_auth_users: {}: a name with a colon cannot log in", name.text);
                    findings.warn(name.place, text);
                }
                users.insert(name.text.to_owned(), hash);
            }
            Err(why) => reader.fault(value.place, format!("basic_auth_users: {}: {why}", name.text)),
        }
    }
    users
}

#[cfg(test)]
mod tests;
