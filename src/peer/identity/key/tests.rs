#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn both_spellings_read_back(bytes: [u8; 32]) {
        let key = PublicKey::new(bytes);
        prop_assert_eq!(key.to_string().parse(), Ok(key));
        prop_assert_eq!(format!(" {}\n", write_hex(&bytes)).parse(), Ok(key));
        prop_assert_eq!(write_hex(&bytes).to_uppercase().parse(), Ok(key));
    }

    #[test]
    fn no_text_panics(text in "\\PC*|[0-9a-f]{62,66}|\\PC{16,64}") {
        let _ = text.parse::<PublicKey>();
    }
}

#[test]
fn a_secret_is_never_shown() {
    let secret: SharedSecret = "11".repeat(32).parse().unwrap();
    assert_eq!(format!("{secret:?}"), "MASKED");
    assert!(secret.is(&[0x11; 32]) && !secret.is(&[0x12; 32]) && !SharedSecret::new([0; 32]).is(&[1; 32]));
    assert_eq!("+1".repeat(32).parse::<SharedSecret>(), Err(InvalidKey));
}
