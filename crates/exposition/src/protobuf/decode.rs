//! A body of messages to text and records.
//!
//! Two passes: the first collects the names of all families, because OpenMetrics gives a family of a type more names than its own, and a
//! family that would claim the name of another is written without that claim. The second writes the text. Memory beside the text: one table
//! of the names.

use std::ops::Range;

use bytes::Bytes;
use hashbrown::HashTable;

use super::MessageType;
use super::error::{DecodeError, DecodeErrorKind, quoted};
use super::field::{bucket, exemplar, family, histogram, metric, quantile, scalar, summary, timestamp};
use super::records::{self, Native};
use super::text::{SampleValue, TextWriter, put_label, slice};
use super::wire::{Fault, Fields};
use crate::hash::name_hash;
use crate::sample::MAX_EXEMPLAR_CHARS;

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
    let max_text = max_text.min(MAX_BYTES);
    if body.len() > MAX_BYTES {
        return Err(DecodeError {
            family: 1,
            name: None,
            offset: MAX_BYTES,
            kind: DecodeErrorKind::TooLong(MAX_BYTES),
        });
    }
    let mut names = Names::new(body);
    for_each_family(body, |range| {
        let head = Head::read(body, range)?;
        names.insert(&head);
        Ok(())
    })?;
    let mut decoder = Decoder {
        body,
        names: &names,
        out: TextWriter::new(body.len() + body.len() / 2, max_text),
        records: Vec::new(),
        exemplar_labels: Vec::new(),
        text_lacks: false,
    };
    for_each_family(body, |range| decoder.family(range))?;
    if std::str::from_utf8(decoder.out.text()).is_err() {
        for_each_family(body, |range| find_bad_text(body, range))?;
    }
    let records = Bytes::from(decoder.records.into_boxed_slice());
    let text = Bytes::from(decoder.out.finish().into_boxed_slice());
    Ok(Decoded { text, records })
}

/// A fault of the text of a body, at a byte offset of the text, with its place in the body.
#[must_use]
pub fn fault_at(body: &[u8], text_offset: usize, reason: &str) -> String {
    // Decoding ends there if the text may not be longer.
    match decode(body, text_offset) {
        Err(place) => place.with(&reason),
        Ok(_) => reason.to_owned(),
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

/// A message without its metrics.
struct Head {
    range: Range<usize>,
    name: Range<usize>,
    help: Range<usize>,
    unit: Range<usize>,
    kind: MessageType,
    metrics: usize,
    /// The bytes of the metrics with their tags and lengths.
    metric_bytes: usize,
}

impl Head {
    fn read(body: &[u8], range: Range<usize>) -> Result<Self, Fault> {
        let mut fields = Fields::new(body, range.clone());
        let mut head = Self {
            range: range.clone(),
            name: 0..0,
            help: 0..0,
            unit: 0..0,
            kind: MessageType::Counter,
            metrics: 0,
            metric_bytes: 0,
        };
        while let Some(field) = fields.next()? {
            match field.number {
                family::NAME => head.name = field.bytes()?,
                family::HELP => head.help = field.bytes()?,
                family::UNIT => head.unit = field.bytes()?,
                family::TYPE => {
                    let number = field.varint()?;
                    head.kind = MessageType::from_number(number).ok_or((field.start, DecodeErrorKind::UnknownType(number)))?;
                }
                family::METRIC => {
                    head.metrics += 1;
                    head.metric_bytes += fields.at() - field.start;
                    field.bytes()?;
                }
                _ => {}
            }
        }
        if head.name.is_empty() && head.metrics > 0 {
            return Err((range.start, DecodeErrorKind::NoName));
        }
        Ok(head)
    }
}

/// The names of all families with metrics. Twelve bytes each and a byte of the table.
struct Names<'a> {
    body: &'a [u8],
    table: HashTable<Name>,
}

#[derive(Clone, Copy)]
struct Name {
    /// Its first occurrence.
    start: u32,
    len: u32,
    /// True if several messages have it.
    repeated: bool,
}

impl Name {
    const fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

impl<'a> Names<'a> {
    fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            table: HashTable::new(),
        }
    }

    fn insert(&mut self, head: &Head) {
        if head.metrics == 0 {
            return;
        }
        let body = self.body;
        let name = slice(body, &head.name);
        let hash = |it: &Name| name_hash(slice(body, &it.range()));
        match self.table.find_mut(name_hash(name), |it| slice(body, &it.range()) == name) {
            Some(known) => known.repeated = true,
            None => {
                // No body is longer than 32 bits can count.
                let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                let entry = Name {
                    start: narrow(head.name.start),
                    len: narrow(name.len()),
                    repeated: false,
                };
                self.table.insert_unique(name_hash(name), entry, hash);
            }
        }
    }

    fn get(&self, name: &[u8]) -> Option<Name> {
        self.table
            .find(name_hash(name), |it| slice(self.body, &it.range()) == name)
            .copied()
    }

    fn has(&self, base: &[u8], suffix: &str) -> bool {
        self.get(&[base, suffix.as_bytes()].concat()).is_some()
    }
}

