#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

#[test]
fn known_spellings() {
    assert_eq!(encode(&[0; 32]), "y".repeat(52));
    let mut bytes = [0; 32];
    // The published examples: f0bfc7 is 6n9hq, d47a04 is 4t7ye.
    bytes[..3].copy_from_slice(&[0xf0, 0xbf, 0xc7]);
    assert!(encode(&bytes).starts_with("6n9h"));
    bytes[..3].copy_from_slice(&[0xd4, 0x7a, 0x04]);
    assert!(encode(&bytes).starts_with("4t7y"));
    assert_eq!(encode(&[255; 32]), format!("{}o", "9".repeat(51)));
}

#[test]
fn what_is_no_key_is_refused() {
    for bad in [
        "",
        &"y".repeat(51),
        &"y".repeat(53),
        &"l".repeat(52),
        &"9".repeat(52),
        &"ä".repeat(26),
    ] {
        assert_eq!(decode(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(bytes: [u8; 32]) {
        prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        prop_assert_eq!(decode(&encode(&bytes).to_uppercase()), Some(bytes));
    }

    #[test]
    fn no_text_panics_and_no_key_has_two_spellings(text in "[a-z0-9]{52}|\\PC*") {
        if let Some(bytes) = decode(&text) {
            prop_assert_eq!(encode(&bytes), text);
        }
    }
}
