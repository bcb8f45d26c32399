//! OpenMetrics 2.0 to the messages and the text that the store keeps.
//!
//! A family goes on as a protobuf message, which has room for composite values, start times and exemplars. Protobuf lacks the types info and
//! stateset; the lines of those are lines of OpenMetrics 1.0, and go on as such.

mod composite;
mod cursor;
mod family;
mod metric;

use std::borrow::Cow;
use std::collections::HashSet;

use crate::family::MetricType;
use crate::fault::{Fault, Faults, MAX_FAULTS_KEPT};
use crate::hash::name_hash;
use crate::index::Exposition;
use crate::protobuf::{self, DecodeError, DecodeErrorKind};
use crate::syntax::Syntax;

use cursor::LineCursor;
use family::Family;

/// A fault: the byte in its line, and the reason.
type LineFault = (usize, Cow<'static, str>);

/// A body that is longer as the text of OpenMetrics 1.0 than its limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column 1: as text of OpenMetrics 1.0 the metrics are longer than {limit} bytes, the limit for a body")]
pub struct TextTooLong {
    /// The line, from 1.
    pub line: u32,
    /// The limit in bytes.
    pub limit: usize,
}

/// Reads a body of OpenMetrics 2.0. Lines that cannot be used are left out and listed in [`Exposition::faults`]; the format says that a body
/// with one is to be refused. The text of OpenMetrics 1.0 that is kept may have `max_text` bytes.
///
/// # Errors
/// If that text is longer: a histogram repeats its name and labels there for each bucket.
pub fn parse(body: &[u8], max_text: usize) -> Result<Exposition, TextTooLong> {
    let mut reader = BodyReader::new(body);
    reader.read();
    reader.finish(max_text)
}

/// A part of what was written for a line: its offset, and the line. Eight bytes, because there is one for each line.
#[derive(Debug, Clone, Copy)]
struct Written {
    at: u32,
    line: u32,
}

impl Written {
    fn new(at: usize, line: u32) -> Self {
        Self {
            at: u32::try_from(at).unwrap_or(u32::MAX),
            line,
        }
    }
}

/// The reader of the lines of a body.
struct BodyReader<'a> {
    body: &'a [u8],
    family: Family,
    /// The hashes of the names of all families so far: bounded by the body.
    names: HashSet<u64>,
    /// Messages, and what was written of them for each line.
    messages: Vec<u8>,
    lines: Vec<Written>,
    /// Lines of OpenMetrics 1.0.
    text: Vec<u8>,
    text_lines: Vec<Written>,
    faults: Vec<Fault>,
    total: u64,
    /// Exemplars that are left out, and the first of them.
    exemplars: u64,
    first_exemplar: Option<Box<Fault>>,
    line: u32,
    /// The offset of the line.
    start: usize,
}

