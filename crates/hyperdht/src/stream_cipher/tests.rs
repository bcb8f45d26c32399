#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::key::tests::bytes;

fn from_hex(text: &str) -> BytesMut {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

/// Messages that libsodium has encrypted with a key of nines.
#[test]
fn messages_of_libsodium_are_understood_and_written_alike() {
    let header = bytes("f908d1216c2b74311ab910a2e2f7333bd96782bde6494c06");
    let sealed = [
        "fff5fb97fc1bd92b5f8cfe6b503f4603dc",
        "0e98362afd3bc6ad0c71704e8e33051a531920afcfaf",
        "ba5bbee2823512542365ebe0743832b5dc052a6b3b8067323b17e363ec6eb58449",
        "3fd2e764a0600dc5b4bc065e7de0fad7f5b9057d9535af7a4fa83eb2598a646d2eecf6fbcc4d9f4bf54e5b5251cbae46ed8535c427fe270f854803b4f603e5e86c05af918d3af4223fac4b7eb97c4c6b36cad2332637f1ff8be38af44b43",
    ];
    let plain: [&[u8]; 4] = [b"", b"hello", &[7; 16], &[8; 77]];
    let mut decryptor = Decryptor::new(&[9; 32], &header);
    let mut encryptor = Encryptor(CipherState::new(&[9; 32], &header));
    for (sealed, plain) in sealed.into_iter().zip(plain) {
        let sealed = from_hex(sealed);
        let mut out = Vec::new();
        encryptor.seal(plain, &mut out);
        assert_eq!(out, sealed);
        assert_eq!(decryptor.open(sealed).unwrap(), plain);
    }
}

/// As libsodium does it after a message with the tag for a new key.
#[test]
fn a_new_key_is_derived_alike() {
    let header = bytes("c0381b046bd354f1bc54d0bfa6466d0a2cf7c0363d77ce9a");
    let mut decryptor = Decryptor::new(&[9; 32], &header);
    let mut encryptor = Encryptor(CipherState::new(&[9; 32], &header));
    for (sealed, plain, tag) in [
        ("352352f3fa55f0b6d6b522723c06d307698e5943fa1d", "rekey", TAG_REKEY),
        ("35f9df711b0a7f1608d6ca0967b1bbf3f238fabe92e1", "after", TAG_MESSAGE),
    ] {
        let mut out = Vec::new();
        encryptor.seal_with_tag(plain.as_bytes(), tag, &mut out);
        assert_eq!(out, from_hex(sealed));
        assert_eq!(decryptor.open(from_hex(sealed)).unwrap(), plain);
    }
}

#[test]
fn the_key_changes_when_the_counter_wraps() {
    let (mut encryptor, header) = Encryptor::new(&[1; 32]).unwrap();
    let mut decryptor = Decryptor::new(&[1; 32], &header);
    for state in [&mut encryptor.0, &mut decryptor.0] {
        state.nonce[..COUNTER_BYTES].fill(0xff);
    }
    let key = encryptor.0.key;
    for message in ["last", "first"] {
        let mut out = Vec::new();
        encryptor.seal(message.as_bytes(), &mut out);
        assert_eq!(decryptor.open(BytesMut::from(&out[..])).unwrap(), message);
        assert_ne!(encryptor.0.key, key);
    }
}

proptest! {
    #[test]
    fn every_message_comes_back_and_no_other_passes(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
        at: prop::sample::Index,
        flip in 1_u8..,
    ) {
        let (mut encryptor, header) = Encryptor::new(&[1; 32]).unwrap();
        let mut decryptor = Decryptor::new(&[1; 32], &header);
        let mut last = BytesMut::new();
        for message in messages {
            let mut out = Vec::new();
            encryptor.seal(&message, &mut out);
            prop_assert_eq!(out.len(), message.len() + OVERHEAD_BYTES);
            let sealed = BytesMut::from(&out[..]);
            let mut corrupt = sealed.clone();
            corrupt[at.index(out.len())] ^= flip;
            prop_assert_eq!(decryptor.open(corrupt), Err(NotAuthentic));
            prop_assert_eq!(decryptor.open(sealed.clone()).unwrap(), &message);
            prop_assert_eq!(decryptor.open(sealed.clone()), Err(NotAuthentic), "a repeated message");
            last = sealed;
        }
        last.truncate(at.index(OVERHEAD_BYTES));
        prop_assert_eq!(decryptor.open(last), Err(NotAuthentic));
    }
}
