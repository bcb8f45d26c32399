//! A web configuration in force on an HTTP port: encrypts its connections, and checks its requests before any route sees them.

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
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use rustls::ServerConfig;

use self::authenticator::{Authenticator, Credentials, Verdict};
use self::rate_limiter::RateLimiter;
use super::stats::{HttpStats, count};
use super::web_config::{CheckedWebConfig, WebConfig, WebConfigFaults, read_web_config};
use super::{Client, reply};
use crate::supervise::{Notes, blocking};

pub use reload::WebConfigReload;

/// Demands of a port on its clients.
pub struct WebPolicy {
    file: PathBuf,
    /// Paths that need no user and count for no limit: those of health checks.
    open_paths: &'static [&'static str],
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
    pub async fn open(
        file: PathBuf,
        open_paths: &'static [&'static str],
        stats: Arc<HttpStats>,
        notes: Arc<Notes>,
    ) -> Result<(Arc<Self>, WebConfigReload), WebConfigFaults> {
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
            open_paths,
            active: ArcSwap::from_pointee(active),
            authenticator: Authenticator::new(),
            stats,
        });
        let reload = WebConfigReload::new(policy.clone(), reading.files, notes).await;
        Ok((policy, reload))
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
            Some(tls) => tls.config.clone().map_or(Tls::Unusable, Tls::On),
        }
    }

    /// Lets a request pass, or returns the response in its place.
    pub(super) async fn refusal(&self, request: &RequestHead, client: &Client) -> Option<Response<Body>> {
        if self.open_paths.contains(&request.path.as_str()) {
            return None;
        }
        let active = self.active.load_full();
        if let Some(limiter) = &active.limiter
            && let Err(wait) = limiter.admit(Instant::now())
        {
            count(&self.stats.rate_limited);
            let text = "too many requests (rate_limit of the web configuration file)";
            return Some(retry_after(StatusCode::TOO_MANY_REQUESTS, text, wait));
        }
        if active.config.users.is_empty() {
            return None;
        }
        let Some(credentials) = request.authorization.as_ref().and_then(Credentials::from_header) else {
            count(&self.stats.unauthorized);
            return Some(unauthorized("this server needs a user and a password"));
        };
        let verdict = self
            .authenticator
            .check(&active.config.users, credentials, address_of(client))
            .await;
        match verdict {
            Verdict::Granted => None,
            Verdict::Denied => {
                count(&self.stats.unauthorized);
                self.stats
                    .log_refused(client, format_args!("{}: wrong user or password", request.path));
                Some(unauthorized("wrong user or password"))
            }
            Verdict::TooMany(status) => {
                count(&self.stats.password_checks_refused);
                self.stats
                    .log_refused(client, format_args!("{}: too many passwords wait for their check", request.path));
                Some(retry_after(status, "too many passwords wait for their check", 1))
            }
        }
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
    On(Arc<ServerConfig>),
    /// The file allows nothing that rustls has: every connection is closed.
    Unusable,
}

/// The parts of a request that are checked.
pub(super) struct RequestHead {
    path: String,
    authorization: Option<HeaderValue>,
}

impl RequestHead {
    pub(super) fn of(request: &Request<Body>) -> Self {
        Self {
            path: request.uri().path().to_owned(),
            authorization: request.headers().get(AUTHORIZATION).cloned(),
        }
    }
}

/// The address for which password checks count.
fn address_of(client: &Client) -> IpAddr {
    match client {
        Client::Ip(address) | Client::Behind(address) => *address,
        // Links have no web configuration.
        Client::Link(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

fn unauthorized(text: &str) -> Response<Body> {
    let mut response = reply::text(StatusCode::UNAUTHORIZED, text);
    let challenge = HeaderValue::from_static("Basic realm=\"exporter-proxy\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn retry_after(status: StatusCode, text: &str, seconds: u64) -> Response<Body> {
    let mut response = reply::text(status, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
