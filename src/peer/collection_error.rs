//! The error of a failed collection of metrics. The full error is logged and emitted as an event; the peer receives the number of the
//! scrape only.

use std::fmt;
use std::sync::Arc;

use super::ScrapeId;

/// The error of a collection, passed in the extensions of the response.
#[derive(Debug, Clone)]
pub(super) struct CollectionError(Arc<str>);

impl CollectionError {
    pub(super) fn new(error: &impl fmt::Display) -> Self {
        // The alternate form includes the causes of an `anyhow::Error`.
        Self(format!("{error:#}").into())
    }
}

impl fmt::Display for CollectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the error text for the peer, the same as of the JavaScript client.
pub(super) fn failure_text(scrape: ScrapeId) -> String {
    format!("Failed to obtain metrics (uid {scrape})")
}
