//! A body of messages to text and records.
//!
//! Two passes: the first collects the names of all families, because OpenMetrics gives a family of a type more names than its own, and a
//! family that would claim the name of another is written without that claim. The second writes the text. Memory beside the text: one table
//! of the names.
//!
//! Messages have no names of samples, so a body may have a family `x_bucket` beside a histogram `x`. In text that name is the histogram's: such a
//! family is written behind all others and without headers, and its samples join those of the histogram. None is lost, and none occurs twice.

mod labels;
mod names;
mod places;
mod samples;

use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;

use self::labels::{LabelName, LeadingLabel};
use self::names::{Head, Names, NamesMemory};
pub(crate) use self::places::{BodyPlace, places};
pub(crate) use self::samples::read_time;
use super::MessageType;
use super::error::{DecodeError, DecodeErrorKind, quoted};
use super::field::{family, metric};
use super::records;
use super::text::{TextWriter, slice};
use super::text_index::{IndexBuilder, TextIndex};
use super::wire::{Fault, Fields};
use crate::family::Suffix;
use crate::hash::Seed;
use crate::span::Span;

/// The longest body and the longest text: offsets have 32 bits.
const MAX_BYTES: usize = u32::MAX as usize - 1;

/// The text of a body, and what text cannot carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// OpenMetrics text with all families: a native histogram has the count, the sum and the bucket `+Inf`, beside its classic buckets.
    pub text: Bytes,
    /// The families of which text cannot carry all, as messages of the same format: for
    /// [`Exposition::with_records`](crate::Exposition::with_records). Empty if there are none.
    pub records: Bytes,
}

/// Decodes length-delimited messages. The text may have `max_text` bytes: one byte of a body can make as many bytes of text as a name is
/// long.
///
/// # Errors
/// The first fault of the body. Duplicate series, invalid names and the like are no such fault: the parser of the text reports them.
pub fn decode(body: &[u8], max_text: usize) -> Result<Decoded, DecodeError> {
    decode_indexed(body, max_text).map(|(decoded, _)| decoded)
}

/// Decodes a body, and makes the index of its text if that need not be parsed.
pub(crate) fn decode_indexed(body: &[u8], max_text: usize) -> Result<(Decoded, Option<TextIndex>), DecodeError> {
    let max_text = max_text.min(MAX_BYTES);
    if body.len() > MAX_BYTES {
        return Err(DecodeError {
            family: 1,
            name: None,
            offset: MAX_BYTES,
            kind: DecodeErrorKind::TooLong(MAX_BYTES),
        });
    }
    let mut scratch = Scratch::take();
    let names = Names::of(body, std::mem::take(&mut scratch.names))?;
    let mut decoder = Decoder::new(body, &names, max_text, scratch);
    decoder.families()?;
    if std::str::from_utf8(decoder.out.text()).is_err() {
        for_each_family(body, |range| find_bad_text(body, range))?;
    }
    let (decoded, index, mut scratch) = decoder.finish();
    scratch.names = names.memory();
    scratch.put_back();
    Ok((decoded, index))
}

/// The records for which memory is kept.
const KEPT_RECORDS: usize = 1 << 18;

/// Working memory of one thread, so that decoding allocates little more than its result: at most about 1.5 MiB between two bodies.
#[derive(Default)]
struct Scratch {
    out: TextWriter,
    records: Vec<u8>,
    label_names: Vec<LabelName>,
    leading: Vec<LeadingLabel>,
    names: NamesMemory,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    fn take() -> Self {
        SCRATCH.take()
    }

    fn put_back(self) {
        SCRATCH.set(self);
    }
}

/// Calls `each` with the range of each message.
fn for_each_family(body: &[u8], mut each: impl FnMut(Range<usize>) -> Result<(), Fault>) -> Result<(), DecodeError> {
    let mut messages = Fields::new(body, 0..body.len());
    let mut number = 0;
    while !messages.is_empty() {
        number += 1;
        let error = |name: Option<String>, (offset, kind): Fault| DecodeError {
            family: number,
            name,
            offset,
            kind,
        };
        let range = messages.delimited().map_err(|fault| error(None, fault))?;
        each(range.clone()).map_err(|fault| error(name_of(body, range), fault))?;
    }
    Ok(())
}

