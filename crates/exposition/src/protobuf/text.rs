//! Lines of OpenMetrics text.

use std::ops::Range;

use super::error::DecodeErrorKind;
use super::number::{put_bound, put_double, put_millis, put_seconds, put_whole};
use crate::byte_scan::find_special;
use crate::escape::{is_legacy_label_name, is_legacy_metric_name};

/// A growing text, with the family and the labels of the lines that are written.
pub(super) struct TextWriter {
    text: Vec<u8>,
    /// The limit of the text.
    limit: usize,
    /// The name of the family's samples without their suffixes, escaped as inside quotes.
    name: Vec<u8>,
    /// True if the name needs quotes.
    quoted: bool,
    /// The labels of the metric, with commas between them.
    labels: Vec<u8>,
    /// The beginning of the samples that differ in a bound only.
    line: Vec<u8>,
    /// Bounds as text: histograms of a program have the same ones.
    bounds: Bounds,
    /// The timestamp of the metric in milliseconds; 0 if it has none.
    pub(super) timestamp: i64,
}

/// The bounds that are kept as text; more buckets than a histogram has.
const BOUNDS_KEPT: usize = 64;

/// The latest bounds with their texts, each at the place that its bits give.
#[derive(Default)]
struct Bounds(Vec<(u64, Vec<u8>)>);

impl Bounds {
    fn put(&mut self, bound: f64, out: &mut Vec<u8>) {
        if self.0.is_empty() {
            self.0.resize(BOUNDS_KEPT, (0, Vec::new()));
        }
        let bits = bound.to_bits();
        let hash = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let (of, text) = &mut self.0[usize::try_from(hash).unwrap_or_default() % BOUNDS_KEPT];
        if *of != bits || text.is_empty() {
            *of = bits;
            text.clear();
            put_bound(bound, text);
        }
        out.extend_from_slice(text);
    }
}

/// The value of a sample.
#[derive(Debug, Clone, Copy)]
pub(super) enum SampleValue {
    Whole(u64),
    Double(f64),
    /// Seconds and nanoseconds.
    Time(i64, i64),
}

impl SampleValue {
    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(number) => put_whole(number, out),
            Self::Double(number) => put_double(number, out),
            Self::Time(seconds, nanos) => put_seconds(seconds, nanos, out),
        }
    }
}

impl TextWriter {
    pub(super) fn new(capacity: usize, limit: usize) -> Self {
        Self {
            text: Vec::with_capacity(capacity.min(limit)),
            limit,
            name: Vec::new(),
            quoted: false,
            labels: Vec::new(),
            line: Vec::new(),
            bounds: Bounds::default(),
            timestamp: 0,
        }
    }

