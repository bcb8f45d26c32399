//! JSON objects, one after another, each mapping app names to metrics: a string, or an array of lines.

mod scan;
mod text;

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;

use self::scan::{AppEntry, Scan, ScanError};
use self::text::{plain, unescape};
use super::buffer::{Buffer, LARGEST_READ};
use super::{Fault, Inbound, MessagePart, Position, Refusal};
use crate::model::AppName;

/// How deep an object may be nested: two levels are of use, and what is deeper costs its app alone, up to here.
pub const MAX_DEPTH: u32 = 64;

/// How many keys one object may have: well above the default of `store.max_apps`, while the notes about them, under a hundred
/// bytes each, cost no more than twice the default of `max_message_bytes` when an object consists of nothing but keys.
pub const MAX_APPS_PER_OBJECT: usize = 1 << 18;

/// What some editors put before UTF-8 text; it is let pass at the start of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The decoder of one connection.
#[derive(Debug)]
pub(super) struct JsonStream {
    max: usize,
    lines: LineCounter,
    scan: Scan,
    /// The object at the front of the buffer is complete and being handed out.
    complete: Option<CompleteObject>,
    /// Where strings lose their escapes, before a copy of exactly their size is made.
    scratch: Vec<u8>,
}

/// A complete object.
#[derive(Debug, Clone, Copy)]
struct CompleteObject {
    len: usize,
    /// The first entry that has not been handed out.
    next: usize,
}

impl JsonStream {
    /// A decoder that takes objects of up to `max` bytes.
    pub(super) const fn new(max: usize) -> Self {
        Self {
            max,
            lines: LineCounter::new(),
            scan: Scan::new(),
            complete: None,
            scratch: Vec::new(),
        }
    }

    /// How much room to read into: as much again as an object already has, so that copies to larger buffers stay few.
    pub(super) fn room(&self, buffer: &Buffer) -> usize {
        buffer.len().min(self.max.saturating_sub(buffer.len()))
    }

    /// The memory that the notes about the object at hand take.
    pub(super) fn index_bytes(&self) -> usize {
        self.scan.entries.capacity() * size_of::<AppEntry>()
    }

    /// The next app, if its whole object is there.
    pub(super) fn next(&mut self, buffer: &mut Buffer) -> Option<Result<Inbound, Refusal>> {
        loop {
            if let Some(complete) = self.complete {
                if let Some(message) = self.next_app(complete, buffer) {
                    return Some(message);
                }
                self.finish_object(complete.len, buffer);
            }
            match self.advance(buffer) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(refusal) => return Some(Err(refusal)),
            }
        }
    }

    /// What is wrong with an end of the stream here.
    pub(super) fn finish(&self, buffer: &Buffer) -> Option<Refusal> {
        let fault = Fault::Truncated {
            received: buffer.len() as u64,
            expected: None,
        };
        (buffer.len() > 0).then(|| Refusal::without_app(self.position(buffer, 0), fault))
    }

    /// Scans on; whether an object is complete.
    fn advance(&mut self, buffer: &mut Buffer) -> Result<bool, Refusal> {
        if !self.scan.begun() && !self.skip_whitespace(buffer) {
            return Ok(false);
        }
        let unread = buffer.unread();
        let window = &unread[..unread.len().min(self.max)];
        match self.scan.run(window) {
            Ok(Some(len)) => {
                supersede(&mut self.scan.entries, window);
                self.complete = Some(CompleteObject { len, next: 0 });
                Ok(true)
            }
            Ok(None) if window.len() == self.max => {
                let fault = Fault::TooLarge {
                    declared: None,
                    limit: self.max as u64,
                };
                Err(Refusal::without_app(self.position(buffer, 0), fault))
            }
            Ok(None) => Ok(false),
            Err((at, fault)) => Err(Refusal::without_app(self.position(buffer, at), fault)),
        }
    }

    /// Takes what may stand between objects off the buffer; whether anything else is there.
    fn skip_whitespace(&mut self, buffer: &mut Buffer) -> bool {
        if buffer.offset() == 0 {
            let unread = buffer.unread();
            if unread.starts_with(BYTE_ORDER_MARK) {
                buffer.consume(BYTE_ORDER_MARK.len());
                self.lines.start = buffer.offset();
            } else if BYTE_ORDER_MARK.starts_with(unread) {
                return false;
            }
        }
        let blanks = buffer
            .unread()
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace() && **byte != b'\x0c')
            .count();
        self.consume(blanks, buffer);
        buffer.len() > 0
    }

    /// The object at the front is done with.
    fn finish_object(&mut self, len: usize, buffer: &mut Buffer) {
        self.consume(len, buffer);
        self.scan.reset();
        self.complete = None;
        if self.scratch.capacity() > LARGEST_READ {
            self.scratch = Vec::new();
        }
    }

    /// Takes `n` bytes off the buffer and counts their lines.
    fn consume(&mut self, n: usize, buffer: &mut Buffer) {
        self.lines = self.lines.at(buffer, n);
        buffer.consume(n);
    }

    /// The place of the unread byte `at`.
    fn position(&self, buffer: &Buffer, at: usize) -> Position {
        self.lines.at(buffer, at).position()
    }

    /// The next app of a whole object.
    fn next_app(&mut self, complete: CompleteObject, buffer: &Buffer) -> Option<Result<Inbound, Refusal>> {
        let rest = &self.scan.entries[complete.next..];
        let skipped = rest.iter().take_while(|entry| entry.superseded).count();
        let entry = rest.get(skipped)?.clone();
        self.complete = Some(CompleteObject {
            next: complete.next + skipped + 1,
            ..complete
        });
        let object = &buffer.unread()[..complete.len];
        let message = app(object, &entry).and_then(|app| {
            Ok(Inbound {
                app,
                data: data(object, &entry, &mut self.scratch)?,
            })
        });
        Some(message.map_err(|(at, fault)| {
            // Kept, because faults come in their order, and an object may be full of them.
            self.lines = self.lines.at(buffer, at);
            Refusal::of_app(&key(object, &entry), self.lines.position(), fault)
        }))
    }
}

