//! Settings of polls.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::model::{AppName, LabelPair};
use crate::store::EventFamilies;
use crate::supervise::secret_file::FileRule;

/// `[poll_external]` and `[[ipfs]]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollSettings {
    /// The endpoints, in the order of the configuration, which determines their offsets in the interval.
    /// Names are unique; the configuration refuses duplicates.
    pub endpoints: Vec<Endpoint>,
    /// True if certificates are not verified.
    pub allow_invalid_certs: bool,
    /// Limit of a body in bytes, both as received and decompressed.
    pub max_body_bytes: usize,
    /// The family of this proxy's one-shot events; `None` if events are disabled. Then those of polled servers remain ordinary samples.
    pub event_metric: Option<Arc<str>>,
    /// The rule for files with passwords and tokens.
    pub secret_rule: FileRule,
}

/// One endpoint, with all defaults applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The app name of the endpoint; unique.
    pub name: AppName,
    /// The URL, http or https, without user, password and fragment.
    pub url: Url,
    /// The Unix socket that is connected to instead of the URL's host.
    pub socket: Option<PathBuf>,
    /// The kind of endpoint.
    pub kind: EndpointKind,
    /// The time from one poll to the next.
    pub interval: Duration,
    /// Timeout of a poll: name lookup, connection, TLS, redirects, headers and body.
    pub timeout: Duration,
    /// Time after the last successful poll at which its data is removed from the exposition.
    pub stale_after: Duration,
    /// The credentials of requests.
    pub credentials: Option<Credentials>,
    /// A file of trusted PEM certificates, replacing the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is presented to the server.
    pub certificate: Option<ClientCertificate>,
    /// True if protobuf is asked for first, which alone carries native histograms.
    pub native_histograms: bool,
    /// Labels that are added to series that lack them.
    pub labels: Arc<[LabelPair]>,
    /// The families of one-shot events; `None` for the usual names.
    pub events: Option<Arc<[Arc<str>]>>,
}

impl Endpoint {
    /// Intervals without a successful poll after which data is stale, where nothing else is configured.
    pub const STALE_INTERVALS: u32 = 3;

    /// The peers of an IPFS node, by the URL of its RPC. The file holds the credentials.
    #[must_use]
    pub fn peers(name: AppName, api: &Url, interval: Duration, agent_version_cutoff: usize, authorization_file: Option<PathBuf>) -> Self {
        let mut url = api.clone();
        url.set_path("/api/v0/swarm/peers");
        url.set_query(Some("verbose=true"));
        Self {
            name,
            url,
            socket: None,
            kind: EndpointKind::Peers { agent_version_cutoff },
            interval,
            timeout: interval,
            stale_after: interval * Self::STALE_INTERVALS,
            credentials: authorization_file.map(Credentials::HeaderFile),
            ca_file: None,
            certificate: None,
            native_histograms: false,
            labels: Arc::new([]),
            events: None,
        }
    }
}

/// The certificate of a client, in PEM files that are read for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, followed by those of intermediate CAs.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// The host and port of an endpoint, or its Unix socket.
#[must_use]
pub fn place(url: &Url, socket: Option<&Path>) -> String {
    match socket {
        Some(path) => format!("unix:{}", path.display()),
        None => format!(
            "{}:{}",
            url.host_str().unwrap_or_default(),
            url.port_or_known_default().unwrap_or_default()
        ),
    }
}

/// Kind of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointKind {
    /// Metrics.
    Metrics,
    /// The peers of an IPFS node, converted to metrics.
    Peers {
        /// Number of agents with series of their own.
        agent_version_cutoff: usize,
    },
}

/// Credentials of a poll. Files are read for each poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A bearer token (RFC 6750) in a file.
    BearerFile(PathBuf),
    /// A bearer token, or the complete header value, in a file.
    HeaderFile(PathBuf),
    /// User name and password (RFC 7617).
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Password,
    },
}

/// A password, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The password itself.
    Given(Arc<str>),
    /// A file with the password.
    File(PathBuf),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("MASKED"),
            Self::File(path) => write!(f, "{path:?}"),
        }
    }
}

/// An endpoint with the settings for its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    /// `external_poll: HOST:PORT` or `ipfs: HOST:PORT`, the source in `/apps`.
    pub(super) source: Arc<str>,
    pub(super) max_body_bytes: usize,
    pub(super) allow_invalid_certs: bool,
    pub(super) secret_rule: FileRule,
    /// The family of recorded events, and the selection of event samples; `None` if there are none.
    pub(super) events: Option<(Arc<str>, EventFamilies)>,
}

impl PollSettings {
    /// The endpoints, each with its offset as a fraction of the interval, from 0 to below 1.
    pub(super) fn targets(&self) -> impl Iterator<Item = (Target, f64)> {
        let count = f64::from(u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX));
        let offsets = (0_u32..).map(move |index| f64::from(index) / count);
        self.endpoints.iter().map(|endpoint| self.target(endpoint)).zip(offsets)
    }

    fn target(&self, endpoint: &Endpoint) -> Target {
        let place = place(&endpoint.url, endpoint.socket.as_deref());
        let source_kind = match endpoint.kind {
            EndpointKind::Metrics => "external_poll",
            EndpointKind::Peers { .. } => "ipfs",
        };
        let events = self.event_metric.clone().filter(|_| endpoint.kind == EndpointKind::Metrics);
        let events = events.map(|own| {
            let families = match &endpoint.events {
                Some(named) => EventFamilies::Named(Arc::clone(named)),
                None => EventFamilies::Usual { own: Arc::clone(&own) },
            };
            (own, families)
        });
        Target {
            events,
            endpoint: endpoint.clone(),
            source: format!("{source_kind}: {place}").into(),
            max_body_bytes: self.max_body_bytes,
            allow_invalid_certs: self.allow_invalid_certs,
            secret_rule: self.secret_rule,
        }
    }
}

#[cfg(test)]
mod tests;
