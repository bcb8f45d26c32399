//! Sample lines.
//!
//! One line is mostly like the one before: the same name, the same label names, often the same values. So the scanner keeps
//! the labels of the line before, and where the new line agrees with it byte for byte it takes them over, hashes included, instead of
//! reading them again. What agrees with a good prefix of a good line is good: reading depends on nothing but the bytes so far.

use std::ops::Range;

use crate::model::Syntax;

use super::super::family::Traits;
use super::super::hash::Seed;
use super::super::reason::Reason;
use super::super::sample::{Labels, MAX_EXEMPLAR_CHARS, unescaped_chars};
use super::super::span::Span;
use super::bytes::{Wrong, byte_at, closing_quote, common_prefix, is_blank, name_end, skip_blanks};
use super::number::Number;
use super::span;

/// The most labels of one sample. Prometheus users have a few dozen at most; the search for a name that occurs twice takes time in
/// the square of this.
pub(super) const MAX_LABELS: usize = 256;

/// Timestamps in seconds must leave room for milliseconds in 64 bits.
const MAX_SECONDS: f64 = 9.2e15;

/// What a label is to histograms and summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    Le,
    Quantile,
}

/// A label of the last line. Offsets count from the start of its line, lengths from the start of the label.
#[derive(Clone, Copy)]
pub(super) struct Known {
    start: usize,
    /// 1 where the name is quoted.
    name_skip: usize,
    name_len: usize,
    /// Where the inside of the value starts.
    value_skip: usize,
    /// Up to and with the closing quote of the value.
    len: usize,
    /// How the label itself is written.
    traits: Traits,
    /// How it is parted from the one before.
    gap: Traits,
    pub(super) role: Role,
    name_hash: u64,
    pub(super) hash: u64,
    /// What the labels up to this one add to the identity.
    labels_so_far: u64,
    /// What is peculiar about the labels up to this one.
    traits_so_far: Traits,
}

/// What a good line holds. Offsets count from the start of the text.
pub(super) struct Line {
    /// Whether the name is that of the line before.
    pub(super) same_name: bool,
    /// The identity of the series.
    pub(super) hash: u64,
    pub(super) value: f64,
    /// Empty where there is none.
    pub(super) timestamp: Range<usize>,
    pub(super) exemplar: Option<ExemplarSeen>,
    pub(super) traits: Traits,
    /// The end of what counts.
    pub(super) end: usize,
    /// The newline, or the end of the text.
    pub(super) newline: usize,
}

/// The identities of the series in a run of good lines.
pub(in crate::exposition) struct Hashes<'a> {
    scanner: Scanner<'a>,
    runs: std::slice::Iter<'a, Span>,
    at: usize,
    end: usize,
}

impl<'a> Hashes<'a> {
    pub(in crate::exposition) fn new(body: &'a [u8], syntax: Syntax, runs: &'a [Span]) -> Self {
        Self {
            scanner: Scanner::new(body, syntax, true, Vec::new()),
            runs: runs.iter(),
            at: 0,
            end: 0,
        }
    }
}

impl Iterator for Hashes<'_> {
    /// Where the line starts, and the identity.
    type Item = (usize, u64);

    fn next(&mut self) -> Option<(usize, u64)> {
        if self.at >= self.end {
            (self.at, self.end) = self.runs.next().map(|run| (run.start as usize, run.end as usize))?;
        }
        let start = self.at;
        let (_, _, cursor) = self.scanner.scan_labels(start).ok()?;
        let newline = memchr::memchr(b'\n', &self.scanner.body[cursor.at..self.end]);
        self.at = newline.map_or(self.end, |len| cursor.at + len + 1);
        Some((start, self.scanner.name_hash.wrapping_add(cursor.labels)))
    }
}

/// What has to be known of an exemplar to judge its line.
#[derive(Clone, Copy)]
pub(super) struct ExemplarSeen {
    /// Whether its labels are short enough for OpenMetrics.
    pub(super) short: bool,
}

/// Reads sample lines of one text, one after another.
pub(super) struct Scanner<'a> {
    body: &'a [u8],
    syntax: Syntax,
    seed: Seed,
    /// Whether all of the text is UTF-8, so that nobody needs to look again.
    utf8: bool,
    /// The start of the last good line.
    last: usize,
    /// Its name, without quotes.
    name: Range<usize>,
    name_hash: u64,
    name_traits: Traits,
    labels: Vec<Known>,
}

