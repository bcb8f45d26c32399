//! Registrations over HyperDHT and their responses.

use bytes::Bytes;
use exporter_proxy::wire::hyperdht::{AliasReply, AliasRequest};

/// Checks that decoded messages encode and decode to the same.
pub fn check(input: &[u8]) {
    let input = Bytes::copy_from_slice(input);
    if let Ok(request) = AliasRequest::decode(input.clone()) {
        assert_eq!(AliasRequest::decode(request.encode().into()), Ok(request));
    }
    if let Ok(reply) = AliasReply::decode(input) {
        assert_eq!(AliasReply::decode(reply.encode().into()), Ok(reply));
    }
}
