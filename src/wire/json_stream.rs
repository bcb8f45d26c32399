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

/// Limit of nesting in an object: two levels are useful; deeper values up to this limit lose only their app, beyond it the connection.
pub const MAX_DEPTH: u32 = 64;

/// Limit of keys per object: well above the default of `store.max_apps`, while their index, under a hundred bytes per key, takes at most
/// twice the default of `max_message_bytes` for an object of nothing but keys.
pub const MAX_APPS_PER_OBJECT: usize = 1 << 18;

/// The byte order mark of UTF-8, which is skipped at the start of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The decoder of one connection.
#[derive(Debug)]
pub(super) struct JsonStream {
    max: usize,
    lines: LineCounter,
    scan: Scan,
    /// The complete object at the front of the buffer that is being returned app by app.
    complete: Option<CompleteObject>,
    /// Buffer for unescaping strings, before a copy of exactly their size is made.
    scratch: Vec<u8>,
}

/// A complete object.
#[derive(Debug, Clone, Copy)]
struct CompleteObject {
    len: usize,
    /// Index of the next entry to return.
    next: usize,
}

impl JsonStream {
    /// A decoder for objects of up to `max` bytes.
    pub(super) const fn new(max: usize) -> Self {
        Self {
            max,
            lines: LineCounter::new(),
            scan: Scan::new(),
            complete: None,
            scratch: Vec::new(),
        }
    }

    /// Size of the next read: doubles the object, so that reallocations stay few.
    pub(super) fn room(&self, buffer: &Buffer) -> usize {
        buffer.len().min(self.max.saturating_sub(buffer.len()))
    }

    /// Memory of the current object's index.
    pub(super) fn index_bytes(&self) -> usize {
        self.scan.entries.capacity() * size_of::<AppEntry>()
    }

    /// The next app, if its object is complete.
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

    /// The refusal if the stream ends here.
    pub(super) fn finish(&self, buffer: &Buffer) -> Option<Refusal> {
        let fault = Fault::Truncated {
            received: buffer.len() as u64,
            expected: None,
        };
        (buffer.len() > 0).then(|| Refusal::without_app(self.position(buffer, 0), fault))
    }

    /// Scans the unread bytes. Returns true if an object is complete.
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

    /// Skips whitespace between objects. Returns true if other bytes follow.
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

    /// Removes the complete object.
    fn finish_object(&mut self, len: usize, buffer: &mut Buffer) {
        self.consume(len, buffer);
        self.scan.reset();
        self.complete = None;
        if self.scratch.capacity() > LARGEST_READ {
            self.scratch = Vec::new();
        }
    }

    /// Removes `n` bytes and counts their lines.
    fn consume(&mut self, n: usize, buffer: &mut Buffer) {
        self.lines = self.lines.at(buffer, n);
        buffer.consume(n);
    }

    /// The position of the unread byte `at`.
    fn position(&self, buffer: &Buffer, at: usize) -> Position {
        self.lines.at(buffer, at).position()
    }

    /// The next app of a complete object.
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
            // Kept, because faults come in order, and an object may be full of them.
            self.lines = self.lines.at(buffer, at);
            Refusal::of_app(&key(object, &entry), self.lines.position(), fault)
        }))
    }
}

/// Line count up to a byte of the stream.
#[derive(Debug, Clone, Copy)]
struct LineCounter {
    /// The stream offset of that byte.
    offset: u64,
    /// Its line, from 1.
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

    /// The count up to the unread byte `at`, which is not before the current one.
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

    /// The position of the byte.
    const fn position(self) -> Position {
        Position {
            offset: self.offset,
            line: Some((self.line, self.offset - self.start + 1)),
        }
    }
}

/// Marks all entries with a key that occurs again.
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

/// The unescaped key of an entry.
fn key<'a>(object: &'a [u8], entry: &AppEntry) -> Cow<'a, [u8]> {
    let raw = &object[entry.key.clone()];
    if plain(raw) == raw.len() {
        return Cow::Borrowed(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    unescape(&object[entry.key.start..], &mut text);
    Cow::Owned(text)
}

/// The app name of an entry.
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

/// Appends the strings of an array of strings, separated by newlines.
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
mod tests;
