#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::io::{Read as _, Write as _};

use super::*;
use proptest::prelude::*;

fn open(member: &[u8], limit: usize) -> Result<Vec<u8>, GzipError> {
    let mut text = b"left over".to_vec();
    Inflater::default().open(member, limit, &mut text).map(|()| text)
}

#[test]
fn other_headers_are_understood() {
    let mut gz = flate2::GzBuilder::new()
        .filename("name")
        .comment("comment")
        .extra([1, 2, 3])
        .write(Vec::new(), Compression::best());
    gz.write_all(b"hello\n").unwrap();
    assert_eq!(open(&gz.finish().unwrap(), 100).unwrap(), b"hello\n");
}

#[test]
fn a_bomb_is_cut_off_at_the_limit() {
    let mut member = Vec::new();
    Compressor::default().member(&vec![b' '; 16 << 20], &mut member);
    let (mut inflater, mut text) = (Inflater::default(), Vec::new());
    assert_eq!(inflater.open(&member, 1 << 20, &mut text), Err(GzipError::TooLong(1 << 20)));
    assert!(text.capacity() <= (1 << 20) + 1, "{}", text.capacity());
    assert_eq!(
        inflater.open(&member, (16 << 20) - 1, &mut text),
        Err(GzipError::TooLong((16 << 20) - 1))
    );
    assert!(
        inflater.open(&member, 16 << 20, &mut text).is_ok(),
        "the inflater is usable after a refusal"
    );
}

#[test]
fn damage_is_seen() {
    let mut member = Vec::new();
    Compressor::default().member(b"some text, some text", &mut member);
    for cut in 0..member.len() {
        assert!(open(&member[..cut], 100).is_err(), "cut at {cut}");
    }
    let last = member.len() - 1;
    for at in [0, 1, 2, last, last - 4] {
        let mut damaged = member.clone();
        damaged[at] ^= 1;
        assert!(open(&damaged, 100).is_err(), "damaged at {at}");
    }
    member.push(0);
    assert_eq!(open(&member, 100), Err(GzipError::Trailer));
}

proptest! {
    #[test]
    fn what_is_packed_opens(texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..70_000), 1..3), slack in 0usize..2) {
        let (mut compressor, mut inflater, mut text) = (Compressor::default(), Inflater::default(), Vec::new());
        for data in texts {
            let mut member = Vec::new();
            compressor.member(&data, &mut member);
            inflater.open(&member, data.len() + slack, &mut text).unwrap();
            prop_assert_eq!(&text, &data);
            let mut theirs = Vec::new();
            flate2::read::GzDecoder::new(&member[..]).read_to_end(&mut theirs).unwrap();
            prop_assert_eq!(&theirs, &data);
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), limit in 0usize..300) {
        let mut member = HEADER.to_vec();
        member.extend_from_slice(&bytes);
        let mut text = Vec::new();
        let _ = Inflater::default().open(&member, limit, &mut text);
        prop_assert!(text.len() <= limit + 1);
        let _ = open(&bytes, limit);
    }
}