    /// The text so far.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.text.extend_from_slice(b"# EOF\n");
        self.text
    }

    /// Begins a family. Its samples have this name, and a suffix.
    pub(super) fn begin_family(&mut self, name: &[u8]) {
        self.name.clear();
        self.quoted = !is_legacy_metric_name(name);
        put_escaped(name, &mut self.name);
    }

    /// Writes a header line of the family, without the text behind the name if it has none.
    pub(super) fn header(&mut self, keyword: &str, value: &[u8]) -> Result<(), DecodeErrorKind> {
        self.text.extend_from_slice(keyword.as_bytes());
        if self.quoted {
            self.text.push(b'"');
            self.text.extend_from_slice(&self.name);
            self.text.push(b'"');
        } else {
            self.text.extend_from_slice(&self.name);
        }
        self.text.push(b' ');
        put_escaped(value, &mut self.text);
        self.end_line()
    }

    /// Begins a metric.
    pub(super) fn begin_metric(&mut self) {
        self.labels.clear();
        self.timestamp = 0;
    }

    /// Adds a label of the metric, and returns its value as escaped.
    #[inline]
    pub(super) fn label(&mut self, name: &[u8], is_legacy: bool, value: &[u8]) -> &[u8] {
        let out = &mut self.labels;
        if !out.is_empty() {
            out.push(b',');
        }
        put_label_name(name, is_legacy, out);
        let from = out.len();
        put_escaped(value, out);
        out.push(b'"');
        &out[from..out.len() - 1]
    }

    /// True if the name of the family needs quotes.
    pub(super) const fn is_quoted(&self) -> bool {
        self.quoted
    }

    /// The length of the text so far.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Begins the samples of the metric that differ in a bound only.
    pub(super) fn begin_bounds(&mut self, suffix: &str, label: &str) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let separator = self.put_series(suffix, &mut line);
        line.push(separator);
        line.extend_from_slice(label.as_bytes());
        line.extend_from_slice(b"=\"");
        self.line = line;
    }

    /// Writes a sample with a bound that is the only one of its kind.
    pub(super) fn only_bound(&mut self, suffix: &str, label: &str, bound: f64, value: SampleValue) {
        let mut out = std::mem::take(&mut self.text);
        let separator = self.put_series(suffix, &mut out);
        out.push(separator);
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(b"=\"");
        self.text = out;
        self.finish_bound(bound, value);
    }

    /// Writes one of these samples up to its value and timestamp.
    #[inline]
    pub(super) fn bound(&mut self, bound: f64, value: SampleValue) {
        self.text.extend_from_slice(&self.line);
        self.finish_bound(bound, value);
    }

    #[inline]
    fn finish_bound(&mut self, bound: f64, value: SampleValue) {
        let out = &mut self.text;
        self.bounds.put(bound, out);
        out.extend_from_slice(b"\"} ");
        value.put(out);
        if self.timestamp != 0 {
            out.push(b' ');
            put_millis(self.timestamp, out);
        }
    }

    /// Writes name and labels without the closing brace. Returns what stands before a further label.
    #[inline]
    fn put_series(&self, suffix: &str, out: &mut Vec<u8>) -> u8 {
        let mut separator = b'{';
        if self.quoted {
            out.extend_from_slice(b"{\"");
            out.extend_from_slice(&self.name);
            out.extend_from_slice(suffix.as_bytes());
            out.push(b'"');
            separator = b',';
        } else {
            out.extend_from_slice(&self.name);
            out.extend_from_slice(suffix.as_bytes());
        }
        if !self.labels.is_empty() {
            out.push(separator);
            separator = b',';
            out.extend_from_slice(&self.labels);
        }
        separator
    }

    /// Writes a sample up to its value and timestamp.
    #[inline]
    pub(super) fn sample(&mut self, suffix: &str, value: SampleValue) {
        let mut out = std::mem::take(&mut self.text);
        let separator = self.put_series(suffix, &mut out);
        out.extend_from_slice(if separator == b',' { b"} " } else { b" " });
        value.put(&mut out);
        if self.timestamp != 0 {
            out.push(b' ');
            put_millis(self.timestamp, &mut out);
        }
        self.text = out;
    }

    /// Writes the exemplar of the sample before it. `labels` are rendered ones.
    pub(super) fn exemplar(&mut self, labels: &[u8], value: f64, time: Option<(i64, i64)>) {
        let out = &mut self.text;
        out.extend_from_slice(b" # {");
        out.extend_from_slice(labels);
        out.extend_from_slice(b"} ");
        put_double(value, out);
        if let Some((seconds, nanos)) = time {
            out.push(b' ');
            put_seconds(seconds, nanos, out);
        }
    }

    /// Ends a line.
    ///
    /// # Errors
    /// If the text is longer than the limit. It is then longer by one line at most.
    #[inline]
    pub(super) fn end_line(&mut self) -> Result<(), DecodeErrorKind> {
        self.text.push(b'\n');
        if self.text.len() > self.limit {
            return Err(DecodeErrorKind::TooLong(self.limit));
        }
        Ok(())
    }
}

/// Writes a label, with a comma before it if it is not the first.
pub(crate) fn put_label(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b',');
    }
    put_label_name(name, is_legacy_label_name(name), out);
    put_escaped(value, out);
    out.push(b'"');
}

/// Writes the name of a label, in quotes if it needs them, and what stands before its value.
#[inline]
fn put_label_name(name: &[u8], is_legacy: bool, out: &mut Vec<u8>) {
    if is_legacy {
        out.extend_from_slice(name);
    } else {
        out.push(b'"');
        put_escaped(name, out);
        out.push(b'"');
    }
    out.extend_from_slice(b"=\"");
}

/// Writes text as escaped inside quotes.
#[inline]
pub(crate) fn put_escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    loop {
        let at = find_special(text, from);
        out.extend_from_slice(&text[from..at]);
        match text.get(at) {
            None => return,
            Some(b'\n') => out.extend_from_slice(b"\\n"),
            Some(&byte) => out.extend_from_slice(&[b'\\', byte]),
        }
        from = at + 1;
    }
}

/// Bytes of a body.
pub(super) fn slice<'a>(body: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    &body[range.clone()]
}
