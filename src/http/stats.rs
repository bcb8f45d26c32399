//! Counters of HTTP and state common to all HTTP services.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{Client, StalledResponses};
use crate::telemetry::Throttle;

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
    /// The responses that have stalled.
    pub stalled_responses: Arc<StalledResponses>,
    /// Limits the log lines that clients can cause.
    pub(super) throttle: Throttle,
}

impl HttpStats {
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
