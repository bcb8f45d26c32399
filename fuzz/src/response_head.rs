//! Normalization of response heads.

use exporter_proxy::wire::response_head::{end_of_head, is_interim, normalized};

/// Checks that a normalized head has one header per line, is complete, and is stable.
pub fn check(input: &[u8]) {
    let Some(end) = end_of_head(input) else { return };
    assert!(end <= input.len() && input[..end].ends_with(b"\n"));
    assert_eq!(end_of_head(&input[..end]), Some(end));
    let head = normalized(&input[..end]);
    assert!(head.ends_with(b"\r\n\r\n"), "{}", String::from_utf8_lossy(&head));
    assert_eq!(end_of_head(&head), Some(head.len()));
    assert_eq!(normalized(&head), head);
    assert_eq!(is_interim(&head), is_interim(&input[..end]));
    let lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
    let folded = |line: &&[u8]| line.starts_with(b" ") || line.starts_with(b"\t");
    assert!(
        !lines.iter().skip(2).any(folded),
        "only the first header may begin with a blank, which is refused then"
    );
}
