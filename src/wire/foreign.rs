//! Recognition of other formats that are sent instead of exposition text, by their first bytes, so that a refusal can name them.

use std::fmt;

/// The byte order mark of UTF-8, which may precede any text format.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes that are searched for binary data: the first line of nearly every text.
const PROBE_BYTES: usize = 512;

/// A format other than exposition text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignFormat {
    /// A gzip member.
    Gzip,
    /// A Zstandard frame.
    Zstd,
    /// Text in UTF-16, of either byte order.
    Utf16,
    /// The parts of an HTML form, as `curl -F` sends them.
    Multipart,
    /// A JSON object or array.
    Json,
    /// HTML or XML.
    Markup,
    /// Metric families of Prometheus's protobuf format, with or without their lengths.
    Protobuf,
    /// A complete Cap'n Proto message in standard framing.
    Capnp,
    /// Cap'n Proto in its packed encoding.
    PackedCapnp,
    /// Binary data of unknown format.
    Binary,
}

/// A test of the first bytes.
type Sign = fn(&[u8]) -> bool;

impl ForeignFormat {
    /// Recognizes the format of `data`; `None` if it may be text.
    ///
    /// Meant for data that was refused as text: it examines mostly the start, so it may misjudge a text with a bad first line.
    #[must_use]
    pub fn of(data: &[u8]) -> Option<Self> {
        let signs: [(Self, Sign); 9] = [
            (Self::Gzip, |data| data.starts_with(b"\x1f\x8b\x08")),
            (Self::Zstd, |data| data.starts_with(b"\x28\xb5\x2f\xfd")),
            (Self::Utf16, is_utf16),
            (Self::Multipart, |data| data.starts_with(b"--")),
            (Self::Markup, |data| text_start(data).starts_with(b"<")),
            (Self::Json, |data| is_json(text_start(data))),
            (Self::PackedCapnp, is_packed_capnp),
            (Self::Capnp, is_capnp),
            (Self::Protobuf, is_protobuf),
        ];
        let known = signs.into_iter().find(|(_, is)| is(data)).map(|(foreign, _)| foreign);
        known.or_else(|| is_binary(data).then_some(Self::Binary))
    }
}

impl fmt::Display for ForeignFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "Zstandard data",
            Self::Utf16 => "text in UTF-16",
            Self::Multipart => "a multipart form",
            Self::Json => "JSON",
            Self::Markup => "a page of HTML or XML",
            Self::Protobuf => "protobuf",
            Self::Capnp => "Cap'n Proto",
            Self::PackedCapnp => "packed Cap'n Proto",
            Self::Binary => "binary data",
        })
    }
}

/// The text without byte order mark and leading whitespace.
fn text_start(data: &[u8]) -> &[u8] {
    data.strip_prefix(MARK).unwrap_or(data).trim_ascii_start()
}

/// Tests for a byte order mark of UTF-16, or two ASCII characters in that encoding.
///
/// In a comment a text may have zeros as well, so the first line has to end as it does in that encoding.
fn is_utf16(data: &[u8]) -> bool {
    let ascii = |byte: u8| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~');
    let ends_with_zero = || {
        let after_line = memchr::memchr(b'\n', data).and_then(|end| data.get(end + 1));
        after_line.is_none_or(|byte| *byte == 0)
    };
    match data {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [0, a, 0, b, ..] => ascii(*a) && ascii(*b),
        [a, 0, b, 0, ..] => ascii(*a) && ascii(*b) && ends_with_zero(),
        _ => false,
    }
}

/// Tests for an array or an object. An exposition with a quoted metric name also begins with a brace.
fn is_json(text: &[u8]) -> bool {
    let Some(inside) = text.strip_prefix(b"{").map(<[u8]>::trim_ascii_start) else {
        return text.starts_with(b"[");
    };
    let Some(mut rest) = inside.strip_prefix(b"\"") else {
        return inside.starts_with(b"}") && inside[1..].trim_ascii().is_empty();
    };
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return rest[at + 1..].trim_ascii_start().starts_with(b":");
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    false
}

/// Tests for one or more complete messages by their segment tables.
fn is_capnp(mut data: &[u8]) -> bool {
    const WORD: usize = 8;
    let number = |data: &[u8], at: usize| {
        let bytes = data.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let mut messages = 0;
    while !data.is_empty() {
        let Some(last) = number(data, 0).filter(|last| *last < super::MAX_SEGMENTS) else {
            return false;
        };
        let table = (4 + 4 * (last + 1)).next_multiple_of(WORD);
        let words: Option<usize> = (0..=last).map(|segment| number(data, 4 + 4 * segment)).sum();
        let Some(rest) = words.and_then(|words| data.get(table + words.checked_mul(WORD)?..)) else {
            return false;
        };
        (data, messages) = (rest, messages + 1);
    }
    messages > 0
}

/// Tests for one segment of less than 16 MiB that begins with a pointer to a structure of two texts. In the packed encoding each word is
/// written as a byte with a bit for each byte that is not zero, and those bytes.
fn is_packed_capnp(data: &[u8]) -> bool {
    const SIZE_BYTES: u8 = 0b0111_0000;
    let Some((&tag, rest)) = data.split_first() else { return false };
    let known = tag & !SIZE_BYTES == 0 && tag != 0;
    let size = tag.count_ones() as usize;
    known && rest.get(size) == Some(&0b0100_0000) && rest.get(size + 1).is_none_or(|pointers| *pointers == 2)
}

/// Tests for a metric family at the start: its field 1 is its name, and stands first.
fn is_protobuf(data: &[u8]) -> bool {
    is_family(data, None) || varint(data).is_some_and(|(length, rest)| is_family(rest, Some(length)))
}

fn is_family(data: &[u8], length: Option<usize>) -> bool {
    const NAME: u8 = 0x0a;
    const OTHER_FIELDS: [u8; 4] = [0x12, 0x18, 0x22, 0x2a];
    let Some((name_length, rest)) = data.strip_prefix(&[NAME]).and_then(varint) else {
        return false;
    };
    let fits = name_length > 0 && length.is_none_or(|length| name_length < length);
    let name = &rest[..rest.len().min(name_length)];
    // As much of it as there is.
    let is_name = name
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.' | b'-' | b'/' | 0x80..));
    let is_all = length.is_some_and(|length| data.len() - rest.len() + name_length == length);
    fits && is_name && (is_all || rest.get(name_length).is_none_or(|field| OTHER_FIELDS.contains(field)))
}

/// A number as protobuf writes lengths, and what follows it.
fn varint(data: &[u8]) -> Option<(usize, &[u8])> {
    const MOST: usize = 4;
    let end = data.iter().take(MOST).position(|byte| byte & 0x80 == 0)?;
    let number = data[..=end]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 7 | usize::from(byte & 0x7f));
    Some((number, &data[end + 1..]))
}

/// Looks for a control character on the first line; inside quotes and in comments a text may have some.
fn is_binary(data: &[u8]) -> bool {
    let head = text_start(&data[..data.len().min(PROBE_BYTES)]);
    let before = head
        .iter()
        .position(|byte| matches!(byte, b'\n' | b'"' | b'#'))
        .unwrap_or(head.len());
    head[..before]
        .iter()
        .any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests;
