//! The labels of a sample line.
//!
//! One line is mostly like the one before: the same name, the same label names, often the same values. So the scanner keeps
//! the labels of the line before, and where the new line agrees with it byte for byte it takes them over, hashes included, instead of
//! reading them again. What agrees with a good prefix of a good line is good: reading depends on nothing but the bytes so far.

use std::ops::Range;

use super::super::family::FamilyFlags;
use super::super::reason::Reason;
use super::bytes::{ParseError, byte_at, closing_quote, common_prefix, is_whitespace, name_end, skip_whitespace};
use super::line::Scanner;
use super::span;

/// The most labels of one sample. Prometheus users have a few dozen at most; the search for a name that occurs twice takes time in
/// the square of this.
pub(super) const MAX_LABELS: usize = 256;

/// What a label is to histograms and summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    Le,
    Quantile,
}

/// A label of the last line. Offsets count from the start of its line, lengths from the start of the label.
#[derive(Clone, Copy)]
pub(super) struct CachedLabel {
    pub(super) start: usize,
    /// 1 where the name is quoted.
    pub(super) name_skip: usize,
    pub(super) name_len: usize,
    /// Where the inside of the value starts.
    pub(super) value_skip: usize,
    /// Up to and with the closing quote of the value.
    pub(super) len: usize,
    /// How the label itself is written.
    flags: FamilyFlags,
    /// How it is parted from the one before.
    gap: FamilyFlags,
    pub(super) role: Role,
    name_hash: u64,
    pub(super) hash: u64,
    /// What the labels up to this one add to the identity.
    labels_so_far: u64,
    /// What is peculiar about the labels up to this one.
    flags_so_far: FamilyFlags,
}

/// Where a line is being read.
pub(super) struct Cursor {
    pub(super) at: usize,
    /// How many labels are read.
    pub(super) count: usize,
    /// What they add to the identity.
    pub(super) labels: u64,
    pub(super) flags: FamilyFlags,
    /// How the last separator was written.
    pub(super) gap: FamilyFlags,
    /// Whether all label names so far are those of the last line.
    pub(super) same_names: bool,
}

impl Cursor {
    /// Goes on behind a label.
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
    /// Reads labels up to and with the closing brace. The line agrees with the last one up to `equal_until`, if both are read
    /// from their starts.
    #[inline]
    pub(super) fn read_labels(&mut self, start: usize, mut equal_until: usize, cursor: &mut Cursor) -> Result<(), ParseError> {
        let body = self.body;
        if byte_at(body, cursor.at) == b'}' {
            cursor.at += 1;
            return Ok(());
        }
        // How far this line is known to agree with the last one, if both are read so many bytes apart.
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

    /// Takes over what the last line has told already: whole labels, else the name of the next one. Says whether that was anything.
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

    /// Takes over the first labels, which stand where they stood.
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

    /// Takes over labels which now stand elsewhere in the line.
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

    /// Reads the value of a label whose name is that of the last line.
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

    /// Reads a label of which nothing is known.
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

    /// Refuses a label whose name an earlier one of this line has.
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
            if &body[name.clone()] == b"__name__" {
                return Err((at, Reason::NameLabel));
            }
        }
        Ok(LabelAt {
            name,
            value: quote + 1..end,
            end: end + 1,
            flags,
        })
    }
}

/// Where the parts of a label are.
pub(super) struct LabelAt {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
    /// Behind the closing quote.
    pub(super) end: usize,
    pub(super) flags: FamilyFlags,
}

/// Reads what stands behind a label, and says whether another label follows; if not, the closing brace is read too.
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

/// Reads a separator with blanks or a comma too many.
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

/// The end of the line inside braces has a reason of its own.
fn open_or(byte: u8, otherwise: fn(u8) -> Reason) -> Reason {
    if matches!(byte, b'\n' | b'\r') {
        Reason::OpenBraces
    } else {
        otherwise(byte)
    }
}
