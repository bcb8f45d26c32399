#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn what_is_written_is_read(number: u64, signed: i64, text: String) {
        for (number, signed) in [(number, signed), (u64::MAX, i64::MIN), (0, i64::MAX), (127, -1), (128, 0)] {
            let mut out = Vec::new();
            put_u64(&mut out, number);
            put_i64(&mut out, signed);
            put_text(&mut out, &text);
            let mut decoder = Decoder::new(&out);
            prop_assert_eq!((decoder.u64(), decoder.i64(), decoder.text()), (Some(number), Some(signed), Some(&*text)));
            prop_assert!(decoder.rest().is_empty());
        }
    }
}

#[test]
fn numbers_too_long_are_none() {
    assert_eq!(Decoder::new(&[0xff; 11]).u64(), None);
    assert_eq!(Decoder::new(&[0xff; 9]).u64(), None);
    assert_eq!(Decoder::new(&[5, b'a']).text(), None);
}
