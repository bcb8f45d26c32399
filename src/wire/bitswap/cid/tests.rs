#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;

/// The SHA-256 of "hello world\n" as a multihash.
fn hello() -> Vec<u8> {
    [&[0x12, 0x20][..], digest(&SHA256, b"hello world\n").as_ref()].concat()
}

#[test]
fn texts_are_those_of_kubo() {
    // `ipfs add --only-hash` and `ipfs add --only-hash --cid-version=1 --raw-leaves` give these.
    let raw = [&[1, 0x55][..], &hello()].concat();
    assert_eq!(
        Cid::read(&raw).unwrap().to_string(),
        "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"
    );
    assert_eq!(cid_of_block(&[1, 0x55, 0x12, 0x20], b"hello world\n"), Some(raw));
    // The empty UnixFS directory.
    let empty = cid_v0_of_block(b"\x0a\x02\x08\x01");
    assert_eq!(
        Cid::read(&empty).unwrap().to_string(),
        "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
    );
    assert_eq!(cid_of_block(&[0, 0x70, 0x12, 0x20], b"\x0a\x02\x08\x01"), Some(empty));
}

#[test]
fn identity_and_sha_512_blocks_have_cids_and_others_do_not() {
    let identity = cid_of_block(&[1, 0x55, 0, 2], b"hi").unwrap();
    assert_eq!(identity, [1, 0x55, 0, 2, b'h', b'i']);
    assert_eq!(cid_of_block(&[1, 0x55, 0x13, 0x40], b"hi").unwrap().len(), 4 + 64);
    let prefixes: [&[u8]; 7] = [
        b"",
        &[1, 0x55, 0x12],
        // blake2b-256
        &[1, 0x55, 0xa0, 0xe4, 2, 0x20],
        // longer than the digest
        &[1, 0x55, 0x12, 0x21],
        // a version 0 of another codec, and a version 2
        &[0, 0x55, 0x12, 0x20],
        &[2, 0x55, 0x12, 0x20],
        &[1, 0x55, 0x12, 0x20, 0],
    ];
    for prefix in prefixes {
        assert_eq!(cid_of_block(prefix, b"hi"), None, "{prefix:x?}");
    }
    assert_eq!(cid_of_block(&[1, 0x55, 0, 0xa8, 1], &[0; 168]), None);
}

#[test]
fn malformed_cids_are_refused() {
    let long = vec![1; MAX_CID_BYTES + 1];
    let cut = [&[1, 0x55][..], &hello()[..33]].concat();
    let more = [&[1, 0x55][..], &hello(), &[0]].concat();
    let cases: [(&[u8], CidError); 8] = [
        (b"", CidError::Empty),
        (&long, CidError::TooLong(169)),
        (&cut, CidError::Malformed),
        (&more, CidError::Malformed),
        // a varint that is not minimal, one that does not end, and one of ten bytes
        (&[1, 0xd5, 0, 0, 0], CidError::Malformed),
        (&[1, 0xff], CidError::Malformed),
        (&[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1], CidError::Malformed),
        (&[0x12, 0x20, 0], CidError::Version(0x12)),
    ];
    for (bytes, error) in cases {
        assert_eq!(Cid::read(bytes), Err(error), "{bytes:x?}");
    }
}

#[test]
fn peer_ids_are_short_keys_or_digests() {
    let key = [&[0, 36][..], &[8, 1, 18, 32], &[7; 32]].concat();
    assert!(multihash_is_peer_id(&key));
    assert!(multihash_is_peer_id(&hello()));
    let long_key = [&[0, 43][..], &[7; 43]].concat();
    for bytes in [&b""[..], &[0, 0], &key[..37], &hello()[..33], &[0x13, 1, 7], &long_key] {
        assert!(!multihash_is_peer_id(bytes), "{bytes:x?}");
    }
}

proptest! {
    #[test]
    fn any_valid_cid_has_a_text_without_other_characters(codec in 0_u64..1 << 40, digest in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut bytes = vec![1];
        push_varint(&mut bytes, codec);
        push_varint(&mut bytes, 0);
        push_varint(&mut bytes, digest.len() as u64);
        bytes.extend_from_slice(&digest);
        let text = Cid::read(&bytes).unwrap().to_string();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        // Five bits a letter after the b.
        prop_assert_eq!(text.len(), 1 + (bytes.len() * 8).div_ceil(5));
    }
}