/// The number of messages, up to the first fault.
fn count_families(body: &[u8]) -> usize {
    let mut messages = Fields::new(body, 0..body.len());
    let mut count = 0;
    while !messages.is_empty() && messages.delimited().is_ok() {
        count += 1;
    }
    count
}

/// The name of a family that may have a fault.
fn name_of(body: &[u8], range: Range<usize>) -> Option<String> {
    let mut fields = Fields::new(body, range);
    while let Ok(Some(field)) = fields.next() {
        if field.number == family::NAME {
            return field.bytes().ok().map(|name| quoted(slice(body, &name)));
        }
    }
    None
}

/// The form of a family in OpenMetrics text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextForm {
    /// A family of its type.
    Typed,
    /// A counter with samples of this many bytes of its name, and `_total`.
    Total(usize),
    /// Samples without headers, because the name is one that the samples of another family have.
    Untyped,
}

struct Decoder<'a> {
    body: &'a [u8],
    names: &'a Names<'a>,
    out: TextWriter,
    index: IndexBuilder,
    records: Vec<u8>,
    exemplar_labels: Vec<u8>,
    /// The names of labels that metrics have, by position.
    label_names: Vec<LabelName>,
    /// The labels with which the last metric begins, and their place in the body.
    leading: Vec<LeadingLabel>,
    leading_place: Range<usize>,
    /// True if one of the names is that of a bound, which only some families may have.
    has_bound_label: bool,
    seed: Seed,
    /// True if the family has something that its text lacks.
    text_lacks: bool,
    /// True if another family has the name of the creation times of this one.
    omits_created: bool,
    /// True if a family was left for the end, because its name is one that the samples of another family have.
    has_claimed: bool,
    /// The native histograms of the family, and those without classic buckets.
    native: u32,
    native_only: u32,
    /// The number of the family, from 1.
    family: u32,
    /// Offsets of the text to find in the body, the first one last, with their numbers.
    wanted: Vec<(u32, usize)>,
    found: Vec<(usize, BodyPlace)>,
}

impl<'a> Decoder<'a> {
    fn new(body: &'a [u8], names: &'a Names<'a>, max_text: usize, scratch: Scratch) -> Self {
        let Scratch {
            mut out,
            records,
            label_names,
            leading,
            ..
        } = scratch;
        out.begin(body.len() + body.len() / 2, max_text);
        Self {
            body,
            names,
            out,
            index: IndexBuilder::new(),
            records,
            exemplar_labels: Vec::new(),
            label_names,
            leading,
            leading_place: 0..0,
            has_bound_label: false,
            seed: Seed::get(),
            text_lacks: false,
            omits_created: false,
            has_claimed: false,
            native: 0,
            native_only: 0,
            family: 0,
            wanted: Vec::new(),
            found: Vec::new(),
        }
    }

    /// The result, and the memory for another body.
    fn finish(self) -> (Decoded, Option<TextIndex>, Scratch) {
        let Self {
            mut out,
            index,
            mut records,
            mut label_names,
            mut leading,
            ..
        } = self;
        let index = index.finish(out.text());
        let kept = Bytes::copy_from_slice(&records);
        records.clear();
        records.shrink_to(KEPT_RECORDS);
        label_names.clear();
        leading.clear();
        let decoded = Decoded {
            text: out.finish(),
            records: kept,
        };
        let scratch = Scratch {
            out,
            records,
            label_names,
            leading,
            names: NamesMemory::default(),
        };
        (decoded, index, scratch)
    }

    fn form(&self, head: &Head) -> TextForm {
        let (name, names) = (slice(self.body, &head.name), self.names);
        if head.kind != MessageType::Counter {
            return TextForm::Typed;
        }
        let base = name.strip_suffix(b"_total").filter(|base| !base.is_empty());
        base.filter(|base| !names.contains(base) && !names.is_claimed(base))
            .map_or(TextForm::Typed, |base| TextForm::Total(base.len()))
    }

    /// Writes all families, those with names that the samples of others have behind the others.
    fn families(&mut self) -> Result<(), DecodeError> {
        let body = self.body;
        for_each_family(body, |range| self.family(range, false))?;
        if std::mem::take(&mut self.has_claimed) {
            self.family = 0;
            for_each_family(body, |range| self.family(range, true))?;
        }
        Ok(())
    }

