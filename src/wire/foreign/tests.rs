#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

#[test]
fn formats_are_told_by_how_they_begin() {
    let capnp = crate::wire::encode(&crate::model::AppName::new("a").unwrap(), "m 1\n");
    for (data, expected) in [
        (&b"\x1f\x8b\x08\x00\x00"[..], Some(ForeignFormat::Gzip)),
        (b"\x28\xb5\x2f\xfd\x04", Some(ForeignFormat::Zstd)),
        (b"\xff\xfeu\0p\0", Some(ForeignFormat::Utf16)),
        (b"\xfe\xff\0u\0p", Some(ForeignFormat::Utf16)),
        (b"u\0p\0 \x001\0", Some(ForeignFormat::Utf16)),
        (b"\0u\0p\0 \x001", Some(ForeignFormat::Utf16)),
        (b"#\0 \0a\0\n\0m\0 \x001\0", Some(ForeignFormat::Utf16)),
        (b"\0#\0 \0a\0\n\0m\0 \x001", Some(ForeignFormat::Utf16)),
        (b"#\0\"\0\0\x18\nm 1\n", None),
        (
            b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nm 1\n",
            Some(ForeignFormat::Multipart),
        ),
        (b"\r\n\xef\xbb\xbf<a/>", None),
        (b"\xef\xbb\xbf \n<html>", Some(ForeignFormat::Markup)),
        (b"{\"m\": 1}", Some(ForeignFormat::Json)),
        (b" { \"a\\\"\" : [", Some(ForeignFormat::Json)),
        (b"{}", Some(ForeignFormat::Json)),
        (b"[{\"labels\": {}}]", Some(ForeignFormat::Json)),
        (b"{\"m.n\"} 1\n", None),
        (b"{\"m.n\",a=\"b\"} 1\n", None),
        (b"{\"m", None),
        (b"{} 1\n", None),
        (
            b"\x20\x0a\x05hello\x12\x03abc\x18\x01\x22\x0b\x1a\x09\x09\0\0\0\0\0\0\xf0\x3f",
            Some(ForeignFormat::Protobuf),
        ),
        (b"\xd3\x01\x0a\x0ego_gc", Some(ForeignFormat::Protobuf)),
        (b"\x0a\x05hello\x12\x03abc", Some(ForeignFormat::Protobuf)),
        (b"\x0a#HELP hello", None),
        (&capnp, Some(ForeignFormat::Capnp)),
        (&capnp.repeat(2), Some(ForeignFormat::Capnp)),
        (&capnp[..capnp.len() - 1], Some(ForeignFormat::Binary)),
        (b"\x10\x05\x40\x02\x11\x05\x0a", Some(ForeignFormat::PackedCapnp)),
        (b"\x30\x05\x01\x40\x02", Some(ForeignFormat::PackedCapnp)),
        (b"\x7fELF\0", Some(ForeignFormat::Binary)),
        (b"\x0a\x05\x0a\x03\x12", Some(ForeignFormat::Binary)),
        (b"m{a=\"\0\"} 1\nn{\n", None),
        (b"# HELP m \0\nm{\n", None),
        (b"m 1\nn\x01 2\n", None),
        (b"# TYPE m gauge\nm 1\n", None),
        (b"just words", None),
        (b"", None),
    ] {
        assert_eq!(ForeignFormat::of(data), expected, "{:?}", String::from_utf8_lossy(data));
    }
}

#[test]
fn four_bytes_are_enough_for_what_a_receiver_cannot_read() {
    for (data, expected) in [
        (b"\x1f\x8b\x08\x00", ForeignFormat::Gzip),
        (b"\xff\xfe{\0", ForeignFormat::Utf16),
        (b"\0{\0\"", ForeignFormat::Utf16),
        (b"\x20\x0a\x05h", ForeignFormat::Protobuf),
        (b"\x80\x01\x0a\x05", ForeignFormat::Protobuf),
        (b"\x10\x05\x40\x02", ForeignFormat::PackedCapnp),
        (b"\x30\x05\x01\x40", ForeignFormat::PackedCapnp),
        (b"----", ForeignFormat::Multipart),
    ] {
        assert_eq!(ForeignFormat::of(data), Some(expected), "{data:?}");
    }
}

proptest! {
    #[test]
    fn lines_of_a_metric_are_nothing_else(name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,40}", lead in "[ \t\r\n]{0,3}", help in "[^\n]{0,40}") {
        let good = [
            format!("{lead}{name} 1\n"),
            format!("{lead}# HELP {name} {help}\n{name} 1\n"),
            format!("{lead}{{\"{name}\",a=\"{}\"}} 1\n", help.replace(['\\', '"'], "")),
        ];
        for text in good {
            prop_assert_eq!(ForeignFormat::of(text.as_bytes()), None, "{:?}", text);
        }
    }
}
