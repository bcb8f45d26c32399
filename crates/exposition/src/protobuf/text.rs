//! Lines of OpenMetrics text.

use std::ops::Range;

use bytes::Bytes;

use super::error::DecodeErrorKind;
use super::number::{put_bound, put_double, put_millis, put_seconds, put_whole};
use crate::byte_scan::{any_special, find_special, has_special};
use crate::escape::{is_legacy_label_name, is_legacy_metric_name};
use crate::family::Suffix;

/// A growing text, with the family and the labels of the lines that are written.
#[derive(Default)]
pub(super) struct TextWriter {
    text: Vec<u8>,
    /// The limit of the text.
    limit: usize,
    series: Series,
    /// The beginning of the samples that differ in a bound only.
    line: Vec<u8>,
    /// Bounds as text: histograms of a program have the same ones.
    bounds: Bounds,
    /// The timestamp of the metric in milliseconds; 0 if it has none.
    pub(super) timestamp: i64,
}

/// The name and the labels of samples.
#[derive(Default)]
struct Series {
    /// The name of the family's samples without their suffixes, escaped as inside quotes.
    name: Vec<u8>,
    /// True if the name needs quotes.
    quoted: bool,
    /// The labels of the metric, with a brace or a comma before each.
    labels: Vec<u8>,
    /// The name with each suffix that was used, if it is short and there are several metrics.
    names: [ShortText<MAX_NAME>; SUFFIXES],
    has_several: bool,
}

/// The longest name that is kept with its suffix.
const MAX_NAME: usize = 64;

/// The number of suffixes.
const SUFFIXES: usize = Suffix::NAMED.len() + 1;

impl Series {
    /// Begins a family. Its samples have this name, and a suffix.
    fn begin(&mut self, name: &[u8], has_several: bool) {
        self.has_several = has_several;
        self.name.clear();
        self.quoted = !is_legacy_metric_name(name);
        if self.quoted {
            put_escaped(name, &mut self.name);
        } else {
            self.name.extend_from_slice(name);
        }
        for name in &mut self.names {
            name.len = 0;
        }
    }

    /// True if a sample has braces.
    fn has_braces(&self) -> bool {
        self.quoted || !self.labels.is_empty()
    }

    /// The byte before a further label.
    fn separator(&self) -> u8 {
        if self.has_braces() { b',' } else { b'{' }
    }

    /// Writes name and labels without the closing brace.
    #[inline]
    fn put(&mut self, suffix: Suffix, out: &mut Vec<u8>) {
        match self.names.get(suffix as usize) {
            Some(name) if name.len > 0 => name.put(out),
            _ => self.put_name(suffix, out),
        }
        out.extend_from_slice(&self.labels);
    }

    fn put_name(&mut self, suffix: Suffix, out: &mut Vec<u8>) {
        let (before, behind): (&[u8], &[u8]) = if self.quoted { (b"{\"", b"\"") } else { (b"", b"") };
        let parts = [before, &self.name, suffix.as_str().as_bytes(), behind];
        parts.iter().for_each(|part| out.extend_from_slice(part));
        if self.has_several
            && let (Some(kept), Some(text)) = (self.names.get_mut(suffix as usize), ShortText::of(&parts))
        {
            *kept = text;
        }
    }
}

/// The length of the longest text for which memory is kept.
const KEPT_TEXT: usize = 1 << 20;

/// The same for each of a name, the labels, and the beginning of a line.
const KEPT_PART: usize = 4_096;

/// The bounds that are kept as text; more buckets than a histogram has.
const BOUNDS_KEPT: usize = 64;

/// The latest bounds with their texts, each at the place that its bits give.
#[derive(Default)]
struct Bounds(Vec<Bound>);

/// A bound and its text with what follows it in a line.
#[derive(Clone, Default)]
struct Bound {
    bits: u64,
    text: ShortText<MAX_SHORT>,
}

