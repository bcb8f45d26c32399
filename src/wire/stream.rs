//! Decoder for all formats of receivers.

use bytes::buf::Limit;

use super::buffer::Buffer;
use super::capnp_stream::CapnpStream;
use super::json_stream::JsonStream;
use super::sniff::{PREFIX, is_http, sniff};
use super::{Fault, ForeignFormat, FormatChoice, Inbound, Position, Refusal};
use crate::model::Format;

/// Decoder for the bytes of one connection.
///
/// Read loop: read into [`Self::spare`] (usable with tokio's `try_read_buf`), take all items of the iterator, which returns `None` while
/// more bytes are needed, and call [`Self::finish`] at the end of the stream. After a refusal that
/// [ends the connection](Refusal::ends_connection) the buffer is empty and no more items follow.
#[derive(Debug)]
pub struct StreamDecoder {
    choice: FormatChoice,
    max: usize,
    buffer: Buffer,
    state: DecoderState,
    /// The first bytes of the connection, until the first message is complete.
    start: Option<StreamPrefix>,
}

/// The first bytes of a stream, by which a foreign format is recognized. As many as are always present at the first error.
#[derive(Debug, Clone, Copy)]
struct StreamPrefix {
    bytes: [u8; PREFIX],
    len: usize,
}

#[derive(Debug)]
enum DecoderState {
    Sniffing,
    Json(JsonStream),
    Capnp(CapnpStream),
    /// Broken or finished, with the format of the connection.
    Over(Option<Format>),
}

impl StreamDecoder {
    /// A decoder for messages of up to `max_message_bytes`: JSON objects, or framed Cap'n Proto messages.
    #[must_use]
    pub const fn new(choice: FormatChoice, max_message_bytes: usize) -> Self {
        Self {
            choice,
            max: max_message_bytes,
            buffer: Buffer::new(),
            state: DecoderState::Sniffing,
            start: Some(StreamPrefix {
                bytes: [0; PREFIX],
                len: 0,
            }),
        }
    }

    /// The buffer for the next read: large enough for the rest of a message of known size, else for one read; at most `allow` bytes, and
    /// at least one, because a read of zero bytes means end of stream.
    pub fn spare(&mut self, allow: usize) -> Limit<&mut Vec<u8>> {
        let wanted = match &self.state {
            DecoderState::Json(json) => json.room(&self.buffer),
            DecoderState::Capnp(capnp) => capnp.missing(&self.buffer).unwrap_or(0),
            DecoderState::Sniffing | DecoderState::Over(_) => 0,
        };
        self.buffer.spare(wanted, allow)
    }

    /// Handles the end of the stream. Returns a refusal if the last message is incomplete.
    ///
    /// Call it after the iterator returned `None`; the buffer is empty afterwards.
    pub fn finish(&mut self) -> Option<Refusal> {
        if matches!(self.state, DecoderState::Sniffing) {
            // Three bytes are never a message, but they may be invalid.
            self.note_start();
            let refusal = self.choose(true)?.err().map(|refusal| self.named(refusal));
            let refusal = refusal.or_else(|| self.next()?.err());
            if refusal.is_some() {
                return refusal;
            }
        }
        let refusal = match &self.state {
            DecoderState::Json(json) => json.finish(&self.buffer),
            DecoderState::Capnp(capnp) => capnp.finish(&self.buffer),
            DecoderState::Sniffing | DecoderState::Over(_) => None,
        };
        self.end();
        refusal
    }

