//! A failed collection of metrics: the whole error is for the log and the events of the program that failed, and the other end learns
//! no more than the number under which they have it.

use std::fmt;
use std::sync::Arc;

use super::ScrapeId;

/// The error of a collection. A door leaves it in the extensions of its response.
#[derive(Debug, Clone)]
pub(super) struct CollectionError(Arc<str>);

impl CollectionError {
    pub(super) fn new(error: &impl fmt::Display) -> Self {
        // With all causes, where the error has some to tell.
        Self(format!("{error:#}").into())
    }
}

impl fmt::Display for CollectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the other end is told, in the words of the JavaScript client.
pub(super) fn failure_text(scrape: ScrapeId) -> String {
    format!("Failed to obtain metrics (uid {scrape})")
}
