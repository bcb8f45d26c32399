//! One-shot events and states of scrapers as replicas exchange them over an engine, which may hold any bytes.

use exporter_proxy::store::inspect_shared;

/// Checks that any bytes are read or refused, and that what was read is written in one form.
pub fn check(input: &[u8]) {
    inspect_shared(input);
}
