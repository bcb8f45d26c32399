//! Claims on aliases as bridges exchange them over an engine, which may hold any bytes.

use exporter_proxy::bridge::SharedClaim;

/// Checks that any bytes are read or refused, and that what was read comes back from what is written.
pub fn check(input: &[u8]) {
    if let Some(claim) = SharedClaim::decode(input) {
        assert_eq!(SharedClaim::decode(&claim.encode()), Some(claim));
    }
}