impl<'a> BodyReader<'a> {
    fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            family: Family::default(),
            names: HashSet::new(),
            messages: Vec::new(),
            lines: Vec::new(),
            text: Vec::new(),
            text_lines: Vec::new(),
            faults: Vec::new(),
            total: 0,
            exemplars: 0,
            first_exemplar: None,
            line: 1,
            start: 0,
        }
    }

    fn read(&mut self) {
        let mut is_ended = false;
        while self.start < self.body.len() {
            let rest = &self.body[self.start..];
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..len];
            if is_ended {
                self.fault((0, "text after # EOF".into()));
                return;
            }
            is_ended = line == b"# EOF";
            if !is_ended && let Err(fault) = self.read_line(line) {
                self.fault(fault);
            }
            self.start += len + 1;
            self.line += 1;
        }
        if !is_ended {
            (self.start, self.line) = (self.body.len(), self.line.max(1));
            self.fault((0, "the end mark # EOF is missing: was the text truncated?".into()));
        }
    }

    fn read_line(&mut self, line: &'a [u8]) -> Result<(), LineFault> {
        if let Err(error) = std::str::from_utf8(line) {
            return Err((error.valid_up_to(), "not UTF-8".into()));
        }
        if let Some(at) = memchr::memchr(b'\r', line) {
            return Err((at, "a carriage return: lines end in LF alone".into()));
        }
        match line.strip_prefix(b"# ") {
            Some(_) => self.header(LineCursor::new(line, 2)),
            None if line.starts_with(b"#") => Err((0, "a line that begins with # is TYPE, HELP, UNIT or EOF behind one space".into())),
            None if line.is_empty() => Err((0, "an empty line".into())),
            None => self.sample(line),
        }
    }

    /// Reads a line of metadata.
    fn header(&mut self, mut cursor: LineCursor<'a>) -> Result<(), LineFault> {
        let keyword = cursor.word();
        if !matches!(keyword, b"TYPE" | b"HELP" | b"UNIT") {
            return Err((2, "a line that begins with # is TYPE, HELP, UNIT or EOF behind one space".into()));
        }
        cursor.expect(b' ', "a space behind the keyword")?;
        let at = cursor.at();
        let name = cursor.header_name()?;
        self.enter(&name, at, false)?;
        cursor.expect(b' ', "a space behind the name")?;
        self.family.header(keyword, cursor)
    }

    fn sample(&mut self, line: &'a [u8]) -> Result<(), LineFault> {
        let mut cursor = LineCursor::new(line, 0);
        let (name, labels) = cursor.series()?;
        self.enter(&name, 0, true)?;
        let mut left_out = Vec::new();
        let result = self.family.sample(cursor, &labels, line, self.line, &mut left_out);
        for fault in left_out {
            self.leave_out(fault);
        }
        result
    }

    /// Makes the family of this name the one in work.
    fn enter(&mut self, name: &[u8], at: usize, is_sample: bool) -> Result<(), LineFault> {
        if self.family.is_named(name) {
            return Ok(());
        }
        if is_sample && self.family.would_be_openmetrics_1(name) {
            let why = "a sample as in OpenMetrics 1.0 in a body of 2.0: send it as application/openmetrics-text; version=1.0.0";
            return Err((at, why.into()));
        }
        if !self.names.insert(name_hash(name)) {
            return Err((at, "the metric stood before another one: its lines must stand together".into()));
        }
        self.flush();
        self.family = Family::new(name, self.line);
        Ok(())
    }

    /// Writes the family in work.
    fn flush(&mut self) {
        let family = std::mem::take(&mut self.family);
        if matches!(family.kind(), MetricType::Info | MetricType::StateSet) {
            family.put_text(&mut self.text, &mut self.text_lines);
        } else {
            family.put_message(&mut self.messages, &mut self.lines);
        }
    }

    fn fault_of(&self, (at, reason): LineFault) -> Fault {
        let line = &self.body[self.start.min(self.body.len())..];
        let before = &line[..at.min(line.len())];
        let column = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Fault {
            line: self.line,
            column: narrow(column),
            offset: narrow(self.start + at),
            reason,
            is_duplicate: false,
            place: None,
        }
    }

    fn fault(&mut self, fault: LineFault) {
        self.total += 1;
        if self.faults.len() < MAX_FAULTS_KEPT {
            self.faults.push(self.fault_of(fault));
        }
    }

    /// Counts an exemplar that is left out.
    fn leave_out(&mut self, fault: LineFault) {
        self.exemplars += 1;
        if self.first_exemplar.is_none() {
            self.first_exemplar = Some(Box::new(self.fault_of(fault)));
        }
    }

    fn finish(mut self, max_text: usize) -> Result<Exposition, TextTooLong> {
        self.flush();
        let too_long = |line: u32| TextTooLong { line, limit: max_text };
        let decoded = protobuf::decode(&self.messages, max_text);
        let decoded = decoded.map_err(|error: DecodeError| {
            debug_assert!(matches!(error.kind, DecodeErrorKind::TooLong(_)), "{error}");
            too_long(line_of(&self.lines, error.offset))
        })?;
        let typed = decoded.text.len() - END.len();
        if typed + self.text.len() > max_text {
            return Err(too_long(self.text_lines.first().map_or(1, |written| written.line)));
        }
        let text = [&decoded.text[..typed], &self.text, END].concat();
        let mut read = Exposition::parse(text.into(), Syntax::OpenMetrics).with_records(decoded.records);
        let (body, messages, lines, text_lines) = (self.body, &self.messages, &self.lines, &self.text_lines);
        let own = Faults::new(self.faults, self.total, self.exemplars, self.first_exemplar);
        read.amend_faults(own, |offsets| {
            let places = protobuf::places(messages, offsets);
            let place = |(offset, place): (&u32, Option<protobuf::BodyPlace>)| {
                let line = match place {
                    Some(place) => line_of(lines, place.offset()),
                    None => line_of(text_lines, (*offset as usize).saturating_sub(typed)),
                };
                (line, start_of(body, line))
            };
            offsets.iter().zip(places).map(place).collect()
        });
        Ok(read)
    }
}

/// The end mark of OpenMetrics 1.0.
const END: &[u8] = b"# EOF\n";

/// The line that this offset was written for.
fn line_of(lines: &[Written], offset: usize) -> u32 {
    let after = lines.partition_point(|written| written.at as usize <= offset);
    lines.get(after.saturating_sub(1)).map_or(1, |written| written.line)
}

/// The offset of a line.
fn start_of(body: &[u8], line: u32) -> u32 {
    let before = usize::try_from(line).unwrap_or_default().saturating_sub(2);
    let start = memchr::memchr_iter(b'\n', body).nth(before).map_or(0, |newline| newline + 1);
    u32::try_from(if line < 2 { 0 } else { start }).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
