//! Metrics, from a client to a bridge that requests them.

use bytes::Bytes;

use super::{Reader, WireFault, Writer};

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

/// Response of a client to a request for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsReply {
    /// The metrics in the text format 0.0.4.
    Metrics(Bytes),
    /// The scrape failed, with the reason.
    Failed(String),
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
            Self::Metrics(from.bytes(super::MAX_MESSAGE_BYTES, "metrics")?)
        } else {
            Self::Failed(from.text("a failure")?)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_the_originals() {
        for (reply, bytes) in [
            (MetricsReply::Metrics(Bytes::from_static(b"a 1\n")), &b"\x00\x01\x04a 1\n"[..]),
            (MetricsReply::Metrics(Bytes::new()), b"\x00\x01\x00"),
            (MetricsReply::Failed("uid".to_owned()), b"\x00\x00\x03uid"),
        ] {
            assert_eq!(reply.encode(), bytes);
            assert_eq!(MetricsReply::decode(Bytes::copy_from_slice(bytes)).unwrap(), reply);
        }
        assert_eq!(
            MetricsReply::decode(Bytes::from_static(b"\x00\x01\x05abc")),
            Err(WireFault::Short("metrics"))
        );
    }

    proptest! {
        #[test]
        fn messages_read_back(text: Vec<u8>, why in "\\PC{0,60}") {
            for reply in [MetricsReply::Metrics(text.into()), MetricsReply::Failed(why)] {
                prop_assert_eq!(MetricsReply::decode(reply.encode().into())?, reply);
            }
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = MetricsReply::decode(bytes.into());
        }
    }
}
