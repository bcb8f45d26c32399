#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::super::message_length;
use super::*;

const CID: &[u8] = &[1, 0x55, 0, 1, b'x'];

fn entry(fields: &[(u64, u64)]) -> Vec<u8> {
    let mut entry = Vec::new();
    push_bytes(&mut entry, 1, CID);
    fields.iter().for_each(|(number, value)| push_number(&mut entry, *number, *value));
    entry
}

/// A message with one wantlist.
fn wantlist(entries: &[Vec<u8>], full: bool) -> Vec<u8> {
    let (mut list, mut message) = (Vec::new(), Vec::new());
    entries.iter().for_each(|entry| push_bytes(&mut list, 1, entry));
    push_number(&mut list, 2, u64::from(full));
    push_bytes(&mut message, 1, &list);
    message
}

#[test]
fn wants_are_decoded_and_counted_by_type() {
    let message = wantlist(
        &[
            entry(&[(2, 2_147_483_647)]),
            entry(&[(4, 1), (5, 1)]),
            entry(&[(3, 1)]),
            entry(&[(5, 1), (2, u64::MAX)]),
            entry(&[(4, 2)]),
        ],
        true,
    );
    let read = Message::read(&message).unwrap();
    assert!(read.full);
    let shown: Vec<_> = read
        .wants
        .iter()
        .map(|want| (want.priority, want.cancel, want.want_type, want.send_dont_have))
        .collect();
    assert_eq!(
        shown,
        [
            (i32::MAX, false, WantType::Block, false),
            (0, false, WantType::Have, true),
            (0, true, WantType::Block, false),
            (-1, false, WantType::Block, true),
        ]
    );
    assert!(read.wants.iter().all(|want| want.cid.as_bytes() == CID));
    assert_eq!(
        read.counts,
        Counts {
            want_block: [1, 1],
            want_have: [0, 1],
            cancel: 1,
            unknown: 1,
            ..Counts::default()
        }
    );
    assert_eq!((read.counts.wants(), read.unlisted()), (4, 0));
}

#[test]
fn blocks_of_all_versions_have_cids() {
    let (mut payload, mut message) = (Vec::new(), Vec::new());
    push_bytes(&mut payload, 1, &[1, 0x55, 0, 2]);
    push_bytes(&mut payload, 2, b"hi");
    push_bytes(&mut message, 2, b"\x0a\x02\x08\x01");
    push_bytes(&mut message, 3, &payload);
    let read = Message::read(&message).unwrap();
    assert_eq!(read.counts.blocks, 2);
    assert_eq!(
        Cid::read(&read.blocks[0].cid().unwrap()).unwrap().to_string(),
        "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
    );
    assert_eq!(read.blocks[1].cid().unwrap(), [1, 0x55, 0, 2, b'h', b'i']);
}

#[test]
fn unknown_fields_are_ignored_and_broken_ones_refused() {
    let mut message = wantlist(&[entry(&[(9, 1)])], false);
    push_number(&mut message, 5, 4096);
    push_bytes(&mut message, 900, b"later");
    assert_eq!(Message::read(&message).unwrap().wants.len(), 1);
    assert_eq!(Message::read(&wantlist(&[vec![]], false)), Err(MessageError::Cid(CidError::Empty)));
    assert_eq!(
        Message::read(&message[..message.len() - 1]),
        Err(MessageError::Protobuf(ProtobufError::Truncated))
    );
    let mut other_type = Vec::new();
    push_number(&mut other_type, 1, 1);
    assert_eq!(Message::read(&other_type), Err(MessageError::Protobuf(ProtobufError::FieldType(1))));
}

#[test]
fn more_wants_than_the_limit_are_counted_and_not_kept() {
    let entries = vec![entry(&[]); MAX_LISTED + 7];
    let message = wantlist(&entries, true);
    let read = Message::read(&message).unwrap();
    assert_eq!((read.wants.len(), read.unlisted()), (MAX_LISTED, 7));
    assert_eq!(read.counts.want_block[0], entries.len() as u64);
}

#[test]
fn an_answer_says_for_each_block_that_it_is_missing() {
    let answer = dont_have([CID, CID]);
    let (varint, length) = message_length(&answer).unwrap().unwrap();
    assert_eq!(varint + length, answer.len());
    let read = Message::read(&answer[varint..]).unwrap();
    assert_eq!(read.counts.dont_have, 2);
    assert!(
        read.presences
            .iter()
            .all(|presence| !presence.have && presence.cid.as_bytes() == CID)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_within_the_limits(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(read) = Message::read(&bytes) {
            prop_assert!(read.wants.len() as u64 <= read.counts.wants());
            prop_assert_eq!(read.unlisted(), 0);
        }
    }

    #[test]
    fn a_message_survives_the_loss_of_any_byte_without_a_panic(cut in 0_usize..40, flip: u8) {
        let mut message = wantlist(&[entry(&[(4, 1), (5, 1)]), entry(&[(3, 1)])], true);
        if let Some(byte) = message.get_mut(cut) {
            *byte ^= flip;
        }
        if let Ok(read) = Message::read(&message) {
            prop_assert!(read.wants.len() <= 2);
        }
    }
}
