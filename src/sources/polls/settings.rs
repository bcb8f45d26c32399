//! What is polled, and how: settings as used.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::model::{AppName, LabelPair};
use crate::store::EventFamilies;

/// `[poll_external]` as used. With no endpoints nothing is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What is polled, in the order of the configuration, which also spreads the endpoints over their interval.
    /// Of two with one name the second is left out; the configuration refuses such.
    pub endpoints: Vec<Endpoint>,
    /// Whether a certificate that nobody vouches for is taken.
    pub allow_invalid_certs: bool,
    /// The longest body in bytes that is taken, both as it is sent and after decompression.
    pub max_body_bytes: usize,
    /// The family of this proxy's own one-shot events; `None` if events are switched off. Then those of polled servers stay
    /// samples like others.
    pub event_metric: Option<Arc<str>>,
}

/// One endpoint to poll, everything settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The app that it is; unlike every other endpoint's.
    pub name: AppName,
    /// What is asked, http or https, without user, password and fragment.
    pub url: Url,
    /// What it is asked for.
    pub kind: EndpointKind,
    /// The time from one poll to the next.
    pub interval: Duration,
    /// The time for a whole poll: name lookup, connection, TLS, redirects, headers and body.
    pub timeout: Duration,
    /// How long after its last good poll its data leaves the exposition.
    pub stale_after: Duration,
    /// What is shown to be let in.
    pub credentials: Option<Credentials>,
    /// A file of PEM certificates that are trusted in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Labels that every series gets unless it has them already.
    pub labels: Arc<[LabelPair]>,
    /// The families whose samples are one-shot events; `None`: what a server of events usually calls them.
    pub events: Option<Arc<[Arc<str>]>>,
}

/// What an endpoint is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointKind {
    /// Its metrics.
    Metrics,
    /// The peers of an IPFS node, of which metrics are made.
    Peers {
        /// How many agents get a series of their own.
        agent_version_cutoff: usize,
    },
}

/// What a poll shows to be let in. Files are read anew for each poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A bearer token (RFC 6750) in a file.
    BearerFile(PathBuf),
    /// A bearer token, or all of the header's value, in a file.
    HeaderFile(PathBuf),
    /// User name and password (RFC 7617).
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Password,
    },
}

/// A password, which is used but never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// Itself.
    Given(Arc<str>),
    /// In a file.
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

/// An endpoint with all that its task needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    /// `external_poll: HOST:PORT` or `ipfs: HOST:PORT`, what `/apps` shows as the source.
    pub(super) source: Arc<str>,
    pub(super) max_body_bytes: usize,
    pub(super) allow_invalid_certs: bool,
    /// The metric that events become samples of, and which samples are events; `None` if none are.
    pub(super) events: Option<(Arc<str>, EventFamilies)>,
}

impl Settings {
    /// The endpoints, each with its offset among all of them: a fraction of the interval from 0 to below 1.
    pub(super) fn targets(&self) -> impl Iterator<Item = (Target, f64)> {
        let count = f64::from(u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX));
        let offsets = (0_u32..).map(move |index| f64::from(index) / count);
        self.endpoints.iter().map(|endpoint| self.target(endpoint)).zip(offsets)
    }

    fn target(&self, endpoint: &Endpoint) -> Target {
        let host = endpoint.url.host_str().unwrap_or_default();
        let port = endpoint.url.port_or_known_default().unwrap_or_default();
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
            source: format!("{source_kind}: {host}:{port}").into(),
            max_body_bytes: self.max_body_bytes,
            allow_invalid_certs: self.allow_invalid_certs,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint {
            name: AppName::new("a").unwrap(),
            url: url.parse().unwrap(),
            kind: EndpointKind::Metrics,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            stale_after: Duration::from_secs(15),
            credentials: None,
            ca_file: None,
            labels: Arc::new([]),
            events: None,
        }
    }

    #[test]
    fn endpoints_are_spread_evenly_and_told_by_host_and_port() {
        let settings = Settings {
            endpoints: ["http://a", "https://a/x", "http://[::1]:9100/", "http://127.0.0.1:1025/1025.html"]
                .map(endpoint)
                .to_vec(),
            allow_invalid_certs: false,
            max_body_bytes: 1,
            event_metric: None,
        };
        let (sources, offsets): (Vec<_>, Vec<_>) = settings.targets().map(|(target, offset)| (target.source, offset)).unzip();
        assert_eq!(offsets, [0.0, 0.25, 0.5, 0.75]);
        let expected = ["a:80", "a:443", "[::1]:9100", "127.0.0.1:1025"].map(|at| format!("external_poll: {at}"));
        assert!(
            sources.iter().map(|source| &**source).eq(expected.iter().map(String::as_str)),
            "{sources:?}"
        );
    }

    #[test]
    fn a_password_is_never_printed() {
        let mut endpoint = endpoint("http://a");
        endpoint.credentials = Some(Credentials::Basic {
            username: "u".to_owned(),
            password: Password::Given("hunter2".into()),
        });
        let text = format!("{endpoint:?}");
        assert!(text.contains("MASKED") && !text.contains("hunter2"), "{text}");
    }
}
