//! Encoding of metrics, from a client to a bridge that requests them.

use bytes::Bytes;
use exporter_proxy_hyperdht::MAX_MESSAGE_BYTES;
use exporter_proxy_hyperdht::wire::{Reader, WireFault, Writer};

use super::MetricsReply;

/// Flags at the start of a reply; none is defined yet.
const FLAGS: u64 = 0;

/// The body of a request: its version. Clients accept any body, because the oldest bridges send something else.
#[must_use]
pub const fn metrics_request() -> &'static [u8] {
    &[1, 1]
}

/// Head of a reply with metrics of `bytes` bytes.
#[must_use]
pub fn metrics_head(bytes: usize) -> Vec<u8> {
    let mut to = Writer::default();
    to.uint(FLAGS).flag(true).uint(bytes as u64);
    to.finish()
}

impl MetricsReply {
    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Metrics(text) => [&metrics_head(text.len()), &text[..]].concat(),
            Self::Failed(why) => {
                let mut to = Writer::default();
                to.uint(FLAGS).flag(false).text(why);
                to.finish()
            }
        }
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(bytes: Bytes) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        from.uint("a response")?;
        Ok(if from.flag("a response")? {
            Self::Metrics(from.bytes(MAX_MESSAGE_BYTES, "metrics")?)
        } else {
            Self::Failed(from.text("a failure")?)
        })
    }
}

#[cfg(test)]
mod tests;