    /// Number of buffered bytes. After the iterator returned `None`, at most one incomplete message of up to `max_message_bytes`.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Memory of the current message, for the budget of all connections: its bytes, and the index of a JSON object, which can be several
    /// times as large if the object has many short keys.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        let index = match &self.state {
            DecoderState::Json(json) => json.index_bytes(),
            DecoderState::Capnp(_) | DecoderState::Sniffing | DecoderState::Over(_) => 0,
        };
        self.buffer.len() + index
    }

    /// Returns true if a message has begun and is incomplete, so that a silent sender counts as stalled.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        self.buffer.len() > 0
    }

    /// Number of missing bytes of the current message, if its header contains the size.
    #[must_use]
    pub fn missing(&self) -> Option<usize> {
        match &self.state {
            DecoderState::Capnp(capnp) => capnp.missing(&self.buffer),
            DecoderState::Json(_) | DecoderState::Sniffing | DecoderState::Over(_) => None,
        }
    }

    /// The format of the connection, once it is known.
    #[must_use]
    pub const fn format(&self) -> Option<Format> {
        match self.state {
            DecoderState::Json(_) => Some(Format::Json),
            DecoderState::Capnp(_) => Some(Format::Capnp),
            DecoderState::Over(format) => format,
            DecoderState::Sniffing => None,
        }
    }

    /// Returns true if the stream starts with an HTTP request in place of a message.
    #[must_use]
    pub fn is_http(&self) -> bool {
        self.start.as_ref().is_some_and(|start| is_http(&start.bytes[..start.len]))
    }

    /// Frees unused buffer memory; useful before waiting for a sender that may be silent for long.
    pub fn release(&mut self) {
        self.buffer.release();
    }

    /// Detects the format if it is not known yet; `None` while there are too few bytes.
    fn choose(&mut self, end: bool) -> Option<Result<(), Refusal>> {
        if !matches!(self.state, DecoderState::Sniffing) {
            return Some(Ok(()));
        }
        if self.buffer.len() == 0 {
            return None;
        }
        let found = sniff(self.buffer.unread(), end)?;
        if let Some(wanted) = self.choice.only().filter(|&only| only != found) {
            self.state = DecoderState::Over(Some(found));
            self.buffer.discard();
            return Some(Err(Refusal::without_app(Position::default(), Fault::WrongFormat { wanted, found })));
        }
        self.state = match found {
            Format::Capnp => DecoderState::Capnp(CapnpStream::new(self.max)),
            _ => DecoderState::Json(JsonStream::new(self.max)),
        };
        Some(Ok(()))
    }

    /// Keeps the first bytes of the connection for [`Self::named`].
    fn note_start(&mut self) {
        if let Some(start) = self.start.as_mut().filter(|start| start.len < PREFIX && self.buffer.offset() == 0) {
            let first = self.buffer.unread();
            start.len = first.len().min(PREFIX);
            start.bytes[..start.len].copy_from_slice(&first[..start.len]);
        }
    }

    /// Replaces the fault of the first message by the name of a foreign format, if it is recognized.
    fn named(&self, mut refusal: Refusal) -> Refusal {
        let unread = matches!(refusal.fault, Fault::Syntax(_) | Fault::WrongFormat { .. });
        if unread && self.is_http() {
            refusal.fault =
                Fault::Syntax("this is an HTTP request; a receiver takes JSON objects and unpacked Cap'n Proto messages".to_owned());
            return refusal;
        }
        let start = self.start.as_ref().filter(|_| unread);
        let foreign = start.and_then(|start| ForeignFormat::of(&start.bytes[..start.len]));
        if let Some(foreign) =
            foreign.filter(|foreign| !matches!(foreign, ForeignFormat::Json | ForeignFormat::Capnp | ForeignFormat::Binary))
        {
            refusal.fault = Fault::Syntax(format!(
                "this is {foreign}; a receiver takes JSON objects and unpacked Cap'n Proto messages"
            ));
        }
        refusal
    }

    /// Stops decoding.
    fn end(&mut self) {
        self.state = DecoderState::Over(self.format());
        self.buffer.discard();
    }
}

impl Iterator for StreamDecoder {
    type Item = Result<Inbound, Refusal>;

    /// The next complete message or refusal; `None` if more bytes are needed.
    fn next(&mut self) -> Option<Self::Item> {
        self.note_start();
        if let Err(refusal) = self.choose(false)? {
            return Some(Err(self.named(refusal)));
        }
        let item = match &mut self.state {
            DecoderState::Json(json) => json.next(&mut self.buffer),
            DecoderState::Capnp(capnp) => capnp.next(&mut self.buffer),
            DecoderState::Sniffing | DecoderState::Over(_) => {
                self.buffer.discard();
                None
            }
        };
        match item {
            Some(Err(refusal)) => {
                let refusal = self.named(refusal);
                if refusal.ends_connection() {
                    self.end();
                }
                Some(Err(refusal))
            }
            Some(Ok(message)) => {
                self.start = None;
                Some(Ok(message))
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests;
