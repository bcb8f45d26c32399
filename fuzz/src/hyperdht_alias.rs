//! Registrations over HyperDHT, and the answers to them.

use bytes::Bytes;
use exporter_proxy::wire::hyperdht::{AliasReply, AliasRequest};

/// What was read writes and reads as the same.
pub fn check(input: &[u8]) {
    let input = Bytes::copy_from_slice(input);
    if let Ok(request) = AliasRequest::decode(input.clone()) {
        assert_eq!(AliasRequest::decode(request.encode().into()), Ok(request));
    }
    if let Ok(reply) = AliasReply::decode(input) {
        assert_eq!(AliasReply::decode(reply.encode().into()), Ok(reply));
    }
}
