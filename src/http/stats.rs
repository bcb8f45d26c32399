//! Counters of HTTP and state common to all HTTP services.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{Client, PeerAddr, StalledResponses};
use crate::telemetry::{Counter, Instrument as _, PREFIX, PerLabel, Throttle, header, sample};

/// Counters of all services that share it.
#[derive(Debug, Default)]
pub struct HttpStats {
    /// Requests with a complete head.
    pub requests: AtomicU64,
    /// Handlers that panicked; their clients got 500.
    pub panics: AtomicU64,
    /// Writes refused because a browser sent them from another site.
    pub cross_site: AtomicU64,
    /// Connections closed because a request's head took too long.
    pub slow_heads: AtomicU64,
    /// Request bodies given up because they stalled.
    pub stalled_bodies: AtomicU64,
    /// Connections closed because the client took nothing of a response for too long.
    pub stalled_readers: AtomicU64,
    /// Connections closed because stalled responses kept too much memory.
    pub stalled_closed: AtomicU64,
    /// Connections closed to make room for another: idle ones, and those of an address with too many incomplete requests.
    pub evicted: AtomicU64,
    /// Requests refused with 401: without credentials that would help, or with wrong ones.
    pub unauthorized: AtomicU64,
    /// Requests refused because their senders lack a role.
    pub(super) access_refused: AccessRefusals,
    /// Requests refused with 429 because of `rate_limit`.
    pub rate_limited: AtomicU64,
    /// Requests refused with 429 or 503 because too many passwords wait for their check.
    pub password_checks_refused: AtomicU64,
    /// Connections that ended before their TLS handshake did.
    pub tls_failures: AtomicU64,
    /// True if the last read of the web configuration file failed.
    pub web_config_failed: AtomicBool,
    /// The responses that have stalled.
    pub stalled_responses: Arc<StalledResponses>,
    /// Limits the log lines that clients can cause.
    pub(super) throttle: Throttle,
    /// Untrusted reverse proxies that a warning has named. Bounded by [`MAX_NAMED_PROXIES`].
    pub(super) named_proxies: Mutex<BTreeSet<IpAddr>>,
}

/// Limit on the warnings about untrusted reverse proxies: a site has a few of them, and any client can look like one.
const MAX_NAMED_PROXIES: usize = 16;

/// Counters of refused requests by identity and role. Identities come from the configuration, and from the users of the web configuration
/// file.
#[derive(Debug)]
pub(super) struct AccessRefusals(PerLabel<Counter, 2>);

impl Default for AccessRefusals {
    fn default() -> Self {
        Self(PerLabel::new(["identity", "role"]))
    }
}

impl AccessRefusals {
    pub(super) fn count(&self, identity: &str, role: &str) {
        self.0.with([identity, role]).inc();
    }

    fn write(&self, out: &mut String) {
        let name = format!("{PREFIX}http_access_refused_total");
        let help = "Requests refused with 401 or 403 because their sender lacks the role, by identity and role.";
        let mut samples = String::new();
        self.0.write(&mut samples, &name, "");
        if !samples.is_empty() {
            header(out, &name, "counter", help);
            out.push_str(&samples);
        }
    }
}

impl HttpStats {
    /// Logs a failed TLS handshake, rate-limited for each client.
    pub(super) fn log_tls_failure(&self, peer: &PeerAddr, why: impl Display) {
        let subject = format!("tls {}", peer.log_subject());
        if let Some(suppressed) = self.throttle.admit(&subject, Instant::now()) {
            let suppressed = (suppressed > 0).then_some(suppressed);
            tracing::info!(%peer, suppressed, "TLS handshake failed: {why}");
        }
    }

    /// Appends the families about TLS and authentication.
    pub fn write_web(&self, out: &mut String) {
        self.access_refused.write(out);
        let mut family = |name: &str, metric_type: &str, help: &str, value: u64| {
            let name = format!("{PREFIX}{name}");
            header(out, &name, metric_type, help);
            sample(out, &name, "", value);
        };
        let counters = [
            (
                "http_unauthorized_total",
                "Requests refused with 401: without credentials, or with wrong ones.",
                &self.unauthorized,
            ),
            (
                "http_rate_limited_total",
                "Requests refused with 429 because of rate_limit in the web configuration file.",
                &self.rate_limited,
            ),
            (
                "http_password_checks_refused_total",
                "Requests refused with 429 or 503 because too many passwords waited for their check.",
                &self.password_checks_refused,
            ),
            (
                "http_tls_failures_total",
                "Connections that ended before their TLS handshake did.",
                &self.tls_failures,
            ),
        ];
        for (name, help, value) in counters {
            family(name, "counter", help, value.load(Ordering::Relaxed));
        }
        family(
            "web_config_last_reload_successful",
            "gauge",
            "0 if the last read of the web configuration file failed, so that the previous one is in force.",
            u64::from(!self.web_config_failed.load(Ordering::Relaxed)),
        );
    }

    /// Warns once for each address that forwards a write for an unknown client.
    pub(super) fn warn_untrusted_proxy(&self, address: IpAddr) {
        let mut named = self.named_proxies.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() < MAX_NAMED_PROXIES && named.insert(address) {
            tracing::warn!(
                proxy = %address,
                "a forwarded request that writes does not name its client, which then counts as foreign for http.write_from and \
                 events.post_from: if this address is a reverse proxy, add it to http.trusted_proxies and let it set X-Forwarded-For"
            );
        }
    }

    /// Logs a refused request (403), rate-limited for each client.
    pub fn log_refused(&self, client: &Client, request: impl Display) {
        if let Some(suppressed) = self.throttle.admit(&format!("refused {client}"), Instant::now()) {
            let suppressed = (suppressed > 0).then_some(suppressed);
            tracing::warn!(%client, suppressed, "refused {request}");
        }
    }
}

pub(super) fn count(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}
