//! Updates of exposition text, which are compared with the text before where that is enough.

use bytes::Bytes;
use exporter_proxy::exposition::Exposition;
use exporter_proxy::model::Syntax;

/// Checks that a text parsed as an update of another one is what it is alone. The input is both, with a NUL between them; the first one is
/// also updated with other digits at the ends of its lines, since most updates look like that.
pub fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (before, after) = (&input[..end], input.get(end + 1..));
    for syntax in [Syntax::Text, Syntax::OpenMetrics] {
        let parsed = Exposition::parse(Bytes::copy_from_slice(before), syntax);
        for added in [1, 9] {
            compare(&parsed, with_other_digits(before, added), syntax);
        }
        if let Some(after) = after {
            compare(&parsed, after.to_vec(), syntax);
        }
    }
}

fn compare(before: &Exposition, text: Vec<u8>, syntax: Syntax) {
    let text = Bytes::from(text);
    let update = Exposition::parse_update(text.clone(), syntax, before);
    let alone = Exposition::parse(text, syntax);
    assert_eq!(format!("{update:?}"), format!("{alone:?}"));
}

/// The text with another digit wherever one stands at the end of a line.
fn with_other_digits(text: &[u8], added: u8) -> Vec<u8> {
    let mut text = text.to_vec();
    for at in 0..text.len() {
        let is_last = text.get(at + 1).is_none_or(|byte| *byte == b'\n');
        if is_last && text[at].is_ascii_digit() {
            text[at] = b'0' + (text[at] - b'0' + added) % 10;
        }
    }
    text
}