    /// Writes a family, if it is one of those that are `claimed` by another one, or of the others.
    fn family(&mut self, range: Range<usize>, claimed: bool) -> Result<(), Fault> {
        let kept = self.names.heads.get(self.family as usize);
        self.family += 1;
        let head = kept.map_or_else(|| Head::read(self.body, range), |head| Ok(head.clone()))?;
        if head.metrics == 0 {
            return Ok(());
        }
        let name = slice(self.body, &head.name);
        let is_claimed = self.names.is_claimed(name);
        if is_claimed != claimed {
            self.has_claimed |= is_claimed;
            return Ok(());
        }
        let form = if claimed { TextForm::Untyped } else { self.form(&head) };
        let name = match form {
            TextForm::Total(len) => &name[..len],
            _ => name,
        };
        let entry = self.names.get(slice(self.body, &head.name), head.name_hash);
        let is_first = entry.is_none_or(|entry| entry.start as usize == head.name.start);
        let is_repeated = entry.is_some_and(|entry| entry.repeated);
        self.out.begin_family(name, head.metrics > 1);
        self.omits_created = self.names.has(name, Suffix::Created);
        self.text_lacks = head.kind == MessageType::GaugeHistogram || is_repeated;
        (self.native, self.native_only) = (0, 0);
        if self.has_bound_label {
            self.has_bound_label = false;
            self.label_names.clear();
            self.leading.clear();
        }
        self.index.begin_family(head.kind);
        if self.index.is_plain() && (is_repeated || form == TextForm::Untyped || self.out.is_quoted()) {
            self.index.give_up();
        }
        if is_first && form != TextForm::Untyped {
            self.headers(&head, name).map_err(|kind| (head.range.start, kind))?;
        }
        self.find_places(&head, None, head.range.start);
        let samples = self.out.len();
        let metrics = self.metrics(&head, form)?;
        let end = self.out.len();
        // Without the newline at the end.
        self.index.end_family(span(samples..end - 1));
        if self.text_lacks && form != TextForm::Untyped {
            self.record(&head, metrics)?;
        }
        Ok(())
    }

    /// Writes the metrics of a family. Returns the range in which they are.
    fn metrics(&mut self, head: &Head, form: TextForm) -> Result<Range<usize>, Fault> {
        let mut metrics = head.range.end..head.range.start;
        let mut number = 0;
        let mut fields = Fields::new(self.body, head.range.clone());
        while let Some(field) = fields.next()? {
            if field.number != family::METRIC {
                continue;
            }
            let start = field.start;
            number += 1;
            metrics = metrics.start.min(start)..fields.at();
            self.metric(head, form, field.bytes()?).map_err(|(offset, kind)| match kind {
                DecodeErrorKind::TooLong(_) => (start, kind),
                _ => (offset, kind),
            })?;
            if !self.wanted.is_empty() {
                self.find_places(head, Some(number), start);
            }
        }
        Ok(metrics)
    }

    fn headers(&mut self, head: &Head, name: &[u8]) -> Result<(), DecodeErrorKind> {
        let word: &[u8] = match head.kind {
            MessageType::Counter => b"counter",
            MessageType::Gauge => b"gauge",
            MessageType::Summary => b"summary",
            MessageType::Untyped => b"unknown",
            MessageType::Histogram => b"histogram",
            MessageType::GaugeHistogram => b"gaugehistogram",
        };
        // Only a TYPE line makes a name the family's own that the type of another family claims.
        let is_claimed = matches!(Suffix::split(name), Some((_, Suffix::Created | Suffix::Total)));
        if is_claimed {
            self.header("# TYPE ", name, word)?;
        }
        if !head.help.is_empty() {
            let help = slice(self.body, &head.help);
            let start = self.header("# HELP ", name, help)?;
            if self.index.is_plain() {
                let end = self.out.len() - 1;
                self.index.help(&self.out.text()[start..end], span(start..end));
            }
        }
        if !is_claimed {
            self.header("# TYPE ", name, word)?;
        }
        let unit = slice(self.body, &head.unit);
        // A counter that keeps its `_total` in the name of its family cannot state its unit.
        let is_hidden = head.kind == MessageType::Counter && name.ends_with(b"_total");
        if !unit.is_empty() && !is_hidden {
            self.out.header("# UNIT ", unit)?;
            self.index.unit(name, unit);
        }
        self.text_lacks |= !unit.is_empty() && is_hidden;
        Ok(())
    }

