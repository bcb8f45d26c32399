//! A web configuration in force on an HTTP port: encrypts its connections, checks passwords, and limits the rate of requests.

mod authenticator;
mod rate_limiter;
mod reload;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::body::Body;
use http::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use rustls::ServerConfig;

use self::authenticator::Authenticator;
pub(super) use self::authenticator::Verdict;
use self::rate_limiter::RateLimiter;
use super::file_watch::FileReload;
use super::stats::{HttpStats, count};
use super::web_config::{CheckedWebConfig, WebConfig, WebConfigFaults, read_web_config};
use super::{Client, Credentials, reply};
use crate::supervise::{Notes, Service, blocking};

use self::reload::WebConfigFiles;

/// Demands of a port on its clients.
pub struct WebPolicy {
    file: PathBuf,
    active: ArcSwap<ActiveConfig>,
    authenticator: Authenticator,
    stats: Arc<HttpStats>,
}

impl fmt::Debug for WebPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebPolicy({})", self.file.display())
    }
}

/// A web configuration with its state.
struct ActiveConfig {
    config: WebConfig,
    limiter: Option<RateLimiter>,
}

impl WebPolicy {
    /// Reads a web configuration file. The policy follows the file for as long as the returned service runs. Each warning is logged.
    ///
    /// # Errors
    ///
    /// All faults of the file and of those that it names.
    pub async fn open(file: PathBuf, stats: Arc<HttpStats>, notes: Arc<Notes>) -> Result<(Arc<Self>, impl Service), WebConfigFaults> {
        let path = file.clone();
        let reading = blocking(move || read_web_config(&path)).await;
        let CheckedWebConfig { config, warnings } = reading.outcome?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let active = ActiveConfig {
            limiter: config.rate_limit.map(RateLimiter::new),
            config,
        };
        let policy = Arc::new(Self {
            file,
            active: ArcSwap::from_pointee(active),
            authenticator: Authenticator::new(),
            stats,
        });
        let files = WebConfigFiles {
            policy: policy.clone(),
            notes,
            files: reading.files,
        };
        Ok((policy, FileReload::new(files).await))
    }

    /// Returns true if connections are encrypted. It does not change while the program runs.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.active.load().config.is_tls()
    }

    /// The TLS settings for a new connection of another protocol on the same terms. `None` if TLS is off, or the file allows nothing that
    /// rustls has.
    #[must_use]
    pub fn tls_config(&self) -> Option<Arc<ServerConfig>> {
        self.active.load().config.tls.as_ref()?.config.clone()
    }

    /// The TLS settings for a new connection.
    pub(super) fn tls(&self) -> Tls {
        match &self.active.load().config.tls {
            None => Tls::Off,
            Some(tls) => tls.config.clone().map_or(Tls::Unusable, |config| Tls::On {
                config,
                verifies_clients: tls.verifies_clients,
            }),
        }
    }

    /// Takes a token of the rate limit.
    ///
    /// # Errors
    ///
    /// The response in place of that of a route, if there is none.
    #[expect(clippy::result_large_err, reason = "the error is the response, and is sent at once")]
    pub(super) fn admit(&self) -> Result<(), Response<Body>> {
        let active = self.active.load();
        let Some(limiter) = &active.limiter else { return Ok(()) };
        limiter.admit(Instant::now()).map_err(|wait| {
            count(&self.stats.rate_limited);
            let text = "too many requests (rate_limit of the web configuration file)";
            retry_after(StatusCode::TOO_MANY_REQUESTS, text, wait)
        })
    }

    /// Returns true if names and passwords of users are checked.
    #[must_use]
    pub fn has_users(&self) -> bool {
        !self.active.load().config.users.is_empty()
    }

    /// Returns true if the certificates of clients are verified.
    #[must_use]
    pub fn verifies_clients(&self) -> bool {
        self.active.load().config.verifies_clients()
    }

    /// Returns true if there is a user of this name.
    #[must_use]
    pub fn has_user(&self, name: &str) -> bool {
        self.active.load().config.has_user(name)
    }

    /// Checks the password of a user.
    pub(super) async fn check(&self, credentials: Credentials, client: &Client) -> Verdict {
        let active = self.active.load_full();
        self.authenticator
            .check(&active.config.users, credentials, address_of(client))
            .await
    }

    /// Adds the configured headers; those that the response has already stay.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.active.load().config.headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
    }

    /// Puts another configuration into force.
    ///
    /// # Errors
    ///
    /// The reason if that needs a restart.
    fn replace(&self, config: WebConfig) -> Result<(), &'static str> {
        let old = self.active.load_full();
        match (old.config.is_tls(), config.is_tls()) {
            (true, false) => return Err("tls_server_config is gone, and switching TLS off needs a restart"),
            (false, true) => return Err("tls_server_config is new, and switching TLS on needs a restart"),
            _ => {}
        }
        let users_changed = old.config.users != config.users;
        let limiter = if old.config.rate_limit == config.rate_limit {
            old.limiter.clone()
        } else {
            config.rate_limit.map(RateLimiter::new)
        };
        self.active.store(Arc::new(ActiveConfig { config, limiter }));
        if users_changed {
            self.authenticator.forget();
        }
        Ok(())
    }
}

/// TLS of a new connection.
pub(super) enum Tls {
    /// Plain HTTP.
    Off,
    On {
        config: Arc<ServerConfig>,
        /// True if the certificates of clients are verified.
        verifies_clients: bool,
    },
    /// The file allows nothing that rustls has: every connection is closed.
    Unusable,
}

/// The address for which password checks count.
fn address_of(client: &Client) -> IpAddr {
    match client {
        Client::Ip(address) | Client::Behind(address) => *address,
        // Links have no web configuration.
        Client::Link(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

pub(super) fn retry_after(status: StatusCode, text: &str, seconds: u64) -> Response<Body> {
    let mut response = reply::text(status, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