/// Where a line is being read.
struct Cursor {
    at: usize,
    /// How many labels are read.
    count: usize,
    /// What they add to the identity.
    labels: u64,
    traits: Traits,
    /// How the last separator was written.
    gap: Traits,
    /// Whether all label names so far are those of the last line.
    names_stand: bool,
}

impl Cursor {
    /// Goes on behind a label.
    #[inline]
    fn pass(&mut self, label: &mut Known, end: usize) {
        self.labels = self.labels.wrapping_add(label.hash);
        self.traits |= label.traits | label.gap;
        label.labels_so_far = self.labels;
        label.traits_so_far = self.traits;
        self.at = end;
        self.count += 1;
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn new(body: &'a [u8], syntax: Syntax, utf8: bool, labels: Vec<Known>) -> Self {
        let name_traits = Traits::NONE;
        Self {
            body,
            syntax,
            seed: Seed::get(),
            utf8,
            last: 0,
            name: 0..0,
            name_hash: 0,
            name_traits,
            labels,
        }
    }

    /// Gives back what was lent for the labels.
    pub(super) fn into_labels(self) -> Vec<Known> {
        self.labels
    }

    /// The name of the last good line, without quotes.
    pub(super) fn name(&self) -> Range<usize> {
        self.name.clone()
    }

    /// The identity of that name.
    pub(super) const fn name_hash(&self) -> u64 {
        self.name_hash
    }

    /// The labels of the last good line.
    pub(super) fn labels(&self) -> &[Known] {
        &self.labels
    }

    /// The name of one of these labels.
    pub(super) fn label_name(&self, label: &Known) -> &'a [u8] {
        let start = self.last + label.start + label.name_skip;
        &self.body[start..start + label.name_len]
    }

    /// Where the value of one of these labels stands, without quotes.
    pub(super) fn label_value(&self, label: &Known) -> Range<usize> {
        let start = self.last + label.start;
        start + label.value_skip..start + label.len - 1
    }

    /// Reads the line whose first byte is at `start`. After an error nothing is known of any line.
    #[inline]
    pub(super) fn scan(&mut self, start: usize) -> Result<Line, Wrong> {
        let (same_name, braces, cursor) = match self.scan_labels(start) {
            Ok(read) => read,
            Err(wrong) => return self.forget(wrong),
        };
        match self.tail(same_name, braces, &cursor) {
            Ok(line) => Ok(line),
            Err(wrong) => self.forget(wrong),
        }
    }

    #[cold]
    fn forget(&mut self, wrong: Wrong) -> Result<Line, Wrong> {
        self.labels.clear();
        self.name = 0..0;
        Err(wrong)
    }

    /// Reads name and labels.
    #[inline]
    fn scan_labels(&mut self, start: usize) -> Result<(bool, bool, Cursor), Wrong> {
        let body = self.body;
        let mut agrees_up_to = start;
        let mut head = None;
        if let Some(first) = self.labels.first() {
            agrees_up_to += common_prefix(&body[start..], &body[self.last..]);
            // Beyond the first byte of the first label: only then it cannot be a blank.
            if agrees_up_to > start + first.start {
                let name = self.name.start - self.last + start;
                self.name = name..name + self.name.len();
                head = Some((true, true, self.cursor(start + first.start)));
            }
        }
        let (same_name, braces, mut cursor) = match head {
            Some(head) => head,
            None => self.new_head(start)?,
        };
        if braces {
            self.read_labels(start, agrees_up_to, &mut cursor)?;
        }
        self.labels.truncate(cursor.count);
        self.last = start;
        Ok((same_name, braces, cursor))
    }

    const fn cursor(&self, at: usize) -> Cursor {
        Cursor {
            at,
            count: 0,
            labels: 0,
            traits: Traits::NONE,
            gap: Traits::NONE,
            names_stand: true,
        }
    }

