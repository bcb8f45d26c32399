#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::BufMut;
use proptest::prelude::*;

use super::*;
use crate::wire::{FormatChoice, StreamDecoder};

/// One message as other implementations write it: `{appName = "web", data = "up 1\n"}`, one segment.
const GOLDEN: &[u8] = b"\x00\x00\x00\x00\x05\x00\x00\x00\
    \x00\x00\x00\x00\x00\x00\x02\x00\
    \x05\x00\x00\x00\x22\x00\x00\x00\
    \x05\x00\x00\x00\x32\x00\x00\x00\
    web\0\0\0\0\0\
    up 1\n\0\0\0";

const MAX: usize = 1 << 20;

fn decode_all(stream: &[u8], max: usize) -> Vec<Result<Inbound, Refusal>> {
    let mut decoder = StreamDecoder::new(FormatChoice::Capnp, max);
    decoder.spare(stream.len()).put_slice(&stream[..stream.len().min(1)]);
    let mut items: Vec<_> = decoder.by_ref().collect();
    for rest in stream[1..].chunks(7) {
        let mut rest = rest;
        while !rest.is_empty() {
            let mut spare = decoder.spare(rest.len());
            let n = spare.remaining_mut().min(rest.len());
            spare.put_slice(&rest[..n]);
            rest = &rest[n..];
        }
        items.extend(decoder.by_ref());
    }
    items.extend(decoder.finish().map(Err));
    items
}

fn inbound(app: &str, data: &str) -> Inbound {
    Inbound {
        app: AppName::new(app).unwrap(),
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

/// A message of one segment, given as words.
fn framed(words: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0];
    bytes.extend(u32::try_from(words.len()).unwrap().to_le_bytes());
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}

fn reasons(items: &[Result<Inbound, Refusal>]) -> Vec<&'static str> {
    items
        .iter()
        .map(|item| item.as_ref().map_or_else(Refusal::reason, |_| "ok"))
        .collect()
}

/// The golden message with one byte changed.
fn patched(at: usize, byte: u8) -> Vec<u8> {
    let mut message = GOLDEN.to_vec();
    message[at] = byte;
    message
}

#[test]
fn the_golden_message_is_read() {
    assert_eq!(decode_all(GOLDEN, MAX), [Ok(inbound("web", "up 1\n"))]);
    assert_eq!(decode_all(&GOLDEN.repeat(3), MAX).len(), 3);
}

#[test]
fn what_we_build_in_many_segments_is_read() {
    let text = "a_long_line{with=\"labels\"} 1\n".repeat(2_000);
    let mut message = capnp::message::Builder::new(capnp::message::HeapAllocator::new().first_segment_words(4));
    let mut root: inbound_metrics::Builder<'_> = message.init_root();
    root.set_app_name("segmented");
    root.set_data(text.as_str());
    assert!(message.get_segments_for_output().len() > 1);
    let bytes = capnp::serialize::write_message_to_words(&message);
    assert_eq!(decode_all(&bytes, MAX), [Ok(inbound("segmented", &text))]);
}

#[test]
fn an_unset_text_is_empty_and_an_app_needs_a_name() {
    let no_data = framed(&[
        2 << 48,
        (3 << 35) | (4 << 32) | (1 << 2) | 1,
        0,
        u64::from_le_bytes(*b"app\0\0\0\0\0"),
    ]);
    let no_name = framed(&[2 << 48, 0, 0]);
    let null_root = framed(&[0]);
    let items = decode_all(&[no_name, no_data, null_root, GOLDEN.to_vec()].concat(), MAX);
    assert_eq!(reasons(&items), ["bad_app_name", "malformed", "bad_app_name", "ok"]);
}

#[test]
fn bad_contents_cost_their_message_alone() {
    let bad = [
        (patched(32, 0xff), "bad_utf8"),
        (patched(32, b'\n'), "bad_app_name"),
        (patched(40, 0xff), "bad_utf8"),
        (patched(35, b'!'), "malformed"),
        (patched(24, 0x7d), "malformed"),
        (patched(8, 0x7c), "malformed"),
        (patched(16, 0x06), "malformed"),
        (framed(&[]), "malformed"),
    ];
    for (message, reason) in bad {
        let items = decode_all(&[GOLDEN, &message, GOLDEN].concat(), MAX);
        assert_eq!(reasons(&items), ["ok", reason, "ok"], "{:?}", items[1]);
        let refusal = items[1].as_ref().unwrap_err();
        assert_eq!((refusal.position.offset, refusal.ends_connection()), (GOLDEN.len() as u64, false));
    }
}

