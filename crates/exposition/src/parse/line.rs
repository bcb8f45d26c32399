//! Sample lines: the name here, the labels in `labels`, what follows in `tail`.

use std::ops::Range;

use crate::byte_scan::{ParseError, byte_at, closing_quote, common_prefix, is_name_part, is_whitespace, name_end, skip_whitespace};
use crate::family::FamilyFlags;
use crate::hash::Seed;
use crate::reason::Reason;
use crate::span::Span;
use crate::syntax::Syntax;

use super::labels::{CachedLabel, Cursor};

/// The content of a valid line. Offsets count from the start of the text.
pub(super) struct Line {
    /// True if the name is that of the previous line.
    pub(super) same_name: bool,
    /// The hash of the series.
    pub(super) hash: u64,
    /// Start of the value.
    pub(super) value_at: usize,
    pub(super) value: f64,
    /// Empty if there is none.
    pub(super) timestamp: Range<usize>,
    pub(super) exemplar: Option<ExemplarInfo>,
    /// Position and reason of a skipped exemplar.
    pub(super) dropped_exemplar: Option<ParseError>,
    pub(super) flags: FamilyFlags,
    /// End of the sample, without skipped parts.
    pub(super) end: usize,
    /// The newline, or the end of the text.
    pub(super) newline: usize,
}

/// Iterator over the hashes of the series in a run of valid lines.
pub(crate) struct Hashes<'a> {
    scanner: Scanner<'a>,
    runs: std::slice::Iter<'a, Span>,
    at: usize,
    end: usize,
}

impl<'a> Hashes<'a> {
    pub(crate) fn new(body: &'a [u8], syntax: Syntax, runs: &'a [Span]) -> Self {
        Self {
            scanner: Scanner::new(body, syntax, true, Vec::new()),
            runs: runs.iter(),
            at: 0,
            end: 0,
        }
    }
}

impl Iterator for Hashes<'_> {
    /// Start of the line, and hash of its series.
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

/// Property of an exemplar that matters for its line.
#[derive(Clone, Copy)]
pub(super) struct ExemplarInfo {
    /// True if its labels are short enough for OpenMetrics.
    pub(super) short: bool,
}

/// Reads sample lines of one text, one after another.
pub(super) struct Scanner<'a> {
    pub(super) body: &'a [u8],
    pub(super) syntax: Syntax,
    pub(super) seed: Seed,
    /// True if all of the text is UTF-8, so that parts need no check.
    pub(super) utf8: bool,
    /// The start of the last valid line.
    pub(super) last: usize,
    /// Its name, without quotes.
    pub(super) name: Range<usize>,
    pub(super) name_hash: u64,
    pub(super) name_flags: FamilyFlags,
    pub(super) labels: Vec<CachedLabel>,
    /// The name of the last header. The next header and the next sample usually have it, too.
    header: HeaderName,
    /// True if the name of the last line was that of the last header.
    pub(super) has_header_name: bool,
}

/// An unquoted name in a header, and its hash.
#[derive(Default)]
struct HeaderName {
    /// Empty if there is none.
    name: Range<usize>,
    hash: u64,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(body: &'a [u8], syntax: Syntax, utf8: bool, labels: Vec<CachedLabel>) -> Self {
        let name_flags = FamilyFlags::NONE;
        Self {
            body,
            syntax,
            seed: Seed::get(),
            utf8,
            last: 0,
            name: 0..0,
            name_hash: 0,
            name_flags,
            labels,
            header: HeaderName::default(),
            has_header_name: false,
        }
    }

    /// Keeps the name of a header, unless it is quoted, and returns its hash.
    pub(super) fn enter_header(&mut self, name: Range<usize>) -> u64 {
        let body = self.body;
        if body[name.clone()] != body[self.header.name.clone()] {
            let hash = self.seed.name(&body[name.clone()]);
            let is_quoted = name.start > 0 && body[name.start - 1] == b'"';
            let name = if is_quoted { 0..0 } else { name };
            self.header = HeaderName { name, hash };
        }
        self.header.hash
    }

    /// True if a header of this name was the last one.
    pub(super) fn is_header(&self, name: Range<usize>) -> bool {
        self.body[name] == self.body[self.header.name.clone()]
    }

    /// The end of the name that starts at `at`, if it is the name of the last header.
    #[inline]
    pub(super) fn header_name_end(&self, at: usize) -> Option<usize> {
        let name = &self.body[self.header.name.clone()];
        let end = at + name.len();
        let is_same = !name.is_empty() && self.body.get(at..end) == Some(name);
        (is_same && !is_name_part(byte_at(self.body, end))).then_some(end)
    }

    /// Returns the label buffer that was passed to [`Scanner::new`].
    pub(super) fn into_labels(self) -> Vec<CachedLabel> {
        self.labels
    }

    /// The name of the last valid line, without quotes.
    pub(super) fn name(&self) -> Range<usize> {
        self.name.clone()
    }

    /// The hash of that name.
    pub(super) const fn name_hash(&self) -> u64 {
        self.name_hash
    }

