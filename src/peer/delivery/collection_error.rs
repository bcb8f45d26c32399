//! Errors of the collection of metrics and their texts. The full error is logged and emitted as an event; the peer receives the number of the
//! scrape only.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};

use crate::peer::link_event::ScrapeId;

/// Limit on the bytes kept of an error response.
const MAX_TEXT_BYTES: usize = 4 << 10;

/// The error of a collection, passed in the extensions of the response.
#[derive(Debug, Clone)]
pub(crate) struct CollectionError(Arc<str>);

impl CollectionError {
    pub(crate) fn new(error: &impl fmt::Display) -> Self {
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
pub(crate) fn failure_text(scrape: ScrapeId) -> String {
    format!("Failed to obtain metrics (uid {scrape})")
}

/// Returns the text of an error response, up to a limit.
pub(crate) async fn error_text<B>(body: B) -> String
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, MAX_TEXT_BYTES).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).trim().to_owned(),
        Err(_) => "its error text was too long or truncated".to_owned(),
    }
}