impl Bounds {
    #[inline]
    fn put(&mut self, bound: f64, out: &mut Vec<u8>) {
        let bits = bound.to_bits();
        // The highest bits depend on all others; the lowest of most bounds are zeros.
        let hash = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BOUNDS_KEPT.ilog2());
        let place = usize::try_from(hash).unwrap_or_default();
        match self.0.get(place) {
            Some(known) if known.bits == bits && known.text.len > 0 => known.text.put(out),
            _ => self.put_new(place, bound, out),
        }
    }

    #[inline(never)]
    fn put_new(&mut self, place: usize, bound: f64, out: &mut Vec<u8>) {
        let start = out.len();
        put_bound(bound, out);
        out.extend_from_slice(BOUND_END);
        self.0.resize(BOUNDS_KEPT, Bound::default());
        if let (Some(kept), Some(text)) = (self.0.get_mut(place), ShortText::of(&[&out[start..]])) {
            *kept = Bound {
                bits: bound.to_bits(),
                text,
            };
        }
    }
}

/// The bytes between a bound and the value.
const BOUND_END: &[u8] = b"\"} ";

/// The most bytes of most labels' names and values, and of bounds.
const MAX_SHORT: usize = 32;

/// A short text at the beginning of an array. A copy of a fixed length needs no call.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShortText<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for ShortText<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> ShortText<N> {
    /// The text of these parts; `None` if it is too long.
    fn of(parts: &[&[u8]]) -> Option<Self> {
        let mut text = Self::default();
        for part in parts {
            let end = text.len + part.len();
            text.bytes.get_mut(text.len..end)?.copy_from_slice(part);
            text.len = end;
        }
        Some(text)
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_first(&self.bytes, self.len, out);
    }
}

/// Writes the first `len` bytes of an array.
#[inline]
fn put_first<const N: usize>(bytes: &[u8; N], len: usize, out: &mut Vec<u8>) {
    let end = out.len() + len;
    out.extend_from_slice(bytes);
    out.truncate(end);
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
    /// Begins a text of at most `limit` bytes, in the memory of the one before.
    pub(super) fn begin(&mut self, capacity: usize, limit: usize) {
        self.text.clear();
        self.text.reserve(capacity.min(limit));
        self.limit = limit;
    }

    /// The text so far.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The whole text. The writer keeps the memory of a text of up to [`KEPT_TEXT`] bytes for the next one, and that of short names and
    /// labels.
    pub(super) fn finish(&mut self) -> Bytes {
        self.text.extend_from_slice(b"# EOF\n");
        for part in [&mut self.series.name, &mut self.series.labels, &mut self.line] {
            part.clear();
            part.shrink_to(KEPT_PART);
        }
        if self.text.capacity() > KEPT_TEXT {
            return Bytes::from(std::mem::take(&mut self.text).into_boxed_slice());
        }
        Bytes::copy_from_slice(&self.text)
    }

    /// Begins a family, of several metrics or one. Its samples have this name, and a suffix.
    pub(super) fn begin_family(&mut self, name: &[u8], has_several: bool) {
        self.series.begin(name, has_several);
    }

    /// Writes a header line of the family. Returns where its value begins; it ends before the newline.
    #[inline]
    pub(super) fn header(&mut self, keyword: &str, value: &[u8]) -> Result<usize, DecodeErrorKind> {
        self.text.extend_from_slice(keyword.as_bytes());
        if self.series.quoted {
            self.text.push(b'"');
            self.text.extend_from_slice(&self.series.name);
            self.text.push(b'"');
        } else {
            self.text.extend_from_slice(&self.series.name);
        }
        self.text.push(b' ');
        let start = self.text.len();
        put_escaped(value, &mut self.text);
        self.end_line().map(|()| start)
    }

    /// Begins a metric with this many bytes of the labels of the one before.
    #[inline]
    pub(super) fn begin_metric(&mut self, labels: usize) {
        self.series.labels.truncate(labels);
        self.timestamp = 0;
    }

    /// The length of the labels so far.
    #[inline]
    pub(super) const fn labels_len(&self) -> usize {
        self.series.labels.len()
    }

    /// Adds a label of the metric.
    pub(super) fn label(&mut self, name: &[u8], value: &[u8]) {
        self.series.labels.push(self.series.separator());
        put_pair(name, value, &mut self.series.labels);
    }

    /// Adds a label of which the name was written before, and returns its value as escaped. The value is a range of `body`.
    #[inline]
    pub(super) fn known_label(&mut self, name: &LabelHead, body: &[u8], value: Range<usize>) -> &[u8] {
        let out = &mut self.series.labels;
        name.put(out);
        let from = out.len();
        put_escaped_of(body, value, out);
        out.push(b'"');
        &out[from..out.len() - 1]
    }

    /// True if the name of the family needs quotes.
    pub(super) const fn is_quoted(&self) -> bool {
        self.series.quoted
    }

    /// The length of the text so far.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Begins the samples of the metric that differ in a bound only.
    pub(super) fn begin_bounds(&mut self, suffix: Suffix, label: &str) {
        self.line.clear();
        put_bounds(&mut self.series, suffix, label, &mut self.line);
    }

    /// Writes a sample with a bound that is the only one of its kind.
    pub(super) fn only_bound(&mut self, suffix: Suffix, label: &str, bound: f64, value: SampleValue) {
        put_bounds(&mut self.series, suffix, label, &mut self.text);
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
        value.put(out);
        if self.timestamp != 0 {
            out.push(b' ');
            put_millis(self.timestamp, out);
        }
    }

    /// Writes a sample up to its value and timestamp.
    #[inline]
    pub(super) fn sample(&mut self, suffix: Suffix, value: SampleValue) {
        let out = &mut self.text;
        self.series.put(suffix, out);
        if self.series.has_braces() {
            out.push(b'}');
        }
        out.push(b' ');
        value.put(out);
        if self.timestamp != 0 {
            out.push(b' ');
            put_millis(self.timestamp, out);
        }
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

/// Writes the beginning of samples that differ in a bound only, up to the bound.
#[inline]
fn put_bounds(series: &mut Series, suffix: Suffix, label: &str, out: &mut Vec<u8>) {
    series.put(suffix, out);
    out.push(series.separator());
    out.extend_from_slice(label.as_bytes());
    out.extend_from_slice(b"=\"");
}

/// Writes a label, with a comma before it if it is not the first.
pub(crate) fn put_label(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b',');
    }
    put_pair(name, value, out);
}

