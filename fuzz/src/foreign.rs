//! Recognition of formats other than exposition text.

use bytes::Bytes;
use exporter_proxy::exposition::Exposition;
use exporter_proxy::model::Syntax;
use exporter_proxy::wire::ForeignFormat;

/// Checks that a recognized format is never a valid text, and that the first bytes are enough for formats with a signature.
pub fn check(input: &[u8]) {
    let Some(foreign) = ForeignFormat::of(input) else { return };
    for syntax in [Syntax::Text, Syntax::OpenMetrics] {
        let it = Exposition::parse(Bytes::copy_from_slice(input), syntax);
        assert!(it.series() == 0 || !it.faults().is_empty(), "{foreign} is a good text: {input:?}");
    }
    if matches!(
        foreign,
        ForeignFormat::Gzip | ForeignFormat::Zstd | ForeignFormat::Utf16 | ForeignFormat::Multipart
    ) {
        assert_eq!(ForeignFormat::of(&input[..input.len().min(4)]), Some(foreign));
    }
}
