//! A token bucket for the requests of all clients together.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::http::web_config::RateLimit;

/// A token bucket. Cloning clones a handle.
#[derive(Clone)]
pub(super) struct RateLimiter {
    limit: RateLimit,
    bucket: Arc<Mutex<Bucket>>,
}

struct Bucket {
    tokens: f64,
    /// The time up to which tokens were added.
    filled: Option<Instant>,
}

impl RateLimiter {
    /// A full bucket.
    pub(super) fn new(limit: RateLimit) -> Self {
        let tokens = f64::from(limit.burst);
        let bucket = Bucket { tokens, filled: None };
        Self {
            limit,
            bucket: Arc::new(Mutex::new(bucket)),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    ///
    /// The seconds until there is one, at least 1, if the bucket is empty.
    pub(super) fn admit(&self, now: Instant) -> Result<(), u64> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = self.limit.interval.as_secs_f64();
        let since = bucket
            .filled
            .map_or(0.0, |filled| now.saturating_duration_since(filled).as_secs_f64());
        bucket.tokens = (bucket.tokens + since / interval).min(f64::from(self.limit.burst));
        bucket.filled = Some(now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(self.limit.interval.as_secs().max(1))
    }
}

#[cfg(test)]
mod tests;
