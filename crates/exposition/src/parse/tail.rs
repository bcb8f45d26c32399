//! The rest of a sample line after its labels: value, timestamp, exemplar.

use std::ops::Range;

use crate::byte_scan::{ParseError, byte_at, is_whitespace, skip_whitespace};
use crate::family::FamilyFlags;
use crate::reason::Reason;
use crate::sample::{Labels, MAX_EXEMPLAR_CHARS, unescaped_chars};
use crate::syntax::Syntax;
use crate::timestamps::millis_of_seconds;

use super::labels::{Cursor, MAX_LABELS, separator};
use super::line::{ExemplarInfo, Line, Scanner};
use super::number::Number;
use super::span;

/// The largest timestamp in seconds that fits into 64 bits as milliseconds.
const MAX_SECONDS: f64 = 9.2e15;

impl Scanner<'_> {
    /// Reads the line after the name or the labels.
    #[inline]
    pub(super) fn tail(&self, same_name: bool, braces: bool, cursor: &Cursor) -> Result<Line, ParseError> {
        let body = self.body;
        let gap = if braces { cursor.at } else { self.name.end };
        let value_at = skip_whitespace(body, cursor.at);
        let value = self.number(value_at)?;
        let end = value_at + value.len;
        let mut line = Line {
            same_name,
            hash: self.name_hash.wrapping_add(cursor.labels),
            value_at,
            value: value.value,
            timestamp: 0..0,
            exemplar: None,
            dropped_exemplar: None,
            flags: self.name_flags | cursor.flags | gap_flags(body, gap..value_at),
            end,
            newline: end,
        };
        if byte_at(body, end) != b'\n' {
            self.beyond_value(&mut line)?;
        }
        Ok(line)
    }

    /// Reads the number at `at`, which must be followed by whitespace or the end of the line.
    #[inline]
    fn number(&self, at: usize) -> Result<Number, ParseError> {
        let body = self.body;
        let number = Number::at_start(body.get(at..).unwrap_or_default());
        match number {
            Some(number) if matches!(byte_at(body, at + number.len), b'\n' | b' ' | b'\t') => Ok(number),
            Some(number) if self.newline_at(at + number.len).is_some() => Ok(number),
            _ => Err(self.no_number(at)),
        }
    }

    #[cold]
    fn no_number(&self, at: usize) -> ParseError {
        let word = self.word(at);
        (
            at,
            if word.is_empty() {
                Reason::NoValue
            } else {
                Reason::Value(span(word))
            },
        )
    }

    /// Offset of the newline if the line ends at `at`, with or without a carriage return.
    #[inline]
    fn newline_at(&self, at: usize) -> Option<usize> {
        match byte_at(self.body, at) {
            b'\n' => Some(at),
            b'\r' if byte_at(self.body, at + 1) == b'\n' => Some(at + 1),
            _ => None,
        }
    }

    /// Returns true if the line ends at `at`, and then sets its newline.
    #[inline]
    fn ends(&self, line: &mut Line, at: usize) -> bool {
        let newline = self.newline_at(at);
        line.newline = newline.unwrap_or(0);
        newline.is_some()
    }

    /// The bytes from `at` up to whitespace or the end of the line.
    fn word(&self, at: usize) -> Range<usize> {
        let mut end = at;
        while !is_whitespace(byte_at(self.body, end)) && self.newline_at(end).is_none() {
            end += 1;
        }
        at..end
    }

    /// Reads timestamp and exemplar.
    #[inline(never)]
    fn beyond_value(&self, line: &mut Line) -> Result<(), ParseError> {
        let body = self.body;
        let mut at = skip_whitespace(body, line.end);
        if self.ends(line, at) {
            return Ok(());
        }
        if byte_at(body, at) != b'#' {
            line.flags |= gap_flags(body, line.end..at);
            let (timestamp, is_early) = self.timestamp(at)?;
            line.timestamp = timestamp;
            line.end = line.timestamp.end;
            if is_early {
                line.flags |= FamilyFlags::EARLY_TIMES;
            }
            line.flags |= match self.syntax {
                Syntax::Text => FamilyFlags::TIMESTAMPS | FamilyFlags::REFORMAT_OPENMETRICS,
                Syntax::OpenMetrics => FamilyFlags::TIMESTAMPS | FamilyFlags::REFORMAT_TEXT,
            };
            at = skip_whitespace(body, line.end);
            if self.ends(line, at) {
                return Ok(());
            }
        }
        match (byte_at(body, at), self.syntax) {
            (b'#', Syntax::OpenMetrics) => self.exemplar(at, line),
            // Anything else after the hash may be the next line, joined to this one.
            (b'#', Syntax::Text) if byte_at(body, skip_whitespace(body, at + 1)) == b'{' => {
                self.drop_exemplar(line, (at, Reason::ExemplarInText))
            }
            (b'#', Syntax::Text) => return Err((at, Reason::TrailingComment)),
            _ => return Err((at, Reason::Trailing)),
        }
        Ok(())
    }

    /// Reads the exemplar that starts with the `#` at `at`, up to the end of the line. A faulty exemplar is skipped and its sample kept.
    fn exemplar(&self, at: usize, line: &mut Line) {
        let (flags, end) = (line.flags, line.end);
        if let Err(error) = self.read_exemplar(at, line) {
            (line.flags, line.end, line.exemplar) = (flags, end, None);
            self.drop_exemplar(line, error);
        }
    }

    /// Skips the rest of the line after the sample.
    #[cold]
    fn drop_exemplar(&self, line: &mut Line, error: ParseError) {
        line.dropped_exemplar = Some(error);
        line.newline = memchr::memchr(b'\n', &self.body[line.end..]).map_or(self.body.len(), |len| line.end + len);
    }

    /// Reads a timestamp; returns its place, and true if it is not after the start of 1970.
    fn timestamp(&self, at: usize) -> Result<(Range<usize>, bool), ParseError> {
        let word = self.word(at);
        let text = &self.body[word.clone()];
        let is_early = match self.syntax {
            Syntax::Text => whole_millis(text).map(|millis| millis == 0),
            // Most times need no second look.
            Syntax::OpenMetrics => seconds(text).map(|seconds| seconds < 1.0 && millis_of_seconds(text) <= 0),
        };
        match is_early {
            Some(is_early) => Ok((word, is_early)),
            None => Err((at, Reason::Timestamp(span(word)))),
        }
    }

    fn read_exemplar(&self, at: usize, line: &mut Line) -> Result<(), ParseError> {
        let body = self.body;
        line.flags |= FamilyFlags::EXEMPLARS | FamilyFlags::REFORMAT_TEXT | gap_flags(body, line.end..at);
        let brace = skip_whitespace(body, at + 1);
        if byte_at(body, brace) != b'{' {
            return Err((brace, Reason::Exemplar));
        }
        let (end, chars) = self.exemplar_labels(brace + 1, line)?;
        let value_at = skip_whitespace(body, end);
        let value = self.number(value_at)?;
        line.flags |= gap_flags(body, at + 1..brace) | gap_flags(body, end..value_at);
        line.exemplar = Some(ExemplarInfo {
            short: chars <= MAX_EXEMPLAR_CHARS,
        });
        line.end = value_at + value.len;
        let mut next = skip_whitespace(body, line.end);
        if self.ends(line, next) {
            return Ok(());
        }
        line.flags |= gap_flags(body, line.end..next);
        let word = self.word(next);
        if seconds(&body[word.clone()]).is_none() {
            return Err((next, Reason::Timestamp(span(word))));
        }
        line.end = word.end;
        next = skip_whitespace(body, line.end);
        if self.ends(line, next) {
            Ok(())
        } else {
            Err((next, Reason::Trailing))
        }
    }

    /// Reads an exemplar's labels up to and including the closing brace, and counts their characters.
    fn exemplar_labels(&self, start: usize, line: &mut Line) -> Result<(usize, usize), ParseError> {
        let body = self.body;
        let mut cursor = Cursor {
            at: skip_whitespace(body, start),
            count: 0,
            labels: 0,
            flags: FamilyFlags::NONE,
            gap: FamilyFlags::NONE,
            same_names: false,
        };
        let mut chars = 0;
        if byte_at(body, cursor.at) == b'}' {
            return Ok((cursor.at + 1, 0));
        }
        if cursor.at > start {
            cursor.flags |= FamilyFlags::REFORMAT_OPENMETRICS;
        }
        loop {
            if cursor.count == MAX_LABELS {
                return Err((cursor.at, Reason::ManyLabels));
            }
            let label = self.label_at(cursor.at)?;
            if let Some(len) = memchr::memchr(0, &body[label.value.clone()]) {
                return Err((label.value.start + len, Reason::Nul));
            }
            let name = &body[label.name.clone()];
            if Labels::new(&body[start..cursor.at]).any(|earlier| earlier.name == name) {
                return Err((cursor.at, Reason::TwiceLabel(span(label.name))));
            }
            chars += unescaped_chars(name) + unescaped_chars(&body[label.value]);
            cursor.flags |= label.flags;
            cursor.at = label.end;
            cursor.count += 1;
            let more = separator(body, &mut cursor)?;
            if !more {
                line.flags |= cursor.flags;
                return Ok((cursor.at, chars));
            }
            cursor.flags |= cursor.gap;
        }
    }
}

/// The flags of a gap: OpenMetrics requires exactly one space between the parts of a line.
#[inline]
fn gap_flags(body: &[u8], gap: Range<usize>) -> FamilyFlags {
    if gap.len() == 1 && byte_at(body, gap.start) == b' ' {
        FamilyFlags::NONE
    } else {
        FamilyFlags::REFORMAT_OPENMETRICS
    }
}

/// Reads a timestamp in milliseconds: Prometheus accepts only digits, and only values that fit into a signed 64-bit integer.
fn whole_millis(text: &[u8]) -> Option<i64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// Reads a timestamp in seconds.
fn seconds(text: &[u8]) -> Option<f64> {
    Number::whole(text)
        .map(|number| number.value)
        .filter(|seconds| seconds.abs() <= MAX_SECONDS)
}