/// Writes the name of a label, in quotes if it needs them, and its value.
fn put_pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if is_legacy_label_name(name) {
        out.extend_from_slice(name);
    } else {
        out.push(b'"');
        put_escaped(name, out);
        out.push(b'"');
    }
    out.extend_from_slice(b"=\"");
    put_escaped(value, out);
    out.push(b'"');
}

/// The name of a label, which needs no quotes, with what stands around it, up to its value.
#[derive(Debug)]
pub(super) enum LabelHead {
    Short(ShortText<MAX_SHORT>),
    Long(Vec<u8>),
}

impl LabelHead {
    /// The head of a label with this name, the first one of a metric or not, in a family with a name that needs no quotes.
    pub(super) fn new(name: &[u8], is_first: bool) -> Self {
        let parts = [if is_first { b"{".as_slice() } else { b"," }, name, b"=\""];
        ShortText::of(&parts).map_or_else(|| Self::Long(parts.concat()), Self::Short)
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Short(text) => text.put(out),
            Self::Long(text) => out.extend_from_slice(text),
        }
    }
}

/// Writes a part of a body as escaped inside quotes. Most are short and have nothing to escape.
#[inline]
fn put_escaped_of(body: &[u8], range: Range<usize>, out: &mut Vec<u8>) {
    let len = range.len();
    if len <= MAX_SHORT
        && let Some((chunk, _)) = body.get(range.start..).and_then(|rest| rest.split_first_chunk::<MAX_SHORT>())
        && !has_special(chunk, len)
    {
        return put_first(chunk, len, out);
    }
    put_escaped(&body[range], out);
}

/// Writes text as escaped inside quotes.
pub(crate) fn put_escaped(text: &[u8], out: &mut Vec<u8>) {
    // Whole arrays are looked through as vectors, also the last one, which may begin inside the one before it.
    match text.last_chunk::<MAX_SHORT>() {
        Some(last) if !any_special(last) && !text.as_chunks::<MAX_SHORT>().0.iter().any(any_special) => out.extend_from_slice(text),
        _ => put_with_escapes(text, out),
    }
}

fn put_with_escapes(text: &[u8], out: &mut Vec<u8>) {
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
