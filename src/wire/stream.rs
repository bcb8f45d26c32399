//! One decoder for whatever a connection speaks.

use bytes::buf::Limit;

use super::buffer::Buffer;
use super::capnp_stream::CapnpStream;
use super::json_stream::JsonStream;
use super::sniff::{PREFIX, sniff};
use super::{Fault, ForeignFormat, FormatChoice, Inbound, Position, Refusal};
use crate::model::Format;

/// Turns the bytes of one connection into messages.
///
/// The reader's loop: read into [`Self::spare`] (tokio's `try_read_buf` takes it as it is), take all that the iterator
/// gives, which ends with `None` when more bytes are needed and goes on after them, and call [`Self::finish`] at the end of
/// the stream. After a refusal that [ends the connection](Refusal::ends_connection) nothing is held and nothing comes any more.
#[derive(Debug)]
pub struct StreamDecoder {
    choice: FormatChoice,
    max: usize,
    buffer: Buffer,
    state: DecoderState,
    /// The first bytes of the connection, as long as no message has come of them.
    start: Option<StreamPrefix>,
}

/// The bytes by which a stream is named that begins with no message: as many as are always there when that turns out.
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
    /// Broken, or finished, with the format that was spoken.
    Over(Option<Format>),
}

impl StreamDecoder {
    /// A decoder that takes messages of up to `max_message_bytes`, a JSON object or a framed Cap'n Proto message each.
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

    /// Where to put the next bytes: room for the rest of a message whose size is known, else for a read's worth, at most for
    /// `allow` bytes (and at least for one, because a read into no room looks like the end of a stream).
    pub fn spare(&mut self, allow: usize) -> Limit<&mut Vec<u8>> {
        let wanted = match &self.state {
            DecoderState::Json(json) => json.room(&self.buffer),
            DecoderState::Capnp(capnp) => capnp.missing(&self.buffer).unwrap_or(0),
            DecoderState::Sniffing | DecoderState::Over(_) => 0,
        };
        self.buffer.spare(wanted, allow)
    }

    /// The end of the stream has come: what is wrong with that, if anything is.
    ///
    /// To be called once the iterator gave `None`; nothing is held afterwards.
    pub fn finish(&mut self) -> Option<Refusal> {
        if matches!(self.state, DecoderState::Sniffing) {
            // Three bytes hold no message, but they may well be wrong.
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

    /// How many received bytes are held. Once the iterator gave `None`, at most one incomplete message of up to `max_message_bytes`.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// How much memory the message at hand takes, for a budget over all connections: its bytes and what is noted about them, which can
    /// be several times as much where an object has many short keys.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        let index = match &self.state {
            DecoderState::Json(json) => json.index_bytes(),
            DecoderState::Capnp(_) | DecoderState::Sniffing | DecoderState::Over(_) => 0,
        };
        self.buffer.len() + index
    }

    /// Whether a message has begun and is not complete, so that a silent sender is a stalled one.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        self.buffer.len() > 0
    }

    /// How many bytes the message at hand still lacks, where its header told.
    #[must_use]
    pub fn missing(&self) -> Option<usize> {
        match &self.state {
            DecoderState::Capnp(capnp) => capnp.missing(&self.buffer),
            DecoderState::Json(_) | DecoderState::Sniffing | DecoderState::Over(_) => None,
        }
    }

    /// What the connection speaks, once that is known.
    #[must_use]
    pub const fn format(&self) -> Option<Format> {
        match self.state {
            DecoderState::Json(_) => Some(Format::Json),
            DecoderState::Capnp(_) => Some(Format::Capnp),
            DecoderState::Over(format) => format,
            DecoderState::Sniffing => None,
        }
    }

    /// Gives back the memory that holds no bytes; worth calling before waiting for a sender that may stay silent for long.
    pub fn release(&mut self) {
        self.buffer.release();
    }

    /// Decides on the format if that is still open and can be: nothing while it is too early.
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

    /// A refusal of a stream's first message, which says what the stream is if that is known.
    fn named(&self, mut refusal: Refusal) -> Refusal {
        let unread = matches!(refusal.fault, Fault::Syntax(_) | Fault::WrongFormat { .. });
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

    /// Nothing more is read from here.
    fn end(&mut self) {
        self.state = DecoderState::Over(self.format());
        self.buffer.discard();
    }
}

impl Iterator for StreamDecoder {
    type Item = Result<Inbound, Refusal>;

    /// The next thing that is complete; `None` when more bytes are needed.
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
#[path = "stream_tests.rs"]
mod tests;