/// The form of a family in OpenMetrics text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextForm {
    /// A family of its type.
    Typed,
    /// A counter with samples of this many bytes of its name, and `_total`.
    Total(usize),
    /// Samples without headers, because the type would claim names of other families.
    Untyped,
}

struct Decoder<'a> {
    body: &'a [u8],
    names: &'a Names<'a>,
    out: TextWriter,
    records: Vec<u8>,
    exemplar_labels: Vec<u8>,
    /// True if the family has something that its text lacks.
    text_lacks: bool,
}

impl<'a> Decoder<'a> {
    fn form(&self, head: &Head) -> TextForm {
        let (name, names) = (slice(self.body, &head.name), self.names);
        match head.kind {
            MessageType::Gauge | MessageType::Untyped => TextForm::Typed,
            MessageType::Counter => {
                let base = name.strip_suffix(b"_total").filter(|base| !base.is_empty());
                match base.filter(|base| !names.has(base, "") && !names.has(base, "_created")) {
                    Some(base) => TextForm::Total(base.len()),
                    None if names.has(name, "_total") || names.has(name, "_created") => TextForm::Untyped,
                    None => TextForm::Typed,
                }
            }
            MessageType::Histogram | MessageType::Summary if names.has(name, "_created") => TextForm::Untyped,
            MessageType::Histogram | MessageType::Summary => TextForm::Typed,
            MessageType::GaugeHistogram => {
                let taken = ["_bucket", "_gcount", "_gsum"].iter().any(|suffix| names.has(name, suffix));
                if taken { TextForm::Untyped } else { TextForm::Typed }
            }
        }
    }

    fn family(&mut self, range: Range<usize>) -> Result<(), Fault> {
        let head = Head::read(self.body, range)?;
        if head.metrics == 0 {
            return Ok(());
        }
        let form = self.form(&head);
        let name = slice(self.body, &head.name);
        let name = match form {
            TextForm::Total(len) => &name[..len],
            _ => name,
        };
        let entry = self.names.get(slice(self.body, &head.name));
        let is_first = entry.is_none_or(|entry| entry.start as usize == head.name.start);
        self.out.begin_family(name);
        self.text_lacks = head.kind == MessageType::GaugeHistogram || entry.is_some_and(|entry| entry.repeated);
        if is_first && form != TextForm::Untyped {
            self.headers(&head, name).map_err(|kind| (head.range.start, kind))?;
        }
        let mut fields = Fields::new(self.body, head.range.clone());
        while let Some(field) = fields.next()? {
            if field.number == family::METRIC {
                let start = field.start;
                self.metric(&head, form, field.bytes()?).map_err(|(offset, kind)| match kind {
                    DecodeErrorKind::TooLong(_) => (start, kind),
                    _ => (offset, kind),
                })?;
            }
        }
        if self.text_lacks && form != TextForm::Untyped {
            self.record(&head)?;
        }
        Ok(())
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
        if !head.help.is_empty() {
            self.out.header("# HELP ", slice(self.body, &head.help))?;
        }
        self.out.header("# TYPE ", word)?;
        let unit = slice(self.body, &head.unit);
        // A counter that keeps its `_total` in the name of its family cannot state its unit.
        let is_hidden = head.kind == MessageType::Counter && name.ends_with(b"_total");
        if !unit.is_empty() && !is_hidden {
            self.out.header("# UNIT ", unit)?;
        }
        self.text_lacks |= !unit.is_empty() && is_hidden;
        Ok(())
    }

