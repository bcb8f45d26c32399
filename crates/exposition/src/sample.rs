//! Sample lines, split again into their parts when needed.
//!
//! The lines were checked when the text was received, so this only finds the positions of their parts.

use std::num::NonZeroU32;

use crate::byte_scan::find_special;
use crate::family::{Family, MetricType, Suffix};
use crate::hash::Seed;
use crate::span::Span;
use crate::syntax::Syntax;
use crate::timestamps::millis;

/// A sample line. All parts are slices of the stored text, in escaped form.
#[derive(Debug, Clone)]
pub struct Sample<'a> {
    /// The complete line, without surrounding whitespace and without newline.
    pub line: &'a [u8],
    /// The metric name, without quotes.
    pub name: &'a [u8],
    /// True if the name is quoted inside the braces.
    pub quoted: bool,
    /// The labels, in the order of the line.
    pub labels: Labels<'a>,
    /// The value as written; a float in Go's syntax.
    pub value: &'a [u8],
    /// The timestamp as written: milliseconds in digits in the text format; seconds as a finite float in OpenMetrics.
    pub timestamp: Option<&'a [u8]>,
    /// The exemplar, if OpenMetrics allows it: on buckets of histograms and totals of counters, with labels of at most
    /// [`MAX_EXEMPLAR_CHARS`] characters. Others are left out.
    pub exemplar: Option<Exemplar<'a>>,
}

/// Limit of OpenMetrics for the characters of an exemplar's label names and values together.
pub const MAX_EXEMPLAR_CHARS: usize = 128;

impl<'a> Sample<'a> {
    /// A sample of which only the name is known.
    pub(crate) const fn bare(name: &'a [u8]) -> Self {
        Self {
            line: name,
            name,
            quoted: false,
            labels: Labels { text: &[] },
            value: &[],
            timestamp: None,
            exemplar: None,
        }
    }
}

impl Sample<'_> {
    /// The timestamp in milliseconds.
    pub(crate) fn millis(&self, syntax: Syntax) -> Option<i64> {
        millis(self.timestamp?, syntax)
    }

    /// Hash of the series, independent of the application and of the order of labels, and different in every process.
    /// Different series may collide: confirm with [`Sample::same_series`] before dropping one.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let seed = Seed::get();
        let labels = self
            .labels
            .clone()
            .map(|label| seed.label_value(seed.label_name(label.name), label.value));
        labels.fold(seed.name(self.name), u64::wrapping_add)
    }

    /// Returns true if both lines are samples of one series: equal names, and equal labels in any order, ignoring empty ones.
    #[must_use]
    pub fn same_series(&self, other: &Sample<'_>) -> bool {
        let mine = self.labels.clone().filter(|label| !label.value.is_empty());
        let theirs = other.labels.clone().filter(|label| !label.value.is_empty());
        self.name == other.name
            && mine.clone().count() == theirs.clone().count()
            && mine
                .clone()
                .all(|label| theirs.clone().any(|it| it.name == label.name && it.value == label.value))
    }
}

/// Exemplar: links a sample to a trace.
#[derive(Debug, Clone)]
pub struct Exemplar<'a> {
    /// Its labels.
    pub labels: Labels<'a>,
    /// Its value as written.
    pub value: &'a [u8],
    /// Its timestamp as written, in seconds.
    pub timestamp: Option<&'a [u8]>,
}

/// A label of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label<'a> {
    /// Its name, without quotes.
    pub name: &'a [u8],
    /// Its value, without quotes.
    pub value: &'a [u8],
    /// True if the name is quoted.
    pub quoted: bool,
}

/// The labels of a sample or of an exemplar, in the order of the line.
#[derive(Debug, Clone, Default)]
pub struct Labels<'a> {
    text: &'a [u8],
}

