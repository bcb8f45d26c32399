#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;

#[test]
fn the_pairs_of_the_draft_agree_in_both_directions() {
    // draft-msporny-base58
    let pairs: [(&[u8], &str); 3] = [
        (b"", ""),
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
        (&[0, 0, 0x28, 0x7f, 0xb4, 0xcd], "11233QC4"),
    ];
    for (bytes, text) in pairs {
        assert_eq!(encode(bytes), text);
        assert_eq!(decode(text).unwrap(), bytes);
    }
}

#[test]
fn other_characters_and_long_texts_are_refused() {
    for text in ["0", "O", "I", "l", "\u{e9}", "a b"] {
        assert_eq!(decode(text), None, "{text}");
    }
    assert_eq!(decode(&"1".repeat(65)), None);
    assert_eq!(decode(&"z".repeat(100_000)), None);
    assert_eq!(decode(&"1".repeat(64)), Some(vec![0; 64]));
}

proptest! {
    #[test]
    fn decoding_reverses_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..=64)) {
        prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
    }
}
