#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;

use bytes::{BufMut, Bytes};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::model::AppName;
use crate::wire::schema::inbound_metrics_capnp::inbound_metrics;
use crate::wire::{LARGEST_READ, SMALLEST_READ};

const MAX: usize = 1 << 16;

type Item = Result<Inbound, Refusal>;

/// Feeds pieces, and sees to nothing more being held than promised.
fn decode<'a>(choice: FormatChoice, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Item> {
    let mut decoder = StreamDecoder::new(choice, MAX);
    let mut items = Vec::new();
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() {
            let mut spare = decoder.spare(rest.len());
            let n = spare.remaining_mut().min(rest.len());
            spare.put_slice(&rest[..n]);
            rest = &rest[n..];
            items.extend(decoder.by_ref());
            assert!(decoder.buffered() < MAX);
        }
    }
    items.extend(decoder.finish().map(Err));
    items
}

/// Cuts a stream in many places.
fn pieces<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect()
}

/// Single bytes, or as few at a time as a long stream allows a quick test.
fn small_pieces(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    stream.chunks(1 + stream.len() / 2_000)
}

fn capnp_message(app: &str, data: &str, first_segment_words: u32) -> Vec<u8> {
    let allocator = capnp::message::HeapAllocator::new().first_segment_words(first_segment_words);
    let mut message = capnp::message::Builder::new(allocator);
    let mut root: inbound_metrics::Builder<'_> = message.init_root();
    root.set_app_name(app);
    root.set_data(data);
    capnp::serialize::write_message_to_words(&message)
}

/// An object that holds each text as a string or as an array of its lines, with blanks wherever they may stand.
fn json_object(apps: &[(String, String)], as_lines: bool, blank: &str) -> String {
    let entries = apps.iter().map(|(app, data)| {
        let lines: Vec<&str> = data.split('\n').collect();
        let value = if as_lines {
            serde_json::to_string_pretty(&lines)
        } else {
            serde_json::to_string(data)
        };
        format!(
            "{blank}{}{blank}:{blank}{}{blank}",
            serde_json::to_string(app).unwrap(),
            value.unwrap()
        )
    });
    format!("{blank}{{{}}}{blank}", entries.collect::<Vec<_>>().join(","))
}

/// The expected items of an object: of equal names the last one, in order.
fn expected(apps: &[(String, String)]) -> Vec<Item> {
    let last: HashMap<&str, usize> = apps.iter().enumerate().map(|(at, (app, _))| (app.as_str(), at)).collect();
    let counts = apps.iter().enumerate().filter(|(at, (app, _))| last[app.as_str()] == *at);
    counts.map(|(_, (app, data))| Ok(inbound(app, data))).collect()
}

