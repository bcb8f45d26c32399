//! Apps as replicas exchange them over an engine, which may hold any bytes.

use exporter_proxy::store::ReplicatedApp;

/// Checks that any bytes are read or refused, and that what was read is written in one form.
pub fn check(input: &[u8]) {
    if let Some(app) = ReplicatedApp::decode(input) {
        let written = app.encode();
        let again = ReplicatedApp::decode(&written).map(|app| app.encode());
        assert_eq!(again, Some(written));
    }
}
