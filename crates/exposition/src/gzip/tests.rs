#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use flate2::read::GzDecoder;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

fn text(lines: usize) -> Vec<u8> {
    (0..lines)
        .flat_map(|n| format!("requests_total{{path=\"/{}\",code=\"200\"}} {}\n", n % 97, n * 7919).into_bytes())
        .collect()
}

/// Reads one member and insists that nothing follows it, as curl does.
fn read_one_member(parts: &[Bytes]) -> Vec<u8> {
    let whole = parts.concat();
    let (mut decoder, mut text) = (GzDecoder::new(&whole[..]), Vec::new());
    decoder.read_to_end(&mut text).unwrap();
    assert!(decoder.into_inner().is_empty(), "bytes after the member");
    text
}

fn joined<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> Vec<Bytes> {
    join(pieces).iter().flat_map(|row| row.iter().cloned()).collect()
}

#[test]
fn a_condensed_piece_is_the_same_in_fewer_slices() {
    let mut compressor = Compressor::new();
    let small: Vec<_> = (1..100)
        .map(|lines| Piece::compress(&[text(lines).into()], CompressionLevel::Fast, &mut compressor))
        .collect();
    let large = Piece::stored(&[text(5_000).into()]);
    let whole = Piece::concat(small.iter().chain([&large]).chain(&small));
    let condensed = whole.clone().condensed();
    let slices = |piece: &Piece| joined([piece]);
    assert_eq!(slices(&condensed).concat(), slices(&whole).concat());
    assert!(condensed.deflated.len() * 10 < whole.deflated.len());
    assert_eq!(read_one_member(&slices(&condensed)).len() as u64, whole.text_len());
}

#[test]
fn rows_share_what_their_pieces_hold() {
    let piece = Piece::compress(&[text(1_000).into()], CompressionLevel::Fast, &mut Compressor::new());
    let rows = join([&piece, &piece]);
    assert_eq!(rows.iter().filter(|row| Arc::ptr_eq(row, &piece.deflated)).count(), 2);
    assert_eq!(
        read_one_member(&rows.iter().flat_map(|row| row.to_vec()).collect::<Vec<_>>()),
        text(1_000).repeat(2)
    );
}

#[test]
fn pieces_joined_one_by_one_make_the_same_member() {
    let mut compressor = Compressor::new();
    let pieces = [10, 2_000, 0].map(|lines| Piece::compress(&[text(lines).into()], CompressionLevel::Fast, &mut compressor));
    let mut joiner = Joiner::default();
    let mut parts: Vec<Bytes> = pieces.iter().flat_map(|piece| joiner.push(piece)).collect();
    parts.push(joiner.finish());
    assert_eq!(parts.concat(), joined(&pieces).concat());
    assert_eq!(read_one_member(&parts), [text(10), text(2_000)].concat());
}

#[test]
fn no_pieces_make_an_empty_member() {
    assert!(read_one_member(&joined([])).is_empty());
    assert!(
        read_one_member(&joined([
            &Piece::stored(&[]),
            &Piece::compress(&[], CompressionLevel::Fast, &mut Compressor::new())
        ]))
        .is_empty()
    );
}

#[test]
fn a_flush_that_just_fills_the_room_is_completed() {
    let mut compressor = Compressor::new();
    for len in 0..400 {
        let noise: Vec<u8> = (0..len * 91_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
        let piece = Piece::compress(&[Bytes::from(noise.clone())], CompressionLevel::Fast, &mut compressor);
        let last = Piece::stored(&[Bytes::from_static(b"end")]);
        assert_eq!(read_one_member(&joined([&piece, &last])), [&noise[..], b"end"].concat());
    }
}

#[test]
fn other_decoders_read_it() {
    let text = text(20_000);
    let (one, two) = text.split_at(text.len() / 3);
    let mut compressor = Compressor::new();
    let (one, two) = ([Bytes::copy_from_slice(one)], [Bytes::copy_from_slice(two)]);
    let pieces = [
        Piece::compress(&one, CompressionLevel::Small, &mut compressor),
        Piece::stored(&two),
        Piece::compress(&two, CompressionLevel::Fast, &mut compressor),
    ];
    let (member, expected) = (joined(&pieces).concat(), [&one[0][..], &two[0], &two[0]].concat());
    let python = "import sys, zlib; d = zlib.decompressobj(31); t = d.decompress(sys.stdin.buffer.read()); \
                  assert d.eof and not d.unused_data; sys.stdout.buffer.write(t)";
    for (program, arguments) in [("gzip", vec!["-dc"]), ("python3", vec!["-c", python])] {
        let run = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = run else {
            assert!(std::env::var_os("CI").is_none(), "{program} is missing");
            continue;
        };
        let (mut stdin, input) = (child.stdin.take().unwrap(), member.clone());
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(
            output.status.success() && output.stdout == expected,
            "{program} reads something else"
        );
    }
}

#[test]
fn stored_pieces_share_the_text() {
    let slices = [Bytes::from(text(1_000)), Bytes::from(text(2_000))];
    let piece = Piece::stored(&slices);
    let shared = |part: &Bytes| slices.iter().any(|s| s.as_ptr_range().contains(&part.as_ptr()));
    let copied: usize = piece.deflated.iter().filter(|part| !shared(part)).map(Bytes::len).sum();
    assert_eq!(copied as u64, piece.deflated_len() - piece.text_len());
    assert_eq!(copied, 5 * usize::try_from(piece.text_len()).unwrap().div_ceil(MAX_STORED_BLOCK));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_is_joined_comes_out(lens in proptest::collection::vec((0_usize..140_000, 0_u8..3), 0..4), cut in 0_usize..70_000) {
        let mut compressor = Compressor::new();
        let (mut pieces, mut expected) = (Vec::new(), Vec::new());
        for (len, kind) in lens {
            let whole = Bytes::from((0..len).map(|n| u8::try_from((n * n / 7 + len) % 64).unwrap()).collect::<Vec<_>>());
            expected.extend_from_slice(&whole);
            let slices = [whole.slice(..cut.min(len)), Bytes::new(), whole.slice(cut.min(len)..)];
            pieces.push(match kind {
                0 => Piece::stored(&slices),
                1 => Piece::compress(&slices, CompressionLevel::Fast, &mut compressor),
                _ => Piece::compress(&slices, CompressionLevel::Small, &mut compressor),
            });
        }
        let inflated: Vec<u8> = pieces.iter().flat_map(Piece::inflate).collect();
        prop_assert_eq!(&inflated, &expected);
        let slices = joined(&pieces);
        let total: usize = slices.iter().map(Bytes::len).sum();
        prop_assert_eq!(total as u64, 20 + pieces.iter().map(Piece::deflated_len).sum::<u64>());
        prop_assert_eq!(read_one_member(&slices), expected);
    }
}
