//! Content negotiation: the headers `Accept` and `Accept-Encoding`.

use exporter_proxy::exposition::negotiate::{ContentEncoding, Format, content_encoding, format};
use exporter_proxy::exposition::protobuf;
use exporter_proxy::model::Syntax;

/// Checks both headers, one value per input line: the response's Content-Type names the chosen format, upper case and the order of lines
/// do not matter for the format, and no format or encoding is chosen that the request does not mention.
pub fn check(input: &[u8]) {
    let lines: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
    let chosen = format(lines.iter().copied());
    if matches!(chosen, Format::Protobuf(_)) {
        assert_eq!(protobuf::is_content_type(chosen.content_type()), Ok(true));
    } else if matches!(chosen, Format::OpenMetrics200(_)) {
        // Its names are those of the text format.
        assert_eq!(Syntax::from_content_type(chosen.content_type()), Some(Syntax::OpenMetrics));
    } else {
        assert_eq!(Syntax::from_content_type(chosen.content_type()), Some(chosen.syntax()));
    }
    assert_eq!(format(lines.iter().rev().copied()), chosen);
    let upper: Vec<_> = lines.iter().map(|line| line.to_ascii_uppercase()).collect();
    assert_eq!(format(upper.iter().map(Vec::as_slice)), chosen);
    let mentions = |word: &[u8]| input.to_ascii_lowercase().windows(word.len()).any(|part| part == word);
    match chosen {
        Format::Text004 => {}
        Format::Text100(_) => assert!(mentions(b"text/plain") && mentions(b"1.0.0")),
        Format::OpenMetrics100(_) => assert!(mentions(b"application/openmetrics-text")),
        Format::OpenMetrics200(_) => assert!(mentions(b"application/openmetrics-text") && mentions(b"2.0.0")),
        Format::Protobuf(_) => assert!(mentions(b"application/vnd.google.protobuf") && mentions(b"delimited")),
    }
    let encoding = content_encoding(lines.iter().copied());
    assert_eq!(content_encoding(upper.iter().map(Vec::as_slice)), encoding);
    if encoding == ContentEncoding::Gzip {
        assert!(mentions(b"gzip") || mentions(b"*"));
    }
}
