//! The labels of a sample line.
//!
//! A line usually resembles the previous one: the same name, the same label names, often the same values. So the scanner caches the
//! labels of the previous line and reuses them, hashes included, where both lines have equal bytes. This is correct because parsing
//! depends only on the bytes so far: a prefix that equals the prefix of a valid line is valid.

use std::ops::Range;

use super::line::Scanner;
use super::span;
use crate::byte_scan::{ParseError, byte_at, closing_quote, common_prefix, is_whitespace, name_end, skip_whitespace};
use crate::escape::escaped_label_name;
use crate::family::FamilyFlags;
use crate::reason::Reason;

/// Limit of labels per sample. Prometheus users have a few dozen at most; the check for duplicate names takes time quadratic in this.
pub(super) const MAX_LABELS: usize = 256;

/// The label that stands for the name of the metric, which no label may be.
const METRIC_NAME: &[u8] = b"__name__";

/// Role of a label in histograms and summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    Le,
    Quantile,
}

/// A label of the previous line. Offsets count from the start of its line, lengths from the start of the label.
#[derive(Clone, Copy)]
pub(super) struct CachedLabel {
    pub(super) start: usize,
    /// 1 if the name is quoted.
    pub(super) name_skip: usize,
    pub(super) name_len: usize,
    /// Offset of the value behind its quote.
    pub(super) value_skip: usize,
    /// Length including the closing quote of the value.
    pub(super) len: usize,
    /// Flags of the label itself.
    flags: FamilyFlags,
    /// Flags of the separator before the label.
    gap: FamilyFlags,
    pub(super) role: Role,
    name_hash: u64,
    pub(super) hash: u64,
    /// Sum of the hashes of the labels up to this one.
    labels_so_far: u64,
    /// Flags of the labels up to this one.
    flags_so_far: FamilyFlags,
}

/// Position in the line that is being read.
pub(super) struct Cursor {
    pub(super) at: usize,
    /// Number of labels so far.
    pub(super) count: usize,
    /// Sum of their hashes.
    pub(super) labels: u64,
    pub(super) flags: FamilyFlags,
    /// Flags of the last separator.
    pub(super) gap: FamilyFlags,
    /// True if all label names so far are those of the previous line.
    pub(super) same_names: bool,
}

impl Cursor {
    /// Advances behind a label.
    #[inline]
    fn pass(&mut self, label: &mut CachedLabel, end: usize) {
        self.labels = self.labels.wrapping_add(label.hash);
        self.flags |= label.flags | label.gap;
        label.labels_so_far = self.labels;
        label.flags_so_far = self.flags;
        self.at = end;
        self.count += 1;
    }
}