fn inbound(app: &str, data: &str) -> Inbound {
    Inbound {
        app: AppName::new(app).unwrap(),
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

fn an_app() -> impl Strategy<Value = (String, String)> {
    (
        "[a-cä\"\\\\]{1,3}",
        prop_oneof![any::<String>(), "[a-z{}\"\\\\= \t\n0-9é😀]{0,200}", "[x\n]{500,3000}"],
    )
}

proptest! {
    #[test]
    fn json_in_any_split_is_the_same(
        objects in prop::collection::vec((prop::collection::vec(an_app(), 0..4), any::<bool>(), "[ \t\r\n]{0,3}"), 0..6),
        cuts in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let stream: String = objects.iter().map(|(apps, as_lines, blank)| json_object(apps, *as_lines, blank)).collect();
        let all: Vec<Item> = objects.iter().flat_map(|(apps, ..)| expected(apps)).collect();
        for choice in [FormatChoice::Auto, FormatChoice::Json] {
            prop_assert_eq!(&decode(choice, pieces(stream.as_bytes(), &cuts)), &all);
        }
        prop_assert_eq!(&decode(FormatChoice::Auto, small_pieces(stream.as_bytes())), &all);
    }

    #[test]
    fn capnp_in_any_split_is_the_same(
        apps in prop::collection::vec((an_app(), 1..100_u32), 0..12),
        cuts in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let stream: Vec<u8> = apps.iter().flat_map(|((app, data), words)| capnp_message(app, data, *words)).collect();
        let all: Vec<Item> = apps.iter().map(|((app, data), _)| Ok(inbound(app, data))).collect();
        for choice in [FormatChoice::Auto, FormatChoice::Capnp] {
            prop_assert_eq!(&decode(choice, pieces(&stream, &cuts)), &all);
        }
        prop_assert_eq!(&decode(FormatChoice::Auto, small_pieces(&stream)), &all);
    }

    #[test]
    fn a_stream_that_ends_anywhere_is_truncated_or_between_two_messages(
        apps in prop::collection::vec(an_app(), 1..4), json: bool, end: Index,
    ) {
        let messages: Vec<Vec<u8>> = apps.iter().map(|(app, data)| {
            if json { json_object(&[(app.clone(), data.clone())], false, "").into_bytes() } else { capnp_message(app, data, 16) }
        }).collect();
        let stream = messages.concat();
        let end = end.index(stream.len() + 1);
        let mut ends = messages.iter().scan(0, |at, message| { *at += message.len(); Some(*at) });
        let items = decode(FormatChoice::Auto, [&stream[..end]]);
        let whole = ends.clone().filter(|&at| at <= end).count();
        let refused: Vec<_> = items.iter().skip(whole).map(|item| item.as_ref().map_err(Refusal::reason)).collect();
        prop_assert!(items[..whole].iter().all(Result::is_ok));
        let between = end == 0 || ends.any(|at| at == end);
        // A few bytes without a NUL do not look like Cap'n Proto yet, so that they are refused as bad JSON.
        let looks_like_json = !json && end < 4 && !stream[..end].contains(&0);
        let reason = if looks_like_json { "malformed" } else { "truncated" };
        prop_assert_eq!(refused, if between { vec![] } else { vec![Err(reason)] });
    }

    #[test]
    fn anything_at_all_is_survived(
        stream in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..600),
            "[\\[\\]{}:,\"\\\\un01 \n]{0,200}".prop_map(String::into_bytes),
            prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(5), any::<u8>()], 0..600),
        ],
        cuts in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        for choice in [FormatChoice::Auto, FormatChoice::Json, FormatChoice::Capnp] {
            prop_assert_eq!(decode(choice, pieces(&stream, &cuts)), decode(choice, [&stream[..]]));
        }
    }
}

#[test]
fn the_other_format_is_refused_as_such() {
    let json = &br#"{"a":"1"}"#[..];
    let capnp = &capnp_message("a", "1", 16)[..];
    for (choice, stream, refused) in [
        (FormatChoice::Json, capnp, Some((Format::Json, Format::Capnp))),
        (FormatChoice::Capnp, json, Some((Format::Capnp, Format::Json))),
        (FormatChoice::Json, json, None),
        (FormatChoice::Capnp, capnp, None),
    ] {
        let items = decode(choice, stream.chunks(1));
        assert_eq!(items.len(), 1);
        match refused {
            None => assert_eq!(items[0], Ok(inbound("a", "1"))),
            Some((wanted, found)) => {
                let refusal = items[0].as_ref().unwrap_err();
                assert_eq!(refusal.fault, Fault::WrongFormat { wanted, found });
                assert_eq!((refusal.reason(), refusal.ends_connection()), ("wrong_format", true));
            }
        }
    }
}

#[test]
fn the_format_is_known_after_four_bytes_and_to_the_end() {
    let mut decoder = StreamDecoder::new(FormatChoice::Auto, MAX);
    decoder.spare(3).put_slice(b"{\"a");
    assert_eq!((decoder.next(), decoder.format(), decoder.mid_message()), (None, None, true));
    decoder.spare(1).put_slice(b"\"");
    assert_eq!((decoder.next(), decoder.format()), (None, Some(Format::Json)));
    assert!(decoder.finish().is_some());
    assert_eq!((decoder.format(), decoder.buffered()), (Some(Format::Json), 0));
}