impl<'a> Labels<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { text }
    }

    /// The remaining text between the braces, without a quoted metric name.
    #[must_use]
    pub const fn text(&self) -> &'a [u8] {
        self.text
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = Label<'a>;

    fn next(&mut self) -> Option<Label<'a>> {
        let mut rest = Cursor { text: self.text };
        rest.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
        let quoted = rest.text.first() == Some(&b'"');
        let name = if quoted {
            rest.quoted()
        } else {
            rest.until(|byte| matches!(byte, b' ' | b'\t' | b'='))
        };
        rest.skip(|byte| matches!(byte, b' ' | b'\t' | b'='));
        if rest.text.is_empty() {
            self.text = rest.text;
            return None;
        }
        let value = rest.quoted();
        self.text = rest.text;
        Some(Label { name, value, quoted })
    }
}

/// Iterator over the runs of a family, as bytes; see [`Exposition::run_spans`](crate::Exposition::run_spans).
#[derive(Debug, Clone)]
pub struct Runs<'a> {
    body: &'a [u8],
    spans: std::slice::Iter<'a, Span>,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(body: &'a [u8], spans: &'a [Span]) -> Self {
        Self { body, spans: spans.iter() }
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.spans.next().map(|span| span.of(self.body))
    }

    fn nth(&mut self, n: usize) -> Option<&'a [u8]> {
        self.spans.nth(n).map(|span| span.of(self.body))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Runs<'_> {}

/// A place among the samples of a family: before one of them, or at the end; see [`Samples::position`]. It takes eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SamplePosition {
    /// Runs that are not begun.
    runs_left: u32,
    /// Bytes left of the run in work; none if it has ended.
    rest: Option<NonZeroU32>,
}

/// Iterator over the samples of a family; see [`Exposition::samples`](super::Exposition::samples).
#[derive(Debug, Clone)]
pub struct Samples<'a> {
    runs: Runs<'a>,
    rest: Option<&'a [u8]>,
    /// The suffix of the samples that may have exemplars.
    exemplars_at: Option<Suffix>,
    family: &'a [u8],
}

impl<'a> Samples<'a> {
    pub(super) const fn new(runs: Runs<'a>, name: &'a [u8], family: &Family, syntax: Syntax) -> Self {
        let exemplars_at = match (syntax, family.kind) {
            (Syntax::OpenMetrics, MetricType::Counter) => Some(Suffix::Total),
            (Syntax::OpenMetrics, MetricType::Histogram | MetricType::GaugeHistogram) => Some(Suffix::Bucket),
            _ => None,
        };
        Self {
            runs,
            rest: None,
            exemplars_at,
            family: name,
        }
    }

    /// The place before the next sample, where [`Exposition::samples_from`](super::Exposition::samples_from) goes on.
    #[must_use]
    pub fn position(&self) -> SamplePosition {
        // A text has less than 4 GiB: its spans have offsets of 32 bits.
        let short = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        SamplePosition {
            runs_left: short(self.runs.len()),
            rest: self.rest.and_then(|rest| NonZeroU32::new(short(rest.len()))),
        }
    }

    /// The samples from a place on, for those of a whole family.
    pub(super) fn starting_at(mut self, place: SamplePosition) -> Self {
        let begun = self.runs.len().saturating_sub(place.runs_left as usize);
        let in_work = begun.checked_sub(1).and_then(|last| self.runs.nth(last));
        self.rest = in_work.zip(place.rest).and_then(|(run, rest)| {
            let start = run.len().checked_sub(rest.get() as usize)?;
            run.get(start..)
        });
        self
    }
}

impl<'a> Iterator for Samples<'a> {
    type Item = Sample<'a>;

    fn next(&mut self) -> Option<Sample<'a>> {
        let rest = match self.rest {
            Some(rest) => rest,
            None => self.runs.next()?,
        };
        let (line, rest) = match memchr::memchr(b'\n', rest) {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        self.rest = rest;
        let mut sample = split(line);
        if sample.exemplar.as_ref().is_some_and(|it| !self.allows(sample.name, it)) {
            sample.exemplar = None;
        }
        Some(sample)
    }
}

impl Samples<'_> {
    fn allows(&self, sample: &[u8], exemplar: &Exemplar<'_>) -> bool {
        self.exemplars_at.is_some() && self.exemplars_at == Suffix::between(self.family, sample) && exemplar.is_short()
    }
}