    fn new_head(&mut self, start: usize) -> Result<(bool, bool, Cursor), Wrong> {
        let body = self.body;
        let end = name_end(body, start, true);
        let mut at = skip_blanks(body, end);
        let byte = byte_at(body, at);
        if byte != b'{' && end == start {
            return Err((start, Reason::NameStart(byte_at(body, start))));
        }
        if byte != b'{' && at == end {
            return Err((
                at,
                if byte == b'\n' || byte == b'\r' {
                    Reason::NoValue
                } else {
                    Reason::NameByte(byte)
                },
            ));
        }
        let mut traits = if byte == b'{' && at > end {
            Traits::RESPELL_OPENMETRICS
        } else {
            Traits::NONE
        };
        let mut name = start..end;
        if byte == b'{' {
            at = skip_blanks(body, at + 1);
            if body[at - 1] != b'{' {
                traits |= Traits::RESPELL_OPENMETRICS;
            }
            if end == start {
                (name, at) = self.quoted_name(at, &mut traits)?;
            }
        }
        let same = body[name.clone()] == body[self.name.clone()];
        if !same {
            self.name_hash = self.seed.name(&body[name.clone()]);
        }
        self.name = name;
        self.name_traits = traits;
        Ok((same, byte == b'{', self.cursor(at)))
    }

    /// Reads a metric name inside the braces, and the comma after it.
    fn quoted_name(&self, at: usize, traits: &mut Traits) -> Result<(Range<usize>, usize), Wrong> {
        let body = self.body;
        if byte_at(body, at) != b'"' {
            return Err((at, Reason::NameStart(byte_at(body, at))));
        }
        let end = closing_quote(body, at + 1)?;
        self.check_text(at + 1..end)?;
        if end == at + 1 {
            return Err((at, Reason::EmptyName));
        }
        *traits |= Traits::QUOTED;
        let mut next = skip_blanks(body, end + 1);
        match byte_at(body, next) {
            b'}' => {}
            b',' => next = skip_blanks(body, next + 1),
            byte => return Err((next, Reason::NoComma(byte))),
        }
        if body[end + 1..next].iter().any(|byte| is_blank(*byte)) || body[next - 1] == b',' && byte_at(body, next) == b'}' {
            *traits |= Traits::RESPELL_OPENMETRICS;
        }
        Ok((at + 1..end, next))
    }