    /// The labels of the last valid line.
    pub(super) fn labels(&self) -> &[CachedLabel] {
        &self.labels
    }

    /// The name of one of these labels.
    pub(super) fn label_name(&self, label: &CachedLabel) -> &'a [u8] {
        let start = self.last + label.start + label.name_skip;
        &self.body[start..start + label.name_len]
    }

    /// The range of the value of one of these labels, without quotes.
    pub(super) fn label_value(&self, label: &CachedLabel) -> Range<usize> {
        let start = self.last + label.start;
        start + label.value_skip..start + label.len - 1
    }

    /// Reads the line that starts at `start`. An error clears the cache.
    #[inline]
    pub(super) fn scan(&mut self, start: usize) -> Result<Line, ParseError> {
        let (same_name, braces, cursor) = match self.scan_labels(start) {
            Ok(read) => read,
            Err(error) => return self.forget(error),
        };
        match self.tail(same_name, braces, &cursor) {
            Ok(line) => Ok(line),
            Err(error) => self.forget(error),
        }
    }

    #[cold]
    fn forget(&mut self, error: ParseError) -> Result<Line, ParseError> {
        self.labels.clear();
        self.name = 0..0;
        Err(error)
    }

    /// Reads name and labels.
    #[inline]
    fn scan_labels(&mut self, start: usize) -> Result<(bool, bool, Cursor), ParseError> {
        let body = self.body;
        let mut equal_until = start;
        let mut head = None;
        if let Some(first) = self.labels.first() {
            equal_until += common_prefix(&body[start..], &body[self.last..]);
            // Beyond the first byte of the first label: only then that byte cannot be whitespace.
            if equal_until > start + first.start {
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
            self.read_labels(start, equal_until, &mut cursor)?;
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
            flags: FamilyFlags::NONE,
            gap: FamilyFlags::NONE,
            same_names: true,
        }
    }

    fn new_head(&mut self, start: usize) -> Result<(bool, bool, Cursor), ParseError> {
        let body = self.body;
        let header_end = self.header_name_end(start);
        let end = header_end.unwrap_or_else(|| name_end(body, start, true));
        let mut at = skip_whitespace(body, end);
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
        let mut flags = if byte == b'{' && at > end {
            FamilyFlags::REFORMAT_OPENMETRICS
        } else {
            FamilyFlags::NONE
        };
        let mut name = start..end;
        if byte == b'{' {
            at = skip_whitespace(body, at + 1);
            if body[at - 1] != b'{' {
                flags |= FamilyFlags::REFORMAT_OPENMETRICS;
            }
            if end == start {
                (name, at) = self.quoted_name(at, &mut flags)?;
            }
        }
        let same = body[name.clone()] == body[self.name.clone()];
        self.has_header_name = header_end.is_some();
        if !same {
            self.name_hash = if self.has_header_name {
                self.header.hash
            } else {
                self.seed.name(&body[name.clone()])
            };
        }
        self.name = name;
        self.name_flags = flags;
        Ok((same, byte == b'{', self.cursor(at)))
    }

    /// Reads a metric name inside the braces, and the comma after it.
    fn quoted_name(&self, at: usize, flags: &mut FamilyFlags) -> Result<(Range<usize>, usize), ParseError> {
        let body = self.body;
        if byte_at(body, at) != b'"' {
            return Err((at, Reason::NameStart(byte_at(body, at))));
        }
        let end = closing_quote(body, at + 1)?;
        self.check_name(at + 1..end)?;
        if end == at + 1 {
            return Err((at, Reason::EmptyName));
        }
        *flags |= FamilyFlags::QUOTED;
        let mut next = skip_whitespace(body, end + 1);
        match byte_at(body, next) {
            b'}' => {}
            b',' => next = skip_whitespace(body, next + 1),
            byte => return Err((next, Reason::NoComma(byte))),
        }
        if body[end + 1..next].iter().any(|byte| is_whitespace(*byte)) || body[next - 1] == b',' && byte_at(body, next) == b'}' {
            *flags |= FamilyFlags::REFORMAT_OPENMETRICS;
        }
        Ok((at + 1..end, next))
    }

    /// Refuses a quoted name that is not UTF-8 or contains a NUL. Values may contain one; for a NUL in a name Prometheus refuses the
    /// whole text.
    pub(super) fn check_name(&self, name: Range<usize>) -> Result<(), ParseError> {
        match memchr::memchr(0, &self.body[name.clone()]) {
            Some(len) => Err((name.start + len, Reason::Nul)),
            None => self.check_text(name),
        }
    }

    /// Refuses text that is not UTF-8.
    #[inline]
    pub(super) fn check_text(&self, text: Range<usize>) -> Result<(), ParseError> {
        if self.utf8 {
            return Ok(());
        }
        match std::str::from_utf8(&self.body[text.clone()]) {
            Ok(_) => Ok(()),
            Err(error) => Err((text.start + error.valid_up_to(), Reason::Encoding)),
        }
    }
}
