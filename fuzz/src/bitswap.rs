//! Bitswap messages: lengths, protobuf, CIDs, and the events made of them.

use exporter_proxy::wire::bitswap::{Cid, MAX_LISTED, Message, dont_have, message_length};

/// Checks that a message is decoded within its limits, that its CIDs have texts, and that an answer to its wants is a message again.
pub fn check(input: &[u8]) {
    let _ = message_length(input);
    if let Ok(cid) = Cid::read(input) {
        assert_eq!(cid.as_bytes(), input);
        assert!(!cid.to_string().is_empty());
    }
    let Ok(message) = Message::read(input) else { return };
    assert!(message.wants.len() <= MAX_LISTED && message.blocks.len() <= MAX_LISTED && message.presences.len() <= MAX_LISTED);
    // Each part takes at least two bytes.
    let counts = &message.counts;
    let parts = counts.wants() + counts.unknown + counts.blocks + counts.have + counts.dont_have;
    assert!(parts * 2 <= input.len() as u64);
    for block in &message.blocks {
        if let Some(cid) = block.cid() {
            assert!(Cid::read(&cid).is_ok());
        }
    }
    let answer = dont_have(message.wants.iter().map(|want| want.cid.as_bytes()));
    if let Ok(Some((varint, length))) = message_length(&answer) {
        assert_eq!(varint + length, answer.len());
        let again = Message::read(&answer[varint..]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(again.counts.dont_have, message.wants.len() as u64);
    }
}