#[test]
fn an_end_within_the_first_bytes_is_judged() {
    let end = |bytes: &[u8]| decode(FormatChoice::Auto, [bytes]).pop().map(|item| item.unwrap_err().reason());
    assert_eq!(end(b""), None);
    assert_eq!(end(b"{}"), None);
    assert_eq!(end(b"{"), Some("truncated"));
    assert_eq!(end(b"ab"), Some("malformed"));
    assert_eq!(end(b"\0\0"), Some("truncated"));
}

#[test]
fn an_idle_connection_holds_no_memory_and_a_busy_one_little() {
    let mut decoder = StreamDecoder::new(FormatChoice::Auto, 1 << 24);
    assert_eq!(decoder.buffer.capacity(), 0);
    assert_eq!(decoder.spare(usize::MAX).remaining_mut(), SMALLEST_READ);
    for size in [10, 1 << 20, 100, 1 << 22, 10] {
        for message in [json_object(&[("a".into(), "x".repeat(size))], false, ""), String::from("{}  {")] {
            for piece in message.as_bytes().chunks(SMALLEST_READ) {
                decoder.spare(piece.len()).put_slice(piece);
                assert!(decoder.by_ref().all(|item| item.is_ok()));
            }
        }
        decoder.spare(usize::MAX).put_slice(b"}");
        assert_eq!(decoder.next(), None);
        assert!(
            decoder.buffer.capacity() <= LARGEST_READ,
            "{} after {size}",
            decoder.buffer.capacity()
        );
        decoder.release();
        assert_eq!(decoder.buffer.capacity(), 0);
    }
}

#[test]
fn the_samples_of_real_senders_are_read_as_they_are() {
    let text = include_str!("../../../tests/fixtures/wire/pump.txt");
    for sample in [
        &include_bytes!("../../../tests/fixtures/wire/string.json")[..],
        include_bytes!("../../../tests/fixtures/wire/array.json"),
        include_bytes!("../../../tests/fixtures/wire/message.capnp.bin"),
    ] {
        assert_eq!(decode(FormatChoice::Auto, [sample]), [Ok(inbound("pump", text))]);
    }
}

#[test]
fn what_is_no_message_at_all_is_named() {
    for (stream, name) in [
        (&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"[..], "gzip"),
        (b"\xff\xfe{\0\"\0a\0\"\0:\0\"\0\"\0}\0", "text in UTF-16"),
        (b"1\0@\0}", "text in UTF-16"),
        (b"\x20\x0a\x05hello\x12\x03abc\x18\x01\x22\x0b", "protobuf"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n{}", "a multipart form"),
        (b"\x10\x05\x40\x02\x11\x05\x0a", "packed Cap'n Proto"),
        (b"<html></html>", "a page of HTML or XML"),
    ] {
        let whole = decode(FormatChoice::Auto, [stream]);
        assert_eq!(decode(FormatChoice::Auto, stream.chunks(1)), whole, "{name}");
        for choice in [FormatChoice::Json, FormatChoice::Capnp] {
            assert_eq!(decode(choice, [stream]).len(), 1, "{name}");
            assert_eq!(decode(choice, stream.chunks(1)), decode(choice, [stream]), "{name}");
            assert!(
                matches!(&decode(choice, [stream])[..], [Err(refusal)] if refusal.to_string().contains(name)),
                "{name}"
            );
        }
        let [Err(refusal)] = &whole[..] else { panic!("{whole:?}") };
        assert_eq!(refusal.reason(), "malformed");
        assert!(
            refusal
                .to_string()
                .contains(&format!("this is {name}; a receiver takes JSON objects")),
            "{refusal}"
        );
    }
    let behind = decode(FormatChoice::Auto, [&b"{\"a\":\"m 1\"}--b\r\n"[..]]);
    assert!(
        matches!(&behind[..], [Ok(_), Err(refusal)] if !refusal.to_string().contains("multipart")),
        "{behind:?}"
    );
}
