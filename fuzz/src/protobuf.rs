//! The decoder of protobuf bodies: no panic, text within its limit that parses, the index that parsing makes, and records that decode to
//! themselves.

use bytes::Bytes;
use exporter_proxy::exposition::{Exposition, protobuf};
use exporter_proxy::model::Syntax;

/// The limit of the text: some inputs reach it.
const MAX_TEXT: usize = 64 * 1024;

/// Decodes any bytes.
pub fn check(input: &[u8]) {
    let Ok(decoded) = protobuf::decode(input, MAX_TEXT) else { return };
    assert!(decoded.text.len() <= MAX_TEXT + "# EOF\n".len());
    // With the type and a mark of each family, which has six bytes at least.
    assert!(decoded.records.len() <= 2 * input.len(), "records are parts of the body");
    let parsed = Exposition::parse(decoded.text, Syntax::OpenMetrics).with_records(decoded.records);
    let read = Exposition::decode(input, MAX_TEXT).expect("the same body");
    assert_eq!((read.faults().total(), read.series()), (parsed.faults().total(), parsed.series()));
    assert!(
        !parsed.faults().is_empty() || parsed.faults().exemplars() > 0 || read == parsed,
        "the index is that of the text"
    );
    let records = parsed.record_bytes();
    if !records.is_empty() {
        let again = protobuf::decode(&records, usize::MAX).expect("records are a body of their own");
        assert!(!again.text.is_empty());
        assert_eq!(parsed.clone().with_records(records.clone()).record_bytes(), records);
    }
    assert_eq!(parsed.with_records(Bytes::new()).native_only(), 0);
}