impl Scanner<'_> {
    /// Reads labels up to and including the closing brace. `equal_until` is the end of the prefix that equals the previous line.
    #[inline]
    pub(super) fn read_labels(&mut self, start: usize, mut equal_until: usize, cursor: &mut Cursor) -> Result<(), ParseError> {
        let body = self.body;
        if byte_at(body, cursor.at) == b'}' {
            cursor.at += 1;
            return Ok(());
        }
        // The distance between this line and the previous one at which `equal_until` was determined.
        let mut apart = start - self.last;
        loop {
            if let Some(known) = self.labels.get(cursor.count) {
                let old = self.last + known.start;
                if apart != cursor.at - old || cursor.at >= equal_until {
                    apart = cursor.at - old;
                    equal_until = cursor.at + common_prefix(&body[cursor.at..], &body[old..]);
                }
            }
            if !self.reuse(start, cursor, equal_until, apart)? {
                self.new_label(start, cursor)?;
            }
            if !separator(body, cursor)? {
                return Ok(());
            }
        }
    }

    /// Reuses cached labels of the previous line: complete ones, else the name of the next one. Returns false if there was nothing to reuse.
    #[inline]
    fn reuse(&mut self, start: usize, cursor: &mut Cursor, equal_until: usize, apart: usize) -> Result<bool, ParseError> {
        let first = cursor.count;
        let Some(known) = self.labels.get_mut(first) else {
            return Ok(false);
        };
        if cursor.at + known.len > equal_until {
            if cursor.at + known.value_skip > equal_until {
                return Ok(false);
            }
            self.new_value(start, cursor)?;
        } else if first == 0 && apart == start - self.last {
            self.take_prefix(start, cursor, equal_until);
        } else {
            known.gap = cursor.gap;
            self.take_middle(start, cursor, equal_until, apart);
        }
        if !cursor.same_names {
            for index in first..cursor.count {
                self.check_unique(start, index)?;
            }
        }
        Ok(true)
    }

    /// Reuses the first labels, at unchanged positions.
    #[inline]
    fn take_prefix(&self, start: usize, cursor: &mut Cursor, equal_until: usize) {
        let mut last = &self.labels[0];
        cursor.count = 1;
        while let Some(known) = self.labels.get(cursor.count) {
            if start + known.start + known.len > equal_until {
                break;
            }
            last = known;
            cursor.count += 1;
        }
        cursor.labels = last.labels_so_far;
        cursor.flags = last.flags_so_far;
        cursor.at = start + last.start + last.len;
    }

    /// Reuses labels at changed positions.
    fn take_middle(&mut self, start: usize, cursor: &mut Cursor, equal_until: usize, apart: usize) {
        let shift = (self.last + apart).wrapping_sub(start);
        while let Some(known) = self.labels.get_mut(cursor.count) {
            let moved = known.start.wrapping_add(shift);
            let end = start + moved + known.len;
            if end > equal_until {
                break;
            }
            known.start = moved;
            cursor.pass(known, end);
        }
    }

    /// Reads the value of a label that has the cached name.
    #[inline]
    fn new_value(&mut self, start: usize, cursor: &mut Cursor) -> Result<(), ParseError> {
        let at = cursor.at;
        let value = at + self.labels[cursor.count].value_skip;
        let end = closing_quote(self.body, value)?;
        self.check_text(value..end)?;
        let seed = self.seed;
        let known = &mut self.labels[cursor.count];
        known.start = at - start;
        known.len = end + 1 - at;
        known.hash = seed.label_value(known.name_hash, &self.body[value..end]);
        known.gap = cursor.gap;
        cursor.pass(known, end + 1);
        Ok(())
    }

    /// Reads a label that is not cached.
    #[inline(never)]
    fn new_label(&mut self, start: usize, cursor: &mut Cursor) -> Result<(), ParseError> {
        let at = cursor.at;
        if cursor.count == MAX_LABELS {
            return Err((at, Reason::ManyLabels));
        }
        let label = self.label_at(at)?;
        let (name, value) = (&self.body[label.name.clone()], &self.body[label.value.clone()]);
        let role = match name {
            b"le" => Role::Le,
            b"quantile" => Role::Quantile,
            _ => Role::Plain,
        };
        let name_hash = self.seed.label_name(name);
        let known = CachedLabel {
            start: at - start,
            name_skip: label.name.start - at,
            name_len: label.name.len(),
            value_skip: label.value.start - at,
            len: label.end - at,
            flags: label.flags,
            gap: cursor.gap,
            role,
            name_hash,
            hash: self.seed.label_value(name_hash, value),
            labels_so_far: 0,
            flags_so_far: FamilyFlags::NONE,
        };
        let index = cursor.count;
        match self.labels.get_mut(index) {
            Some(slot) => *slot = known,
            None => self.labels.push(known),
        }
        cursor.pass(&mut self.labels[index], label.end);
        cursor.same_names = false;
        self.check_unique(start, index)
    }

    /// Refuses a label with the name of an earlier one in this line.
    fn check_unique(&self, start: usize, index: usize) -> Result<(), ParseError> {
        let place = |label: &CachedLabel| start + label.start + label.name_skip..start + label.start + label.name_skip + label.name_len;
        let name = place(&self.labels[index]);
        let mut earlier = self.labels[..index].iter();
        if earlier.any(|label| label.name_len == name.len() && self.body[place(label)] == self.body[name.clone()]) {
            return Err((start + self.labels[index].start, Reason::TwiceLabel(span(name))));
        }
        Ok(())
    }

    /// Finds the parts of the label that starts at `at`.
    pub(super) fn label_at(&self, at: usize) -> Result<LabelAt, ParseError> {
        let body = self.body;
        let mut flags = FamilyFlags::NONE;
        let (name, after) = if byte_at(body, at) == b'"' {
            let end = closing_quote(body, at + 1)?;
            self.check_name(at + 1..end)?;
            flags |= FamilyFlags::QUOTED;
            (at + 1..end, end + 1)
        } else {
            let end = name_end(body, at, false);
            (at..end, end)
        };
        if name.is_empty() {
            let nothing = if after > at {
                Reason::EmptyName
            } else {
                open_or(byte_at(body, at), Reason::LabelStart)
            };
            return Err((at, nothing));
        }
        let equals = skip_whitespace(body, after);
        if byte_at(body, equals) != b'=' {
            let byte = byte_at(body, equals);
            let error = if after > name.end && matches!(byte, b',' | b'}') {
                Reason::NameNotFirst
            } else {
                Reason::NoEquals(byte)
            };
            return Err((equals, error));
        }
        let quote = skip_whitespace(body, equals + 1);
        if byte_at(body, quote) != b'"' {
            return Err((quote, Reason::NoQuote(byte_at(body, quote))));
        }
        let end = closing_quote(body, quote + 1)?;
        self.check_text(quote + 1..end)?;
        if quote != after + 1 {
            flags |= FamilyFlags::REFORMAT_OPENMETRICS;
        }
        if body[name.clone()].starts_with(b"__") {
            flags |= FamilyFlags::RESERVED_LABELS;
            if &body[name.clone()] == METRIC_NAME {
                return Err((at, Reason::NameLabel));
            }
        }
        // Scrapers without UTF-8 would refuse the whole response.
        if flags.contains(FamilyFlags::QUOTED) && *escaped_label_name(&body[name.clone()]) == *METRIC_NAME {
            return Err((at, Reason::EscapedNameLabel));
        }
        Ok(LabelAt {
            name,
            value: quote + 1..end,
            end: end + 1,
            flags,
        })
    }
}

