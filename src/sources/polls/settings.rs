//! What is polled, and how: settings as used.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::model::{AppName, LabelPair};

/// `[poll_external]` as used. With no endpoints nothing is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What is polled, in the order of the configuration.
    pub endpoints: Vec<Endpoint>,
    /// Whether a certificate that nobody vouches for is taken (`allow_invalid_certs`).
    pub allow_invalid_certs: bool,
    /// How long after its last good poll an endpoint's data leaves the exposition; `None`: three of its intervals.
    pub stale_after: Option<Duration>,
    /// The longest body that is taken, both as it is sent and after decompression.
    pub max_body_bytes: usize,
}

/// One endpoint to poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    /// The name of its app, in place of one made from the URL.
    pub name: Option<AppName>,
    /// The time from one poll to the next.
    pub interval: Duration,
    /// The time for a whole poll: name lookup, connection, TLS, redirects, headers and body.
    pub timeout: Duration,
    /// How it is convinced to answer.
    pub credentials: Credentials,
    /// PEM certificates to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Labels that every series gets unless it has them already.
    pub labels: Arc<[LabelPair]>,
}

/// How a poll is authorised. Files are read again for each poll.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// A bearer token (RFC 6750) in a file.
    Bearer(PathBuf),
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

/// Why a URL cannot be polled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL at all.
    #[error("{0}")]
    Malformed(#[from] url::ParseError),
    /// It is one of another scheme.
    #[error("a polled URL begins with http:// or https://, not {0}:")]
    Scheme(String),
    /// It has no host.
    #[error("it names no host")]
    NoHost,
}

impl Endpoint {
    /// The endpoint at `url` with nothing special about it. A user name and a password inside the URL become its credentials.
    ///
    /// # Errors
    /// When nothing at such a URL can be polled.
    pub fn new(url: &str, interval: Duration, timeout: Duration) -> Result<Self, UrlError> {
        let mut url = Url::parse(url.trim())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme(url.scheme().to_owned()));
        }
        if !url.has_host() {
            return Err(UrlError::NoHost);
        }
        let credentials = take_credentials(&mut url);
        url.set_fragment(None);
        Ok(Self {
            url,
            name: None,
            interval,
            timeout,
            credentials,
            ca_file: None,
            labels: Arc::new([]),
        })
    }

    /// The URL, without credentials and fragment.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Moves user name and password out of a URL, so that no log line, label or table can show them.
fn take_credentials(url: &mut Url) -> Credentials {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (username, password) = (decoded(url.username()), url.password().map(decoded));
    if username.is_empty() && password.is_none() {
        return Credentials::None;
    }
    // Both only fail for URLs without a host, and such have no credentials either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Credentials::Basic {
        username,
        password: Password::Given(password.unwrap_or_default().into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, UrlError> {
        Endpoint::new(url, Duration::from_secs(5), Duration::from_secs(2))
    }

    #[test]
    fn credentials_leave_the_url_and_are_never_printed() {
        let endpoint = endpoint(" http://us%40er:hunter%3A2@host:1/m?x=1#top ").unwrap();
        assert_eq!(endpoint.url().as_str(), "http://host:1/m?x=1");
        let expected = Credentials::Basic {
            username: "us@er".to_owned(),
            password: Password::Given("hunter:2".into()),
        };
        assert_eq!(endpoint.credentials, expected);
        assert!(!format!("{endpoint:?}").contains("hunter"), "{endpoint:?}");
    }

    #[test]
    fn only_web_addresses_are_polled() {
        assert_eq!(endpoint("ftp://host/x").unwrap_err(), UrlError::Scheme("ftp".to_owned()));
        assert!(matches!(endpoint("host:9100").unwrap_err(), UrlError::Scheme(_)));
        assert!(matches!(endpoint("").unwrap_err(), UrlError::Malformed(_)));
        assert!(endpoint("https://[::1]:9100").is_ok());
    }
}
