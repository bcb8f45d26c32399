//! Metrics over HyperDHT.

use bytes::Bytes;
use exporter_proxy::wire::hyperdht::MetricsReply;

/// Checks that decoded bytes come from the input, and that messages encode and decode to the same.
pub fn check(input: &[u8]) {
    let Ok(reply) = MetricsReply::decode(Bytes::copy_from_slice(input)) else {
        return;
    };
    if let MetricsReply::Metrics(text) = &reply {
        assert!(input.windows(text.len().max(1)).any(|part| part == text) || text.is_empty());
    }
    assert_eq!(MetricsReply::decode(reply.encode().into()), Ok(reply));
}