    /// Keeps the metrics of a family as they came, under its name and type.
    fn record(&mut self, head: &Head) -> Result<(), Fault> {
        let name = slice(self.body, &head.name);
        records::put_family(name, head.kind, head.metric_bytes, &mut self.records);
        let mut fields = Fields::new(self.body, head.range.clone());
        while let Some(field) = fields.next()? {
            if field.number == family::METRIC {
                self.records.extend_from_slice(slice(self.body, &(field.start..fields.at())));
            }
        }
        Ok(())
    }

    fn metric(&mut self, head: &Head, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        self.out.begin_metric();
        let wanted = match head.kind {
            MessageType::Counter => metric::COUNTER,
            MessageType::Gauge => metric::GAUGE,
            MessageType::Summary => metric::SUMMARY,
            MessageType::Untyped => metric::UNTYPED,
            MessageType::Histogram | MessageType::GaugeHistogram => metric::HISTOGRAM,
        };
        let start = range.start;
        let mut value = start..start;
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                metric::LABEL => {
                    let (name, value) = self.label(field.bytes()?)?;
                    self.out.label(name, value);
                }
                metric::TIMESTAMP_MS => self.out.timestamp = field.varint()?.cast_signed(),
                number if number == wanted => value = field.bytes()?,
                _ => {}
            }
        }
        match head.kind {
            MessageType::Counter => self.counter(form, value),
            MessageType::Gauge | MessageType::Untyped => self.scalar(value),
            MessageType::Summary => self.summary(form, value),
            MessageType::Histogram => self.histogram(form, value, "_count", "_sum"),
            MessageType::GaugeHistogram => self.histogram(form, value, "_gcount", "_gsum"),
        }
    }

    /// The name and the value of a label.
    fn label(&self, range: Range<usize>) -> Result<(&'a [u8], &'a [u8]), Fault> {
        let (start, body) = (range.start, self.body);
        let (name, value) = records::read_label(body, range)?;
        if name.is_empty() {
            return Err((start, DecodeErrorKind::NoLabelName));
        }
        Ok((&body[name], &body[value]))
    }

    fn scalar(&mut self, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let mut value = 0.0;
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            if field.number == scalar::VALUE {
                value = field.double()?;
            }
        }
        self.out.sample("", None, SampleValue::Double(value));
        self.out.end_line().map_err(|kind| (start, kind))
    }

    fn counter(&mut self, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let (mut value, mut exemplar, mut created) = (0.0, None, None);
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                scalar::VALUE => value = field.double()?,
                scalar::EXEMPLAR => exemplar = Some(field.bytes()?),
                scalar::CREATED => created = Some(field.bytes()?),
                _ => {}
            }
        }
        let suffix = if matches!(form, TextForm::Total(_)) { "_total" } else { "" };
        self.out.sample(suffix, None, SampleValue::Double(value));
        if let Some(exemplar) = exemplar {
            // Without `_total` the parser of the text leaves it out, and counts it.
            self.text_lacks |= !matches!(form, TextForm::Total(_));
            self.exemplar(form, exemplar)?;
        }
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.created(form, created)
    }

    fn summary(&mut self, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let (mut count, mut sum, mut created) = (0, 0.0, None);
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                summary::COUNT => count = field.varint()?,
                summary::SUM => sum = field.double()?,
                summary::QUANTILE => self.quantile(field.bytes()?)?,
                summary::CREATED => created = Some(field.bytes()?),
                _ => {}
            }
        }
        self.out.sample("_count", None, SampleValue::Whole(count));
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.out.sample("_sum", None, SampleValue::Double(sum));
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.created(form, created)
    }

    fn quantile(&mut self, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let (mut at, mut value) = (0.0, 0.0);
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                quantile::QUANTILE => at = field.double()?,
                quantile::VALUE => value = field.double()?,
                _ => {}
            }
        }
        self.out.sample("", Some(("quantile", at)), SampleValue::Double(value));
        self.out.end_line().map_err(|kind| (start, kind))
    }

    fn histogram(&mut self, form: TextForm, range: Range<usize>, count_name: &str, sum_name: &str) -> Result<(), Fault> {
        let start = range.start;
        let (mut count, mut count_float, mut sum, mut created) = (0, 0.0, 0.0, None);
        let (mut is_native, mut has_last) = (false, false);
        let mut fields = Fields::new(self.body, range.clone());
        while let Some(field) = fields.next()? {
            match field.number {
                histogram::COUNT => count = field.varint()?,
                histogram::COUNT_FLOAT => count_float = field.double()?,
                histogram::SUM => sum = field.double()?,
                histogram::BUCKET => has_last |= self.bucket(form, field.bytes()?)?,
                histogram::CREATED => created = Some(field.bytes()?),
                histogram::SCHEMA..=histogram::EXEMPLARS => is_native = true,
                _ => {}
            }
        }
        if is_native {
            self.text_lacks = true;
            Native::read(self.body, range)?.check(start)?;
        }
        let count = number(count, count_float);
        if !has_last {
            self.out.sample("_bucket", Some(("le", f64::INFINITY)), count);
            self.out.end_line().map_err(|kind| (start, kind))?;
        }
        self.out.sample(count_name, None, count);
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.out.sample(sum_name, None, SampleValue::Double(sum));
        self.out.end_line().map_err(|kind| (start, kind))?;
        if count_name == "_count" {
            self.created(form, created)
        } else {
            Ok(())
        }
    }

    /// Writes a classic bucket; true if it is the one of infinity.
    fn bucket(&mut self, form: TextForm, range: Range<usize>) -> Result<bool, Fault> {
        let start = range.start;
        let (mut count, mut count_float, mut bound, mut exemplar) = (0, 0.0, 0.0, None);
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                bucket::COUNT => count = field.varint()?,
                bucket::COUNT_FLOAT => count_float = field.double()?,
                bucket::BOUND => bound = field.double()?,
                bucket::EXEMPLAR => exemplar = Some(field.bytes()?),
                _ => {}
            }
        }
        self.out.sample("_bucket", Some(("le", bound)), number(count, count_float));
        if let Some(exemplar) = exemplar {
            self.exemplar(form, exemplar)?;
        }
        self.out.end_line().map_err(|kind| (start, kind))?;
        Ok(bound == f64::INFINITY)
    }

    /// Writes the exemplar of the last sample. A family without headers has none.
    fn exemplar(&mut self, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        let mut labels = std::mem::take(&mut self.exemplar_labels);
        labels.clear();
        let (mut value, mut time, mut chars) = (0.0, None, 0);
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                exemplar::LABEL => {
                    let (name, value) = self.label(field.bytes()?)?;
                    put_label(name, value, &mut labels);
                    chars += characters(name) + characters(value);
                }
                exemplar::VALUE => value = field.double()?,
                exemplar::TIMESTAMP => time = Some(read_time(self.body, field.bytes()?)?),
                _ => {}
            }
        }
        self.text_lacks |= chars > MAX_EXEMPLAR_CHARS;
        if form != TextForm::Untyped {
            self.out.exemplar(&labels, value, time);
        }
        self.exemplar_labels = labels;
        Ok(())
    }

    /// Writes the creation time of a metric.
    fn created(&mut self, form: TextForm, range: Option<Range<usize>>) -> Result<(), Fault> {
        let Some(range) = range else { return Ok(()) };
        let start = range.start;
        let (seconds, nanos) = read_time(self.body, range)?;
        // As in Prometheus, the start of the epoch is no time.
        if (seconds, nanos) == (0, 0) || form == TextForm::Untyped {
            return Ok(());
        }
        self.out.sample("_created", None, SampleValue::Time(seconds, nanos));
        self.out.end_line().map_err(|kind| (start, kind))
    }
}

/// A count, of which the float is the one that counts if it is above zero.
fn number(count: u64, float: f64) -> SampleValue {
    if float > 0.0 {
        SampleValue::Double(float)
    } else {
        SampleValue::Whole(count)
    }
}

/// Number of characters of UTF-8.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// The seconds and nanoseconds of a timestamp message.
fn read_time(body: &[u8], range: Range<usize>) -> Result<(i64, i64), Fault> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Fields::new(body, range);
    while let Some(field) = fields.next()? {
        match field.number {
            timestamp::SECONDS => seconds = field.varint()?.cast_signed(),
            timestamp::NANOS => nanos = field.varint()?.cast_signed(),
            _ => {}
        }
    }
    Ok((seconds, nanos))
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
