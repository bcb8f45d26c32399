#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::BufMut;

use super::*;
use crate::wire::{FormatChoice, JsonType, StreamDecoder};

const MAX: usize = 1 << 20;

type Item = Result<Inbound, Refusal>;

fn decode_in(stream: &[u8], chunk: usize, max: usize) -> Vec<Item> {
    let mut decoder = StreamDecoder::new(FormatChoice::Json, max);
    let mut items = Vec::new();
    for bytes in stream.chunks(chunk) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut spare = decoder.spare(rest.len());
            let n = spare.remaining_mut().min(rest.len());
            spare.put_slice(&rest[..n]);
            rest = &rest[n..];
            items.extend(decoder.by_ref());
        }
    }
    items.extend(decoder.finish().map(Err));
    items
}

/// Decodes at once and byte by byte, which must come to the same.
fn decode(stream: &str) -> Vec<Item> {
    let whole = decode_in(stream.as_bytes(), usize::MAX, MAX);
    assert_eq!(whole, decode_in(stream.as_bytes(), 1, MAX), "{stream}");
    whole
}

fn shown(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .map(|item| match item {
            Ok(Inbound { app, data }) => format!("{app}={}", str::from_utf8(data).unwrap()),
            Err(refusal) => format!(
                "{}{}: {refusal}",
                if refusal.ends_connection() { "!" } else { "" },
                refusal.reason()
            ),
        })
        .collect()
}

#[test]
fn every_key_is_an_app_and_objects_follow_each_other() {
    let items = decode("{\"a\":\"up 1\\n\", \"b\" : [\"x 1\",\"y{l=\\\"v\\\"} 2\"]}{\"c\":\"\"}\n\n \t{\"d\":[]}\r\n{}{\"e\":[\"\"]}");
    assert_eq!(shown(&items), ["a=up 1\n", "b=x 1\ny{l=\"v\"} 2", "c=", "d=", "e="]);
}

#[test]
fn what_is_noted_about_an_object_counts_as_held() {
    let mut decoder = StreamDecoder::new(FormatChoice::Json, MAX);
    let object = format!("{{{}", "\"\":0,".repeat(100_000));
    let mut rest = object.as_bytes();
    while !rest.is_empty() {
        let mut spare = decoder.spare(rest.len());
        let n = spare.remaining_mut().min(rest.len());
        spare.put_slice(&rest[..n]);
        rest = &rest[n..];
        assert_eq!(decoder.next(), None);
    }
    assert_eq!(decoder.buffered(), object.len());
    assert!(
        decoder.memory_used() >= object.len() + 100_000 * size_of::<AppEntry>(),
        "{}",
        decoder.memory_used()
    );
    decoder.spare(5).put_slice(b"\"\":0}");
    assert_eq!(decoder.by_ref().count(), 1, "the same key again and again is one app");
    assert!(decoder.memory_used() < 64 * 1024, "{}", decoder.memory_used());
}

#[test]
fn an_app_is_there_as_soon_as_its_object_is_complete() {
    let mut decoder = StreamDecoder::new(FormatChoice::Auto, MAX);
    decoder.spare(99).put_slice(b"{\"a\":\"1\"");
    assert_eq!((decoder.next(), decoder.mid_message(), decoder.buffered()), (None, true, 8));
    decoder.spare(99).put_slice(b"} ");
    assert!(decoder.next().unwrap().is_ok());
    assert_eq!((decoder.next(), decoder.mid_message(), decoder.buffered()), (None, false, 0));
}