impl Exemplar<'_> {
    fn is_short(&self) -> bool {
        let chars = |bytes: &[u8]| unescaped_chars(bytes);
        self.labels
            .clone()
            .map(|label| chars(label.name) + chars(label.value))
            .sum::<usize>()
            <= MAX_EXEMPLAR_CHARS
    }
}

/// Number of characters of a string once unescaped.
pub(super) fn unescaped_chars(escaped: &[u8]) -> usize {
    let mut bytes = escaped.iter();
    let mut count = 0;
    while let Some(byte) = bytes.next() {
        if *byte == b'\\' {
            bytes.next();
        }
        count += usize::from(byte & 0xc0 != 0x80);
    }
    count
}

/// Splits a checked sample line into its parts.
pub(super) fn split(line: &[u8]) -> Sample<'_> {
    let mut rest = Cursor { text: line };
    let mut name = rest.until(|byte| matches!(byte, b' ' | b'\t' | b'{'));
    let quoted = name.is_empty();
    rest.skip_whitespace();
    let mut labels = Labels::default();
    if rest.text.first() == Some(&b'{') {
        rest.text = &rest.text[1..];
        if quoted {
            rest.skip_whitespace();
            name = rest.quoted();
        }
        labels = rest.braced();
        rest.skip_whitespace();
    }
    let value = rest.word();
    rest.skip_whitespace();
    let timestamp = rest.word_before_exemplar();
    rest.skip_whitespace();
    Sample {
        line,
        name,
        quoted,
        labels,
        value,
        timestamp,
        exemplar: rest.exemplar(),
    }
}

/// The remaining text of a checked line.
struct Cursor<'a> {
    text: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn skip(&mut self, these: impl Fn(u8) -> bool) {
        self.until(|byte| !these(byte));
    }

    fn skip_whitespace(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn until(&mut self, stop: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.text.iter().position(|byte| stop(*byte)).unwrap_or(self.text.len());
        let (before, rest) = self.text.split_at(end);
        self.text = rest;
        before
    }

    fn word(&mut self) -> &'a [u8] {
        self.until(|byte| matches!(byte, b' ' | b'\t'))
    }

    fn word_before_exemplar(&mut self) -> Option<&'a [u8]> {
        match self.text.first() {
            None | Some(b'#') => None,
            Some(_) => Some(self.word()),
        }
    }

    /// Reads a quoted string and returns its content.
    fn quoted(&mut self) -> &'a [u8] {
        let rest = self.text.get(1..).unwrap_or_default();
        let (inside, behind) = rest.split_at(closing_quote(rest));
        self.text = behind.get(1..).unwrap_or_default();
        inside
    }

    /// Reads the labels up to and including the closing brace.
    fn braced(&mut self) -> Labels<'a> {
        let start = self.text;
        let mut at = 0;
        while let Some(byte) = start.get(at).filter(|byte| **byte != b'}') {
            at += if *byte == b'"' { closing_quote(&start[at + 1..]) + 2 } else { 1 };
        }
        let (labels, behind) = start.split_at(at.min(start.len()));
        self.text = behind.get(1..).unwrap_or_default();
        Labels { text: labels }
    }

    fn exemplar(mut self) -> Option<Exemplar<'a>> {
        self.text = self.text.strip_prefix(b"#")?;
        self.skip_whitespace();
        self.text = self.text.strip_prefix(b"{")?;
        let labels = self.braced();
        self.skip_whitespace();
        let value = self.word();
        self.skip_whitespace();
        let timestamp = self.word_before_exemplar();
        Some(Exemplar { labels, value, timestamp })
    }
}

/// Offset of the closing quote of a string. Checked lines always have one; a skipped exemplar may lack it, and ends at the end.
#[inline]
fn closing_quote(text: &[u8]) -> usize {
    let mut at = find_special(text, 0);
    while text.get(at) == Some(&b'\\') {
        at = find_special(text, at + 2);
    }
    at.min(text.len())
}

#[cfg(test)]
mod tests;
