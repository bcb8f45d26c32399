#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

fn message() -> impl Strategy<Value = LinkMessage> {
    prop_oneof![
        ("\\PC{0,40}", "\\PC{0,40}", "\\PC{0,40}", prop::collection::vec(any::<u8>(), 0..64)).prop_map(
            |(alias, service, hostname, proof)| LinkMessage::Register(Register {
                alias,
                service,
                hostname,
                proof
            })
        ),
        any::<bool>().prop_map(|updated| LinkMessage::Registered { updated }),
        "\\PC{0,200}".prop_map(LinkMessage::Refused),
        any::<u64>().prop_map(LinkMessage::Delivered),
        "\\PC{0,200}".prop_map(LinkMessage::Goodbye),
        ("\\PC{0,40}", "\\PC{0,40}", "\\PC{0,40}", "\\PC{0,40}").prop_map(|(alias, address, other_alias, other_address)| {
            LinkMessage::SharedKey(SharedKey {
                alias,
                address,
                other_alias,
                other_address,
            })
        }),
        ("\\PC{0,40}", any::<[u8; 32]>(), "\\PC{0,40}").prop_map(|(alias, key, address)| LinkMessage::AliasLost(AliasLost {
            alias,
            key,
            address
        })),
        "\\PC{0,200}".prop_map(LinkMessage::AliasReturned),
    ]
}

#[test]
fn what_is_too_large_is_told_from_its_header_alone() {
    let huge = [[0_u8; 4], 0x00ff_ffff_u32.to_le_bytes()].concat();
    assert!(matches!(LinkMessage::decode(&huge), Err(LinkFault::TooLarge)));
    let many = 4_000_u32.to_le_bytes();
    assert!(matches!(LinkMessage::decode(&many), Err(LinkFault::Malformed(_))));
    assert!(matches!(LinkMessage::decode(&[0xff; 8]), Err(LinkFault::Malformed(_))));
    // Two far pointers that point at each other.
    assert!(LinkMessage::decode(&[[0_u8; 4], 1_u32.to_le_bytes(), [2, 0, 0, 0], [0, 0, 0, 0]].concat()).is_err());
}

#[test]
fn a_message_of_a_later_version_is_known_as_one() {
    // The union tag is the last two bytes of the data word, after the root pointer.
    let mut bytes = LinkMessage::AliasReturned("a".to_owned()).encode();
    let at = bytes.windows(2).position(|pair| pair == 7_u16.to_le_bytes()).unwrap();
    bytes[at] = 99;
    assert_eq!(LinkMessage::decode(&bytes).unwrap(), Some((None, bytes.len())));
}

proptest! {
    #[test]
    fn messages_read_back_in_any_split(messages in prop::collection::vec(message(), 1..5), extra in 0_usize..7) {
        let bytes: Vec<u8> = messages.iter().flat_map(LinkMessage::encode).collect();
        let (mut at, mut read) = (0, Vec::new());
        for end in (0..=bytes.len()).step_by(extra + 1).chain([bytes.len()]) {
            while let Some((message, length)) = LinkMessage::decode(&bytes[at..end.max(at)]).unwrap() {
                read.extend(message);
                at += length;
            }
        }
        prop_assert_eq!(read, messages);
        prop_assert_eq!(at, bytes.len());
    }

    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), words in 0_u8..24) {
        let _ = LinkMessage::decode(&bytes);
        if bytes.len() >= 8 {
            bytes[..8].copy_from_slice(&[0, 0, 0, 0, words, 0, 0, 0]);
            let _ = LinkMessage::decode(&bytes);
        }
    }

    #[test]
    fn a_flipped_bit_does_no_harm(message in message(), at: prop::sample::Index, bit in 0_u8..8) {
        let mut bytes = message.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = LinkMessage::decode(&bytes);
    }
}