/// The positions of a label's parts.
pub(super) struct LabelAt {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
    /// Offset behind the closing quote.
    pub(super) end: usize,
    pub(super) flags: FamilyFlags,
}

/// Reads the separator after a label. Returns true if another label follows; otherwise the closing brace has been read.
#[inline]
pub(super) fn separator(body: &[u8], cursor: &mut Cursor) -> Result<bool, ParseError> {
    cursor.gap = FamilyFlags::NONE;
    match (byte_at(body, cursor.at), byte_at(body, cursor.at + 1)) {
        (b'}', _) => {
            cursor.at += 1;
            Ok(false)
        }
        (b',', next) if !is_whitespace(next) && next != b'}' => {
            cursor.at += 1;
            Ok(true)
        }
        _ => lenient_separator(body, cursor),
    }
}

/// Reads a separator with extra whitespace or a trailing comma.
#[inline(never)]
fn lenient_separator(body: &[u8], cursor: &mut Cursor) -> Result<bool, ParseError> {
    cursor.gap = FamilyFlags::REFORMAT_OPENMETRICS;
    cursor.at = skip_whitespace(body, cursor.at);
    if byte_at(body, cursor.at) == b',' {
        cursor.at = skip_whitespace(body, cursor.at + 1);
        if byte_at(body, cursor.at) != b'}' {
            return Ok(true);
        }
    }
    if byte_at(body, cursor.at) != b'}' {
        return Err((cursor.at, open_or(byte_at(body, cursor.at), Reason::NoComma)));
    }
    cursor.flags |= cursor.gap;
    cursor.at += 1;
    Ok(false)
}

/// The reason for an unexpected byte: the end of the line inside braces has its own.
fn open_or(byte: u8, otherwise: fn(u8) -> Reason) -> Reason {
    if matches!(byte, b'\n' | b'\r') {
        Reason::OpenBraces
    } else {
        otherwise(byte)
    }
}