/// LineCounter counted up to some byte of the stream.
#[derive(Debug, Clone, Copy)]
struct LineCounter {
    /// The offset in the stream of that byte.
    offset: u64,
    /// The line that it is in, from 1.
    line: u64,
    /// The offset of the first byte of that line.
    start: u64,
}

impl LineCounter {
    const fn new() -> Self {
        Self {
            offset: 0,
            line: 1,
            start: 0,
        }
    }

    /// The count up to the unread byte `at`, which comes no earlier than the one that was counted to.
    fn at(self, buffer: &Buffer, at: usize) -> Self {
        let counted = usize::try_from(self.offset.saturating_sub(buffer.offset())).unwrap_or(at).min(at);
        let bytes = &buffer.unread()[counted..at];
        let offset = buffer.offset() + at as u64;
        match memchr::memrchr(b'\n', bytes) {
            Some(last) => {
                let line = self.line + memchr::memchr_iter(b'\n', bytes).count() as u64;
                Self {
                    offset,
                    line,
                    start: offset - (bytes.len() - last) as u64 + 1,
                }
            }
            None => Self { offset, ..self },
        }
    }

    /// That byte's place.
    const fn position(self) -> Position {
        Position {
            offset: self.offset,
            line: Some((self.line, self.offset - self.start + 1)),
        }
    }
}

/// Marks all entries whose key comes again.
fn supersede(entries: &mut [AppEntry], object: &[u8]) {
    if entries.len() < 2 {
        return;
    }
    let mut last = HashMap::with_capacity_and_hasher(entries.len(), foldhash::fast::RandomState::default());
    for at in 0..entries.len() {
        if let Some(earlier) = last.insert(key(object, &entries[at]), at) {
            entries[earlier].superseded = true;
        }
    }
}

/// The key of an entry without its escapes.
fn key<'a>(object: &'a [u8], entry: &AppEntry) -> Cow<'a, [u8]> {
    let raw = &object[entry.key.clone()];
    if plain(raw) == raw.len() {
        return Cow::Borrowed(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    unescape(&object[entry.key.start..], &mut text);
    Cow::Owned(text)
}

/// The app that an entry is about.
fn app(object: &[u8], entry: &AppEntry) -> Result<AppName, ScanError> {
    let name = key(object, entry);
    let wrong = |fault| (entry.key.start, fault);
    let text = str::from_utf8(&name).map_err(|e| {
        wrong(Fault::Utf8 {
            part: MessagePart::AppName,
            at: e.valid_up_to(),
        })
    })?;
    AppName::new(text).map_err(|e| wrong(e.into()))
}

/// The metrics of an entry.
fn data(object: &[u8], entry: &AppEntry, scratch: &mut Vec<u8>) -> Result<Bytes, ScanError> {
    if let Some((at, found)) = entry.wrong_type {
        return Err((at, Fault::Value(found)));
    }
    scratch.clear();
    let inside = &object[entry.value + 1..];
    if object[entry.value] == b'"' {
        unescape(inside, scratch);
    } else {
        join(inside, scratch);
    }
    match str::from_utf8(scratch) {
        Ok(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Err(e) => Err((
            entry.value,
            Fault::Utf8 {
                part: MessagePart::Data,
                at: e.valid_up_to(),
            },
        )),
    }
}

/// Appends the strings of an array that holds nothing else, with a newline between each two.
fn join(array: &[u8], out: &mut Vec<u8>) {
    let mut rest = array;
    let mut first = true;
    while let Some(begin) = rest
        .iter()
        .position(|&byte| byte == b'"' || byte == b']')
        .filter(|&at| rest[at] == b'"')
    {
        if !first {
            out.push(b'\n');
        }
        first = false;
        let inside = &rest[begin + 1..];
        rest = &inside[unescape(inside, out)..];
    }
}

#[cfg(test)]
#[path = "json_stream/tests.rs"]
mod tests;