#[test]
fn the_refusal_names_the_app_once_it_is_known() {
    let items = decode_all(&patched(40, 0xff), MAX);
    let refusal = items[0].as_ref().unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "byte 0: app \"web\": the data is not UTF-8 (byte 0 of its text)"
    );
}

#[test]
fn a_declared_size_is_refused_before_anything_is_allocated() {
    let bomb = [&[0, 0, 0, 0][..], &u32::MAX.to_le_bytes(), &[0; 64]].concat();
    let mut decoder = StreamDecoder::new(FormatChoice::Auto, MAX);
    decoder.spare(usize::MAX).put_slice(&bomb);
    let refusal = decoder.next().unwrap().unwrap_err();
    let declared = Some(8 + u64::from(u32::MAX) * 8);
    assert_eq!(
        refusal.fault,
        Fault::TooLarge {
            declared,
            limit: MAX as u64
        }
    );
    assert_eq!((decoder.next(), decoder.buffered(), decoder.finish()), (None, 0, None));
    assert!(decoder.spare(usize::MAX).remaining_mut() <= crate::wire::LARGEST_READ);
}

#[test]
fn many_large_segments_do_not_wrap_around() {
    let mut bomb = 511_u32.to_le_bytes().to_vec();
    bomb.extend(u32::MAX.to_le_bytes().repeat(512));
    bomb.extend([0; 4]);
    assert_eq!(reasons(&decode_all(&bomb, usize::MAX)), ["truncated"]);
    assert_eq!(reasons(&decode_all(&bomb, 1 << 30)), ["too_large"]);
}

#[test]
fn a_huge_segment_table_is_refused_by_its_first_word() {
    for count in [512_u32, 0x00ff_ffff, u32::MAX - 0xff] {
        let items = decode_all(&count.to_le_bytes(), MAX);
        assert_eq!(reasons(&items), ["malformed"], "{items:?}");
        assert!(items[0].as_ref().unwrap_err().ends_connection());
    }
}

#[test]
fn the_limit_is_exact() {
    assert_eq!(reasons(&decode_all(GOLDEN, GOLDEN.len())), ["ok"]);
    assert_eq!(reasons(&decode_all(GOLDEN, GOLDEN.len() - 1)), ["too_large"]);
}

#[test]
fn a_truncated_message_says_how_much_of_it_came() {
    let items = decode_all(&[GOLDEN, &GOLDEN[..20]].concat(), MAX);
    let refusal = items[1].as_ref().unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "byte 48: the connection ended inside a message, of which 20 of 48 bytes arrived"
    );
    let items = decode_all(&GOLDEN[..3], MAX);
    assert_eq!(
        items[0].as_ref().unwrap_err().fault,
        Fault::Truncated {
            received: 3,
            expected: None
        }
    );
}

#[test]
fn the_rest_of_a_large_message_is_read_at_once() {
    let text = "x".repeat(300_000);
    let mut message = capnp::message::Builder::new_default();
    let mut root: inbound_metrics::Builder<'_> = message.init_root();
    root.set_app_name("large");
    root.set_data(text.as_str());
    let bytes = capnp::serialize::write_message_to_words(&message);
    let mut decoder = StreamDecoder::new(FormatChoice::Auto, MAX);
    assert_eq!(decoder.missing(), None);
    decoder.spare(usize::MAX).put_slice(&bytes[..100]);
    assert_eq!(decoder.next(), None);
    assert_eq!((decoder.missing(), decoder.mid_message()), (Some(bytes.len() - 100), true));
    assert_eq!(decoder.spare(usize::MAX).remaining_mut(), bytes.len() - 100);
    decoder.spare(usize::MAX).put_slice(&bytes[100..]);
    assert_eq!(decoder.next(), Some(Ok(inbound("large", &text))));
    assert_eq!((decoder.missing(), decoder.mid_message(), decoder.buffered()), (None, false, 0));
}

proptest! {
    #[test]
    fn any_change_of_a_byte_is_survived(at in 0..GOLDEN.len(), byte: u8) {
        let items = decode_all(&[&patched(at, byte), GOLDEN].concat(), MAX);
        prop_assert!(!items.is_empty());
    }
}
