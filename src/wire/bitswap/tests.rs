#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn lengths_are_read_as_far_as_they_have_come() {
    assert_eq!(message_length(b""), Ok(None));
    assert_eq!(message_length(&[0x80, 0x80]), Ok(None));
    assert_eq!(message_length(&[0]), Ok(Some((1, 0))));
    assert_eq!(message_length(&[0x96, 1, 7, 7]), Ok(Some((2, 150))));
    assert_eq!(message_length(&[0x80, 0x80, 0x80, 2]), Ok(Some((4, MAX_MESSAGE_BYTES))));
}

#[test]
fn lengths_beyond_the_limit_are_refused() {
    assert_eq!(
        message_length(&[0x81, 0x80, 0x80, 2]),
        Err(LengthError::TooLong(MAX_MESSAGE_BYTES + 1))
    );
    assert_eq!(message_length(&[0x80, 0x80, 0x80, 0x80]), Err(LengthError::Endless));
    assert_eq!(message_length(&[0xff; 10]), Err(LengthError::Endless));
}
