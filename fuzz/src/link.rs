//! The control messages of links.

use exporter_proxy::wire::{LinkMessage, MAX_LINK_MESSAGE_BYTES};

/// Checks that the size limit holds, that further bytes do not change a message, and that messages encode and decode to the same.
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