#[test]
fn of_two_equal_keys_the_last_counts() {
    assert_eq!(shown(&decode(r#"{"a":"1","b":"2","a":"3","\u0061":"4"}"#)), ["b=2", "a=4"]);
    assert_eq!(shown(&decode(r#"{"a":5,"a":"1"}"#)), ["a=1"]);
    let items = decode(r#"{"a":"1","a":5}"#);
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].as_ref().unwrap_err().fault, Fault::Value(JsonType::Number));
}

#[test]
fn a_bad_value_costs_that_app_alone() {
    let items = decode("{\"a\":1.5e3,\n\"b\":null,\n \"c\":{\"x\":[\"y\",{}]},\"d\":[\"x\",true,null],\"e\":[[\"x\"]],\n\"f\":\"fine\"}");
    assert_eq!(
        shown(&items),
        [
            "bad_value: line 1, column 6 (byte 5): app \"a\": metrics must be a string or an array of strings, not a number",
            "bad_value: line 2, column 5 (byte 16): app \"b\": metrics must be a string or an array of strings, not null",
            "bad_value: line 3, column 6 (byte 27): app \"c\": metrics must be a string or an array of strings, not an object",
            "bad_value: line 3, column 30 (byte 51): app \"d\": metrics must be a string or an array of strings, not a boolean",
            "bad_value: line 3, column 46 (byte 67): app \"e\": metrics must be a string or an array of strings, not an array inside the array",
            "f=fine",
        ]
    );
}

#[test]
fn a_bad_name_costs_that_app_alone() {
    let items = decode("{\"\":\"1\",\"a\\nb\":\"2\",\"c\":\"3\"}");
    assert_eq!(
        shown(&items),
        [
            "bad_app_name: line 1, column 3 (byte 2): app \"\": bad app name: an app name must not be empty",
            "bad_app_name: line 1, column 10 (byte 9): app \"a\\nb\": bad app name: an app name must not contain control characters (U+000A at byte 1)",
            "c=3",
        ]
    );
}

#[test]
fn bad_text_costs_that_app_alone() {
    let items = decode_in(
        b"{\"a\":\"x\xff\",\"b\":\"\\ud800\",\"c\xc3\":\"1\",\"d\":[\"\xc3\",\"\xa4\"],\"e\":\"\\ud83d\\ude00\"}",
        3,
        MAX,
    );
    assert_eq!(
        shown(&items),
        [
            "bad_utf8: line 1, column 6 (byte 5): app \"a\": the data is not UTF-8 (byte 1 of its text)",
            "bad_utf8: line 1, column 15 (byte 14): app \"b\": the data is not UTF-8 (byte 0 of its text)",
            "bad_utf8: line 1, column 25 (byte 24): app \"c\u{fffd}\": the app name is not UTF-8 (byte 1 of its text)",
            "bad_utf8: line 1, column 37 (byte 36): app \"d\": the data is not UTF-8 (byte 0 of its text)",
            "e=😀",
        ]
    );
}

#[test]
fn broken_syntax_ends_the_connection_at_its_first_wrong_byte() {
    let cases = [
        ("garbage", "line 1, column 1 (byte 0): expected a JSON object, found `g`"),
        (" \n[1]", "line 2, column 1 (byte 2): expected a JSON object, found `[`"),
        ("{} x", "line 1, column 4 (byte 3): expected a JSON object, found `x`"),
        ("{\"a\":\"1\"}}", "line 1, column 10 (byte 9): expected a JSON object, found `}`"),
        ("{'a':1}", "line 1, column 2 (byte 1): expected a quoted app name or `}`, found `'`"),
        ("{\"a\" \"b\"}", "line 1, column 6 (byte 5): expected `:`, found `\"`"),
        ("{\"a\":}", "line 1, column 6 (byte 5): expected a value, found `}`"),
        ("{\"a\":\"\",}", "line 1, column 9 (byte 8): expected a quoted app name, found `}`"),
        ("{\"a\":\"\"\n]", "line 2, column 1 (byte 8): expected `,` or `}`, found `]`"),
        ("{\"a\":[\"x\",]", "line 1, column 11 (byte 10): expected a value, found `]`"),
        ("{\"a\":[\"x\"}", "line 1, column 10 (byte 9): expected `,` or `]`, found `}`"),
        ("{\"a\":[,", "line 1, column 7 (byte 6): expected a value or `]`, found `,`"),
        (
            "{\"a\":\"x\ny\"",
            "line 1, column 8 (byte 7): the control character 0x0a in a string needs an escape",
        ),
        ("{\"a\":\"\\x\"", "line 1, column 8 (byte 7): `x` is not an escape"),
        (
            "{\"a\":\"\\u12g4\"",
            "line 1, column 11 (byte 10): expected a hexadecimal digit, found `g`",
        ),
        ("{\"a\":nil}", "line 1, column 6 (byte 5): nil is not a JSON value"),
        ("{\"a\":01}", "line 1, column 6 (byte 5): 01 is not a JSON value"),
        (
            "{\"a\":\u{a0}1}",
            "line 1, column 6 (byte 5): expected a value, found the byte 0xc2",
        ),
    ];
    for (stream, expected) in cases {
        let items = decode(stream);
        assert_eq!(shown(&items).last().unwrap(), &format!("!malformed: {expected}"));
    }
}

#[test]
fn nothing_of_a_broken_object_is_taken() {
    let items = decode(r#"{"a":"1"}{"b":"2","c":"3",,}{"d":"4"}"#);
    assert_eq!(
        shown(&items),
        [
            "a=1",
            "!malformed: line 1, column 27 (byte 26): expected a quoted app name, found `,`"
        ]
    );
}

#[test]
fn an_end_inside_an_object_is_told() {
    let items = decode("{\"a\":\"1\"}\n{\"b\":\"12");
    let end = "!truncated: line 2, column 1 (byte 10): the connection ended inside a message, of which 8 bytes arrived";
    assert_eq!(shown(&items), ["a=1", end]);
    assert_eq!(shown(&decode("{")).len(), 1);
    assert_eq!(shown(&decode("{}")), [""; 0]);
    assert_eq!(shown(&decode("\n")), [""; 0]);
    assert_eq!(
        shown(&decode("x")),
        ["!malformed: line 1, column 1 (byte 0): expected a JSON object, found `x`"]
    );
}

#[test]
fn a_byte_order_mark_is_let_pass_at_the_start_only() {
    assert_eq!(shown(&decode("\u{feff}{\"a\":\"1\"}")), ["a=1"]);
    assert_eq!(
        shown(&decode("\u{feff} x")),
        ["!malformed: line 1, column 2 (byte 4): expected a JSON object, found `x`"]
    );
    let second = "!malformed: line 1, column 3 (byte 2): expected a JSON object, found the byte 0xef";
    assert_eq!(shown(&decode("{}\u{feff}{}")), [second]);
}

#[test]
fn an_object_beyond_the_limit_is_refused_as_soon_as_that_is_known() {
    let object = br#"{"a":"123"}"#;
    assert_eq!(shown(&decode_in(object, 3, object.len())), ["a=123"]);
    let refused = "!too_large: line 1, column 1 (byte 0): the message is too large: it does not end within the limit (receiver.max_message_bytes is 10)";
    assert_eq!(shown(&decode_in(object, 3, 10)), [refused]);
    assert_eq!(shown(&decode_in(&object[..10], 3, 10)), [refused]);
    assert_eq!(
        decode_in(&[&b" ".repeat(99)[..], object].concat(), 7, object.len()).len(),
        1,
        "blanks between objects count for none"
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{{\"a\":{}{},\"b\":\"1\"}}", "[".repeat(depth), "]".repeat(depth));
    let deepest = MAX_DEPTH as usize - 1;
    assert_eq!(shown(&decode(&nested(deepest))).last().unwrap(), "b=1");
    let refused = "!malformed: line 1, column 69 (byte 68): nested deeper than 64 levels";
    assert_eq!(shown(&decode(&nested(deepest + 1))), [refused]);
}

#[test]
fn the_number_of_apps_in_an_object_is_bounded() {
    let object = |n: usize| format!("{{{}\"a\":\"\"}}", "\"a\":\"\",".repeat(n - 1));
    assert_eq!(shown(&decode_in(object(MAX_APPS_PER_OBJECT).as_bytes(), 65_536, 1 << 24)), ["a="]);
    let refused = decode_in(object(MAX_APPS_PER_OBJECT + 1).as_bytes(), 65_536, 1 << 24);
    assert_eq!(refused[0].as_ref().unwrap_err().fault, Fault::TooManyApps);
}

#[test]
fn lines_are_counted_over_objects() {
    let items = decode("\n{\n\"a\":\"1\"\n}\n\n  {\"b\":\n 1}");
    assert_eq!(
        items[1].as_ref().unwrap_err().position,
        Position {
            offset: 23,
            line: Some((7, 2))
        }
    );
}