    /// Writes a header line with the name of the family. Returns where its value begins.
    fn header(&mut self, keyword: &str, name: &[u8], value: &[u8]) -> Result<usize, DecodeErrorKind> {
        let start = self.out.len() + keyword.len();
        self.index.name(span(start..start + name.len()));
        self.out.header(keyword, value)
    }

    /// Keeps the metrics of a family as they came, under its name and type. They are in this range, among other fields if there are any.
    fn record(&mut self, head: &Head, metrics: Range<usize>) -> Result<(), Fault> {
        let name = slice(self.body, &head.name);
        let is_mixed = self.names.claims_others(name, head.kind);
        records::put_family(name, head.kind, is_mixed, head.metric_bytes, &mut self.records);
        let start = self.records.len();
        if metrics.len() == head.metric_bytes {
            self.records.extend_from_slice(slice(self.body, &metrics));
        } else {
            let mut fields = Fields::new(self.body, head.range.clone());
            while let Some(field) = fields.next()? {
                if field.number == family::METRIC {
                    self.records.extend_from_slice(slice(self.body, &(field.start..fields.at())));
                }
            }
        }
        let metrics = span(start..self.records.len());
        self.index.records(metrics, self.native, self.native_only);
        Ok(())
    }

    fn metric(&mut self, head: &Head, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        let wanted = match head.kind {
            MessageType::Counter => metric::COUNTER,
            MessageType::Gauge => metric::GAUGE,
            MessageType::Summary => metric::SUMMARY,
            MessageType::Untyped => metric::UNTYPED,
            MessageType::Histogram | MessageType::GaugeHistogram => metric::HISTOGRAM,
        };
        let start = range.start;
        let mut fields = Fields::new(self.body, range);
        let mut labels = self.leading_labels(&mut fields)?;
        // What encoders write next, which is nearly always the last field.
        let mut value = fields.message_of(wanted)?;
        while let Some(field) = fields.next()? {
            match field.number {
                metric::LABEL => {
                    let (name, value) = self.label(field.bytes()?)?;
                    self.put_label(name, value, &mut labels);
                }
                metric::TIMESTAMP_MS => self.out.timestamp = field.varint()?.cast_signed(),
                number if number == wanted => {
                    let before = value.replace(field.bytes()?);
                    if before.is_some() {
                        self.index.give_up();
                    }
                }
                // Read again with the records, by its number alone.
                metric::HISTOGRAM => self.index.give_up(),
                _ => {}
            }
        }
        if self.index.is_plain() {
            self.index.metric(labels.hash, head.metrics);
            if self.out.timestamp != 0 {
                self.index.timestamp(self.out.timestamp);
            }
        }
        let value = value.unwrap_or(start..start);
        match head.kind {
            MessageType::Counter => self.counter(form, value),
            MessageType::Gauge | MessageType::Untyped => self.scalar(value),
            MessageType::Summary => self.summary(form, value),
            MessageType::Histogram => self.histogram(form, value, Suffix::Count, Suffix::Sum),
            MessageType::GaugeHistogram => self.histogram(form, value, Suffix::GCount, Suffix::GSum),
        }
    }
}

/// A range of the text or the records. Neither is longer than [`MAX_BYTES`] by more than a line, of which the text is refused.
fn span(range: Range<usize>) -> Span {
    let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    Span::new(narrow(range.start), narrow(range.end))
}

/// Finds what is not UTF-8 in a family, which is looked for only if something is not.
fn find_bad_text(body: &[u8], range: Range<usize>) -> Result<(), Fault> {
    let check = |what: &'static str, range: &Range<usize>| match std::str::from_utf8(slice(body, range)) {
        Ok(_) => Ok(()),
        Err(error) => Err((range.start + error.valid_up_to(), DecodeErrorKind::Encoding(what))),
    };
    let mut fields = Fields::new(body, range);
    while let Some(field) = fields.next()? {
        match field.number {
            family::NAME => check("the name", &field.bytes()?)?,
            family::HELP => check("the help text", &field.bytes()?)?,
            family::UNIT => check("the unit", &field.bytes()?)?,
            family::METRIC => records::for_each_label(body, field.bytes()?, &mut |name, value| {
                check("a label name", &name)?;
                check("a label value", &value)
            })?,
            _ => {}
        }
    }
    Ok(())
}