    /// Reads labels up to and with the closing brace. The line agrees with the last one up to `agrees_up_to`, if both are read
    /// from their starts.
    #[inline]
    fn read_labels(&mut self, start: usize, mut agrees_up_to: usize, cursor: &mut Cursor) -> Result<(), Wrong> {
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
                if apart != cursor.at - old || cursor.at >= agrees_up_to {
                    apart = cursor.at - old;
                    agrees_up_to = cursor.at + common_prefix(&body[cursor.at..], &body[old..]);
                }
            }
            if !self.take_over(start, cursor, agrees_up_to, apart)? {
                self.new_label(start, cursor)?;
            }
            if !separator(body, cursor)? {
                return Ok(());
            }
        }
    }

    /// Takes over what the last line has told already: whole labels, else the name of the next one. Says whether that was anything.
    #[inline]
    fn take_over(&mut self, start: usize, cursor: &mut Cursor, agrees_up_to: usize, apart: usize) -> Result<bool, Wrong> {
        let first = cursor.count;
        let Some(known) = self.labels.get_mut(first) else {
            return Ok(false);
        };
        if cursor.at + known.len > agrees_up_to {
            if cursor.at + known.value_skip > agrees_up_to {
                return Ok(false);
            }
            self.new_value(start, cursor)?;
        } else if first == 0 && apart == start - self.last {
            self.take_prefix(start, cursor, agrees_up_to);
        } else {
            known.gap = cursor.gap;
            self.take_middle(start, cursor, agrees_up_to, apart);
        }
        if !cursor.names_stand {
            for index in first..cursor.count {
                self.check_unique(start, index)?;
            }
        }
        Ok(true)
    }

    /// Takes over the first labels, which stand where they stood.
    #[inline]
    fn take_prefix(&self, start: usize, cursor: &mut Cursor, agrees_up_to: usize) {
        let mut last = &self.labels[0];
        cursor.count = 1;
        while let Some(known) = self.labels.get(cursor.count) {
            if start + known.start + known.len > agrees_up_to {
                break;
            }
            last = known;
            cursor.count += 1;
        }
        cursor.labels = last.labels_so_far;
        cursor.traits = last.traits_so_far;
        cursor.at = start + last.start + last.len;
    }

    /// Takes over labels which now stand elsewhere in the line.
    fn take_middle(&mut self, start: usize, cursor: &mut Cursor, agrees_up_to: usize, apart: usize) {
        let shift = (self.last + apart).wrapping_sub(start);
        while let Some(known) = self.labels.get_mut(cursor.count) {
            let moved = known.start.wrapping_add(shift);
            let end = start + moved + known.len;
            if end > agrees_up_to {
                break;
            }
            known.start = moved;
            cursor.pass(known, end);
        }
    }

    /// Reads the value of a label whose name is that of the last line.
    #[inline]
    fn new_value(&mut self, start: usize, cursor: &mut Cursor) -> Result<(), Wrong> {
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
    fn new_label(&mut self, start: usize, cursor: &mut Cursor) -> Result<(), Wrong> {
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
        let known = Known {
            start: at - start,
            name_skip: label.name.start - at,
            name_len: label.name.len(),
            value_skip: label.value.start - at,
            len: label.end - at,
            traits: label.traits,
            gap: cursor.gap,
            role,
            name_hash,
            hash: self.seed.label_value(name_hash, value),
            labels_so_far: 0,
            traits_so_far: Traits::NONE,
        };
        let index = cursor.count;
        match self.labels.get_mut(index) {
            Some(slot) => *slot = known,
            None => self.labels.push(known),
        }
        cursor.pass(&mut self.labels[index], label.end);
        cursor.names_stand = false;
        self.check_unique(start, index)
    }

    /// Refuses a label whose name an earlier one of this line has.
    fn check_unique(&self, start: usize, index: usize) -> Result<(), Wrong> {
        let place = |label: &Known| start + label.start + label.name_skip..start + label.start + label.name_skip + label.name_len;
        let name = place(&self.labels[index]);
        let mut earlier = self.labels[..index].iter();
        if earlier.any(|label| label.name_len == name.len() && self.body[place(label)] == self.body[name.clone()]) {
            return Err((start + self.labels[index].start, Reason::TwiceLabel(span(name))));
        }
        Ok(())
    }

    /// Finds the parts of the label that starts at `at`.
    fn label_at(&self, at: usize) -> Result<LabelAt, Wrong> {
        let body = self.body;
        let mut traits = Traits::NONE;
        let (name, after) = if byte_at(body, at) == b'"' {
            let end = closing_quote(body, at + 1)?;
            self.check_text(at + 1..end)?;
            traits |= Traits::QUOTED;
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
        let equals = skip_blanks(body, after);
        if byte_at(body, equals) != b'=' {
            let byte = byte_at(body, equals);
            let wrong = if after > name.end && matches!(byte, b',' | b'}') {
                Reason::NameNotFirst
            } else {
                Reason::NoEquals(byte)
            };
            return Err((equals, wrong));
        }
        let quote = skip_blanks(body, equals + 1);
        if byte_at(body, quote) != b'"' {
            return Err((quote, Reason::NoQuote(byte_at(body, quote))));
        }
        let end = closing_quote(body, quote + 1)?;
        self.check_text(quote + 1..end)?;
        if quote != after + 1 {
            traits |= Traits::RESPELL_OPENMETRICS;
        }
        if body[name.clone()].starts_with(b"__") {
            traits |= Traits::RESERVED_LABELS;
            if &body[name.clone()] == b"__name__" {
                return Err((at, Reason::NameLabel));
            }
        }
        Ok(LabelAt {
            name,
            value: quote + 1..end,
            end: end + 1,
            traits,
        })
    }

    /// Refuses what is not UTF-8.
    #[inline]
    fn check_text(&self, text: Range<usize>) -> Result<(), Wrong> {
        if self.utf8 {
            return Ok(());
        }
        match std::str::from_utf8(&self.body[text.clone()]) {
            Ok(_) => Ok(()),
            Err(wrong) => Err((text.start + wrong.valid_up_to(), Reason::Encoding)),
        }
    }

    /// Reads what follows the name or the labels.
    #[inline]
    fn tail(&self, same_name: bool, braces: bool, cursor: &Cursor) -> Result<Line, Wrong> {
        let body = self.body;
        let gap = if braces { cursor.at } else { self.name.end };
        let value_at = skip_blanks(body, cursor.at);
        let value = self.number(value_at)?;
        let end = value_at + value.len;
        let mut line = Line {
            same_name,
            hash: self.name_hash.wrapping_add(cursor.labels),
            value: value.value,
            timestamp: 0..0,
            exemplar: None,
            traits: self.name_traits | cursor.traits | gap_traits(body, gap..value_at),
            end,
            newline: end,
        };
        if byte_at(body, end) != b'\n' {
            self.beyond_value(&mut line)?;
        }
        Ok(line)
    }

    /// The number at `at`, which must end with its word.
    #[inline]
    fn number(&self, at: usize) -> Result<Number, Wrong> {
        let body = self.body;
        let number = Number::at_start(body.get(at..).unwrap_or_default());
        match number {
            Some(number) if matches!(byte_at(body, at + number.len), b'\n' | b' ' | b'\t') => Ok(number),
            Some(number) if self.newline_at(at + number.len).is_some() => Ok(number),
            _ => Err(self.no_number(at)),
        }
    }

    #[cold]
    fn no_number(&self, at: usize) -> Wrong {
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

    /// Where the newline is, if nothing but it (and a carriage return) stands at `at`.
    #[inline]
    fn newline_at(&self, at: usize) -> Option<usize> {
        match byte_at(self.body, at) {
            b'\n' => Some(at),
            b'\r' if byte_at(self.body, at + 1) == b'\n' => Some(at + 1),
            _ => None,
        }
    }

    /// Whether the line ends at `at`; if so it is told.
    #[inline]
    fn ends(&self, line: &mut Line, at: usize) -> bool {
        let newline = self.newline_at(at);
        line.newline = newline.unwrap_or(0);
        newline.is_some()
    }

    /// The bytes from `at` up to a blank or the end of the line.
    fn word(&self, at: usize) -> Range<usize> {
        let mut end = at;
        while !is_blank(byte_at(self.body, end)) && self.newline_at(end).is_none() {
            end += 1;
        }
        at..end
    }

    /// Reads timestamp and exemplar.
    #[inline(never)]
    fn beyond_value(&self, line: &mut Line) -> Result<(), Wrong> {
        let body = self.body;
        let mut at = skip_blanks(body, line.end);
        if self.ends(line, at) {
            return Ok(());
        }
        if byte_at(body, at) != b'#' {
            line.traits |= gap_traits(body, line.end..at);
            line.timestamp = self.timestamp(at)?;
            line.end = line.timestamp.end;
            line.traits |= match self.syntax {
                Syntax::Text => Traits::TIMESTAMPS | Traits::RESPELL_OPENMETRICS,
                Syntax::OpenMetrics => Traits::TIMESTAMPS | Traits::RESPELL_TEXT,
            };
            at = skip_blanks(body, line.end);
            if self.ends(line, at) {
                return Ok(());
            }
        }
        match (byte_at(body, at), self.syntax) {
            (b'#', Syntax::OpenMetrics) => self.exemplar(at, line),
            (b'#', Syntax::Text) => Err((at, Reason::ExemplarInText)),
            _ => Err((at, Reason::Trailing)),
        }
    }

    fn timestamp(&self, at: usize) -> Result<Range<usize>, Wrong> {
        let word = self.word(at);
        let text = &self.body[word.clone()];
        let fine = match self.syntax {
            Syntax::Text => is_millis(text),
            Syntax::OpenMetrics => is_seconds(text),
        };
        if fine { Ok(word) } else { Err((at, Reason::Timestamp(span(word)))) }
    }

    /// Reads an exemplar, whose `#` stands at `at`, up to the end of the line.
    fn exemplar(&self, at: usize, line: &mut Line) -> Result<(), Wrong> {
        let body = self.body;
        line.traits |= Traits::EXEMPLARS | Traits::RESPELL_TEXT | gap_traits(body, line.end..at);
        let brace = skip_blanks(body, at + 1);
        if byte_at(body, brace) != b'{' {
            return Err((brace, Reason::Exemplar));
        }
        let (end, chars) = self.exemplar_labels(brace + 1, line)?;
        let value_at = skip_blanks(body, end);
        let value = self.number(value_at)?;
        line.traits |= gap_traits(body, at + 1..brace) | gap_traits(body, end..value_at);
        line.exemplar = Some(ExemplarSeen {
            short: chars <= MAX_EXEMPLAR_CHARS,
        });
        line.end = value_at + value.len;
        let mut next = skip_blanks(body, line.end);
        if self.ends(line, next) {
            return Ok(());
        }
        line.traits |= gap_traits(body, line.end..next);
        let word = self.word(next);
        if !is_seconds(&body[word.clone()]) {
            return Err((next, Reason::Timestamp(span(word))));
        }
        line.end = word.end;
        next = skip_blanks(body, line.end);
        if self.ends(line, next) {
            Ok(())
        } else {
            Err((next, Reason::Trailing))
        }
    }

    /// Reads an exemplar's labels from behind the opening brace to behind the closing one, and counts their characters.
    fn exemplar_labels(&self, start: usize, line: &mut Line) -> Result<(usize, usize), Wrong> {
        let body = self.body;
        let mut cursor = Cursor {
            at: skip_blanks(body, start),
            count: 0,
            labels: 0,
            traits: Traits::NONE,
            gap: Traits::NONE,
            names_stand: false,
        };
        let mut chars = 0;
        if byte_at(body, cursor.at) == b'}' {
            return Ok((cursor.at + 1, 0));
        }
        if cursor.at > start {
            cursor.traits |= Traits::RESPELL_OPENMETRICS;
        }
        loop {
            if cursor.count == MAX_LABELS {
                return Err((cursor.at, Reason::ManyLabels));
            }
            let label = self.label_at(cursor.at)?;
            let name = &body[label.name.clone()];
            if Labels::new(&body[start..cursor.at]).any(|earlier| earlier.name == name) {
                return Err((cursor.at, Reason::TwiceLabel(span(label.name))));
            }
            chars += unescaped_chars(name) + unescaped_chars(&body[label.value]);
            cursor.traits |= label.traits;
            cursor.at = label.end;
            cursor.count += 1;
            let more = separator(body, &mut cursor)?;
            if !more {
                line.traits |= cursor.traits;
                return Ok((cursor.at, chars));
            }
            cursor.traits |= cursor.gap;
        }
    }
}

/// Where the parts of a label are.
struct LabelAt {
    name: Range<usize>,
    value: Range<usize>,
    /// Behind the closing quote.
    end: usize,
    traits: Traits,
}

/// Reads what stands behind a label, and says whether another label follows; if not, the closing brace is read too.
#[inline]
fn separator(body: &[u8], cursor: &mut Cursor) -> Result<bool, Wrong> {
    cursor.gap = Traits::NONE;
    match (byte_at(body, cursor.at), byte_at(body, cursor.at + 1)) {
        (b'}', _) => {
            cursor.at += 1;
            Ok(false)
        }
        (b',', next) if !is_blank(next) && next != b'}' => {
            cursor.at += 1;
            Ok(true)
        }
        _ => odd_separator(body, cursor),
    }
}

/// Reads a separator with blanks or a comma too many.
#[inline(never)]
fn odd_separator(body: &[u8], cursor: &mut Cursor) -> Result<bool, Wrong> {
    cursor.gap = Traits::RESPELL_OPENMETRICS;
    cursor.at = skip_blanks(body, cursor.at);
    if byte_at(body, cursor.at) == b',' {
        cursor.at = skip_blanks(body, cursor.at + 1);
        if byte_at(body, cursor.at) != b'}' {
            return Ok(true);
        }
    }
    if byte_at(body, cursor.at) != b'}' {
        return Err((cursor.at, open_or(byte_at(body, cursor.at), Reason::NoComma)));
    }
    cursor.traits |= cursor.gap;
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

/// OpenMetrics wants exactly one space between the parts of a line.
#[inline]
fn gap_traits(body: &[u8], gap: Range<usize>) -> Traits {
    if gap.len() == 1 && byte_at(body, gap.start) == b' ' {
        Traits::NONE
    } else {
        Traits::RESPELL_OPENMETRICS
    }
}

/// Prometheus takes digits only, and no more milliseconds than 64 bits with a sign can hold.
fn is_millis(text: &[u8]) -> bool {
    let digits = text.iter().all(u8::is_ascii_digit);
    digits && std::str::from_utf8(text).is_ok_and(|text| text.parse::<i64>().is_ok())
}

fn is_seconds(text: &[u8]) -> bool {
    Number::whole(text).is_some_and(|number| number.value.abs() <= MAX_SECONDS)
}
