//! A stream of `InboundMetrics` messages in Cap'n Proto's standard framing (<https://capnproto.org/encoding.html>, "Serialization
//! Over a Stream"): the number of segments less one, the size of each in words, padding to a whole word, then the segments.

use bytes::Bytes;
use capnp::message::{Reader, ReaderOptions, SegmentArray};

use super::buffer::Buffer;
use super::schema::inbound_metrics_capnp::inbound_metrics;
use super::{Fault, Inbound, MessagePart, Position, Refusal};
use crate::model::AppName;

/// Limit of segments per message, as in Cap'n Proto's own implementations: builders with growing segments need far fewer, and the table
/// of sizes stays within 2 kB.
pub const MAX_SEGMENTS: usize = 512;

/// Limit of pointer nesting in a message: a struct and its texts.
const NESTING: i32 = 4;

/// Limit of traversals of a message's words: both texts may share the same bytes.
const TRAVERSALS: usize = 2;

/// Bytes per word, the unit of all sizes.
const WORD: usize = 8;

/// Sizes of a message from its header, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    segments: usize,
    table: usize,
    total: usize,
}

/// The decoder of one connection.
#[derive(Debug)]
pub(super) struct CapnpStream {
    max: usize,
    frame: Option<Frame>,
}

impl CapnpStream {
    /// A decoder for messages of up to `max` bytes, header included.
    pub(super) const fn new(max: usize) -> Self {
        Self { max, frame: None }
    }

    /// Number of missing bytes of the current message, once its header has arrived.
    pub(super) fn missing(&self, buffer: &Buffer) -> Option<usize> {
        self.frame.map(|frame| frame.total.saturating_sub(buffer.len()))
    }

    /// The next message, if it is complete.
    pub(super) fn next(&mut self, buffer: &mut Buffer) -> Option<Result<Inbound, Refusal>> {
        let position = Position {
            offset: buffer.offset(),
            line: None,
        };
        if self.frame.is_none() {
            match read_header(buffer.unread(), self.max) {
                Ok(frame) => self.frame = frame,
                Err(fault) => return Some(Err(Refusal::without_app(position, fault))),
            }
        }
        let frame = self.frame.filter(|frame| frame.total <= buffer.len())?;
        self.frame = None;
        let message = decode(frame, &buffer.unread()[..frame.total], position);
        buffer.consume(frame.total);
        Some(message)
    }

    /// The refusal if the stream ends here.
    pub(super) fn finish(&self, buffer: &Buffer) -> Option<Refusal> {
        let position = Position {
            offset: buffer.offset(),
            line: None,
        };
        let expected = self.frame.map(|frame| frame.total as u64);
        (buffer.len() > 0).then(|| {
            Refusal::without_app(
                position,
                Fault::Truncated {
                    received: buffer.len() as u64,
                    expected,
                },
            )
        })
    }
}

/// Reads the table of sizes; `None` while it is incomplete. Sizes above `max` are refused before any allocation.
fn read_header(bytes: &[u8], max: usize) -> Result<Option<Frame>, Fault> {
    let Some(count) = word_half(bytes, 0) else { return Ok(None) };
    let segments = u64::from(count) + 1;
    if segments > MAX_SEGMENTS as u64 {
        return Err(Fault::Syntax(format!(
            "a Cap'n Proto message of {segments} segments, at most {MAX_SEGMENTS} are accepted"
        )));
    }
    let segments = count as usize + 1;
    let table = (4 + 4 * segments).next_multiple_of(WORD);
    let Some(sizes) = bytes.get(4..4 + 4 * segments) else {
        return Ok(None);
    };
    let words: u64 = sizes.chunks_exact(4).map(|size| u64::from(word_half(size, 0).unwrap_or(0))).sum();
    let total = table as u64 + words * WORD as u64;
    match usize::try_from(total) {
        Ok(total) if total <= max => Ok(Some(Frame { segments, table, total })),
        _ => Err(Fault::TooLarge {
            declared: Some(total),
            limit: max as u64,
        }),
    }
}

/// The little-endian 32-bit number at `at`, if it has arrived.
fn word_half(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// Decodes one complete message, table included.
fn decode(frame: Frame, message: &[u8], position: Position) -> Result<Inbound, Refusal> {
    let (table, body) = message.split_at(frame.table);
    if frame.segments == 1 {
        return read(&[body], position);
    }
    let mut rest = body;
    let segments: Vec<&[u8]> = table[4..4 + 4 * frame.segments]
        .chunks_exact(4)
        .map(|size| {
            let (segment, behind) = rest.split_at(word_half(size, 0).unwrap_or(0) as usize * WORD);
            rest = behind;
            segment
        })
        .collect();
    read(&segments, position)
}

/// Decodes the struct from its segments. The data is copied once, to exactly its size.
fn read(segments: &[&[u8]], position: Position) -> Result<Inbound, Refusal> {
    let content = |e: capnp::Error| Refusal::without_app(position, Fault::Content(e.to_string()));
    let words: usize = segments.iter().map(|segment| segment.len() / WORD).sum();
    let options = ReaderOptions {
        traversal_limit_in_words: Some(words * TRAVERSALS),
        nesting_limit: NESTING,
    };
    let reader = Reader::new(SegmentArray::new(segments), options);
    let root: inbound_metrics::Reader<'_> = reader.get_root().map_err(content)?;
    let name = root.get_app_name().map_err(content)?.as_bytes();
    let of_app = |fault: Fault| Refusal::of_app(name, position, fault);
    let text = str::from_utf8(name).map_err(|e| {
        of_app(Fault::Utf8 {
            part: MessagePart::AppName,
            at: e.valid_up_to(),
        })
    })?;
    let app = AppName::new(text).map_err(|e| of_app(e.into()))?;
    let data = root.get_data().map_err(|e| of_app(Fault::Content(e.to_string())))?.as_bytes();
    // Looking for bytes beyond ASCII takes a third of the time of validation.
    if !data.is_ascii()
        && let Err(e) = str::from_utf8(data)
    {
        return Err(of_app(Fault::Utf8 {
            part: MessagePart::Data,
            at: e.valid_up_to(),
        }));
    }
    Ok(Inbound {
        app,
        data: Bytes::copy_from_slice(data),
    })
}

#[cfg(test)]
mod tests;
