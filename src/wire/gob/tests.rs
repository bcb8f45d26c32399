#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::{Gob, GobError};

/// Appends a number.
pub(in crate::wire) fn put_number(out: &mut Vec<u8>, number: u64) {
    if let Some(byte) = u8::try_from(number).ok().filter(|byte| *byte < 128) {
        out.push(byte);
        return;
    }
    let bytes = number.to_be_bytes();
    let skipped = bytes.iter().take_while(|byte| **byte == 0).count();
    out.push(u8::try_from(8 - skipped).unwrap().wrapping_neg());
    out.extend_from_slice(&bytes[skipped..]);
}

/// Appends bytes with their length.
pub(in crate::wire) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A stream with a definition of a type and this value.
pub(in crate::wire) fn stream(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // Type -65 and some bytes; then type 65, the start of its only field, and the value.
    put_bytes(&mut out, &[0xff, 0x81, 1, 2, 3]);
    put_bytes(&mut out, &[&[0xff, 0x82, 0][..], value].concat());
    out
}

#[test]
fn the_examples_of_the_documentation_are_read() {
    for (bytes, number) in [(&[0][..], 0), (&[7], 7), (&[0xfe, 1, 0], 256), (&[0xff, 0x80], 128)] {
        assert_eq!(Gob(bytes).number(), Ok(number));
    }
    for (bytes, number) in [(&[0][..], 0), (&[4], 2), (&[1], -1), (&[0xff, 0x81], -65), (&[0xfe, 2, 1], -257)] {
        assert_eq!(Gob(bytes).signed(), Ok(number));
    }
}

#[test]
fn definitions_are_skipped() {
    let stream = stream(&[3, b'a', b'b', b'c']);
    assert_eq!(Gob::value_of(&stream).unwrap().text(), Ok("abc"));
    for end in 0..stream.len() {
        let value = Gob::value_of(&stream[..end]).and_then(|mut value| value.text().map(str::len));
        assert_eq!(value, Err(GobError::Truncated), "{end}");
    }
}

#[test]
fn fields_are_counted_from_the_one_before() {
    let mut gob = Gob(&[1, 2, 0]);
    let first = gob.field(None).unwrap();
    assert_eq!(first, Some(0));
    let second = gob.field(first).unwrap();
    assert_eq!((second, gob.field(second)), (Some(2), Ok(None)));
    assert!(Gob(&[0xf8, 255, 255, 255, 255, 255, 255, 255, 255]).field(Some(1)).is_err());
    assert_eq!(Gob(&[0xf7, 1]).number(), Err(GobError::LongNumber));
}

proptest! {
    #[test]
    fn numbers_and_bytes_are_read_as_they_were_written(number: u64, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut out = Vec::new();
        put_number(&mut out, number);
        put_bytes(&mut out, &bytes);
        let mut gob = Gob(&out);
        prop_assert_eq!((gob.number(), gob.bytes(), gob.is_empty()), (Ok(number), Ok(&*bytes), true));
    }
}
