//! The control messages of links.

use exporter_proxy::wire::{LinkMessage, MAX_LINK_MESSAGE_BYTES};

/// Nothing is taken that is larger than allowed, more bytes never change what was read, and what was read writes and reads as the same.
pub fn check(input: &[u8]) {
    let Ok(Some((message, length))) = LinkMessage::decode(input) else {
        return;
    };
    assert!(length <= input.len() && length <= MAX_LINK_MESSAGE_BYTES);
    for end in 0..length {
        assert!(
            !matches!(LinkMessage::decode(&input[..end]), Ok(Some(_))),
            "read from {end} of {length} bytes"
        );
    }
    let Some(message) = message else { return };
    let written = message.encode();
    if written.len() <= MAX_LINK_MESSAGE_BYTES {
        let (again, _) = LinkMessage::decode(&written).expect("what we write is sound").expect("and whole");
        assert_eq!(again, Some(message));
    }
}
