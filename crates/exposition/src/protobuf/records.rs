//! Records: metrics as they came, for what text cannot carry.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;

use super::MessageType;
use super::error::DecodeErrorKind;
use super::field::{bucket, exemplar, family, histogram, label, metric, scalar, span};
use super::text::put_escaped;
use super::wire::{self, Fault, Field, FieldValue, Fields, put_bytes, put_number, unzigzag};
use crate::hash::{label_hash, name_hash};
use crate::span::Span;

/// The highest resolution of a native histogram.
const MAX_SCHEMA: i64 = 8;
/// The lowest one.
const MIN_SCHEMA: i64 = -4;

/// Deltas of one byte that make counts of less than 32 bits, and so is their sum.
const MAX_SMALL_DELTAS: usize = 4_096;

/// Families of one app of which text cannot carry all: their metrics as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    /// Length-delimited messages: name, type and metrics.
    pub(crate) bytes: Bytes,
    /// In the order of the families of the text.
    pub(crate) families: Box<[RecordFamily]>,
    /// The families of the text that have only samples of records of another family, in order. A body with several types of one name
    /// has them: in the text only the first one is a type.
    pub(crate) carried: Box<[u32]>,
    /// All samples of the records, where families of the text have samples of records and other ones. Empty where each sample of a family with
    /// records is one of theirs, and no other family has any, which nearly all bodies are like.
    pub(crate) samples: HashSet<RecordSample>,
}

/// A sample by the hash of its series and its time in milliseconds.
pub(crate) type RecordSample = (u64, Option<i64>);

/// The records of a family, or those of one type of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordFamily {
    /// The number of the family in the text.
    pub(crate) family: u32,
    pub(crate) kind: MessageType,
    /// True if its family of the text may have samples of other families as well: the body has one with the name of such samples.
    pub(crate) is_mixed: bool,
    /// The metrics, as fields of a family one after another.
    pub(crate) metrics: Span,
    /// The number of native histograms.
    pub(crate) native: u32,
    /// The number of those without classic buckets.
    pub(crate) native_only: u32,
}

/// The records of a family by name, before it is found in a text.
pub(super) struct NamedRecords {
    pub(super) name: Range<usize>,
    pub(super) kind: MessageType,
    pub(super) is_mixed: bool,
    pub(super) metrics: Range<usize>,
    pub(super) native: u32,
    pub(super) native_only: u32,
}

impl Records {
    /// The records of a family.
    pub(crate) fn of(&self, family: u32) -> &[RecordFamily] {
        let from = self.families.partition_point(|it| it.family < family);
        let len = self.families[from..].partition_point(|it| it.family == family);
        &self.families[from..from + len]
    }

    /// The number of native histograms.
    pub(crate) fn native(&self) -> u64 {
        self.families.iter().map(|it| u64::from(it.native)).sum()
    }

    /// The number of native histograms without classic buckets.
    pub(crate) fn native_only(&self) -> u64 {
        self.families.iter().map(|it| u64::from(it.native_only)).sum()
    }

    /// The memory beside the bytes.
    pub(crate) fn index_bytes(&self) -> usize {
        size_of_val(&*self.families) + size_of_val(&*self.carried) + self.samples.capacity() * size_of::<RecordSample>()
    }

    /// True if the samples of a family of the text are those of records of another one.
    pub(crate) fn carries(&self, family: u32) -> bool {
        self.carried.binary_search(&family).is_ok()
    }

    /// The families of these messages. `number_of` returns the number of a family in the text by its name; what is not there is left out.
    pub(crate) fn read(bytes: Bytes, mut number_of: impl FnMut(&[u8]) -> Option<u32>) -> Self {
        let mut families = Vec::new();
        let mut messages = Fields::new(&bytes, 0..bytes.len());
        // Written by `decode`; a damaged copy ends here.
        while let Ok(range) = messages.delimited() {
            if let Ok(named) = NamedRecords::read(&bytes, range)
                && let Some(family) = number_of(&bytes[named.name])
            {
                let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
                families.push(RecordFamily {
                    family,
                    kind: named.kind,
                    is_mixed: named.is_mixed,
                    metrics: Span::new(narrow(named.metrics.start), narrow(named.metrics.end)),
                    native: named.native,
                    native_only: named.native_only,
                });
            }
            if messages.is_empty() {
                break;
            }
        }
        families.sort_by_key(|it| it.family);
        Self {
            families: families.into(),
            carried: Box::default(),
            samples: HashSet::new(),
            bytes,
        }
    }
}

impl NamedRecords {
    fn read(body: &[u8], range: Range<usize>) -> Result<Self, Fault> {
        let mut named = Self {
            name: 0..0,
            kind: MessageType::Counter,
            is_mixed: false,
            metrics: range.end..range.end,
            native: 0,
            native_only: 0,
        };
        let mut fields = Fields::new(body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                family::NAME => named.name = field.bytes()?,
                family::TYPE => named.kind = MessageType::from_number(field.varint()?).unwrap_or(named.kind),
                family::MIXED => named.is_mixed = true,
                family::METRIC => {
                    named.metrics.start = named.metrics.start.min(field.start);
                    let (native, has_classic) = native_of(body, field.bytes()?)?;
                    named.native += u32::from(native);
                    named.native_only += u32::from(native && !has_classic);
                }
                _ => {}
            }
        }
        Ok(named)
    }
}

/// True, if a metric is a native histogram, and true if it has classic buckets.
fn native_of(body: &[u8], metric: Range<usize>) -> Result<(bool, bool), Fault> {
    let mut fields = Fields::new(body, metric);
    while let Some(field) = fields.next()? {
        if field.number == metric::HISTOGRAM {
            let native = Native::read(body, field.bytes()?)?;
            return Ok((native.is_native(), native.has_classic));
        }
    }
    Ok((false, false))
}

/// The rule that a histogram breaks for which Prometheus would drop the whole scrape.
pub(crate) fn broken_rule(histogram: &[u8]) -> Option<DecodeErrorKind> {
    let read = Native::read(histogram, 0..histogram.len()).and_then(|mut native| {
        let (count, count_float, sum) = (native.count, native.count_float, native.sum);
        native.check(0, count, count_float, sum)
    });
    read.err().map(|(_, kind)| kind)
}

/// The messages with only those metrics that `keep` accepts by one of their samples: the count of a histogram or summary, the only sample of
/// others. A histogram or summary with a label of the name that its buckets or quantiles have is left out: they would
/// have it twice, for which Prometheus drops a whole scrape.
pub(crate) fn retain(bytes: &Bytes, mut keep: impl FnMut(RecordSample) -> bool) -> Bytes {
    let mut kept = Vec::new();
    let mut messages = Fields::new(bytes, 0..bytes.len());
    while !messages.is_empty() {
        let Ok(range) = messages.delimited() else { break };
        let Ok(named) = NamedRecords::read(bytes, range) else { break };
        let name = &bytes[named.name.clone()];
        let suffix: &[u8] = match named.kind {
            MessageType::Histogram | MessageType::Summary => b"_count",
            MessageType::GaugeHistogram => b"_gcount",
            MessageType::Counter | MessageType::Gauge | MessageType::Untyped => b"",
        };
        let mut sample = Vec::new();
        put_escaped(name, &mut sample);
        sample.extend_from_slice(suffix);
        let sample = name_hash(&sample);
        let bound: &[u8] = match named.kind {
            MessageType::Histogram | MessageType::GaugeHistogram => b"le",
            MessageType::Summary => b"quantile",
            MessageType::Counter | MessageType::Gauge | MessageType::Untyped => b"",
        };
        let mut metrics = Vec::new();
        let mut fields = Fields::new(bytes, named.metrics);
        while let Ok(Some(field)) = fields.next() {
            let start = field.start;
            if let Ok(metric) = field.bytes()
                && !has_label(bytes, metric.clone(), bound)
                && keep((sample.wrapping_add(labels_hash(bytes, metric.clone())), time_of(bytes, metric)))
            {
                metrics.extend_from_slice(&bytes[start..fields.at()]);
            }
        }
        if !metrics.is_empty() {
            put_family(name, named.kind, named.is_mixed, metrics.len(), &mut kept);
            kept.extend_from_slice(&metrics);
        }
    }
    kept.into()
}

/// The messages of families with names that `is_known` accepts.
pub(crate) fn with_names(bytes: &[u8], is_known: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut messages = Fields::new(bytes, 0..bytes.len());
    while !messages.is_empty() {
        let start = messages.at();
        let Ok(range) = messages.delimited() else { break };
        if NamedRecords::read(bytes, range).is_ok_and(|named| is_known(&bytes[named.name])) {
            kept.extend_from_slice(&bytes[start..messages.at()]);
        }
    }
    kept
}

/// Writes a length-delimited message up to its metrics, which take `metric_bytes`.
pub(crate) fn put_family(name: &[u8], kind: MessageType, is_mixed: bool, metric_bytes: usize, out: &mut Vec<u8>) {
    let type_bytes = 2;
    let mixed_bytes = if is_mixed { 2 } else { 0 };
    let name_bytes = 1 + wire::varint_len(name.len() as u64) + name.len();
    wire::put_varint((name_bytes + type_bytes + mixed_bytes + metric_bytes) as u64, out);
    put_bytes(family::NAME, name, out);
    put_number(family::TYPE, kind as u64, out);
    if is_mixed {
        put_number(family::MIXED, 1, out);
    }
}

/// The time of a metric in milliseconds.
fn time_of(body: &[u8], metric: Range<usize>) -> Option<i64> {
    let mut time = None;
    let mut fields = Fields::new(body, metric);
    // Written by `decode`, which has read all of it.
    while let Ok(Some(field)) = fields.next() {
        if field.number == metric::TIMESTAMP_MS {
            time = field.varint().ok().map(u64::cast_signed).filter(|time| *time != 0);
        }
    }
    time
}

/// True if a metric has a label of this name.
fn has_label(body: &[u8], metric: Range<usize>, name: &[u8]) -> bool {
    let mut found = false;
    let _ = for_each_metric_label(body, metric, &mut |name_range, _| {
        found |= !name.is_empty() && body[name_range] == *name;
        Ok(())
    });
    found
}

/// The hash of a metric's labels, as [`Sample::hash`](crate::Sample::hash) has it.
fn labels_hash(body: &[u8], metric: Range<usize>) -> u64 {
    let mut hash = 0_u64;
    let (mut name, mut value) = (Vec::new(), Vec::new());
    // Written by `decode`, which has read all of it.
    let _ = for_each_metric_label(body, metric, &mut |name_range, value_range| {
        name.clear();
        value.clear();
        put_escaped(&body[name_range], &mut name);
        put_escaped(&body[value_range], &mut value);
        hash = hash.wrapping_add(label_hash(&name, &value));
        Ok(())
    });
    hash
}

/// A callback for the name and the value of a label.
type EachLabel<'f> = &'f mut dyn FnMut(Range<usize>, Range<usize>) -> Result<(), Fault>;

/// The ranges of the name and the value of a label.
pub(crate) fn read_label(body: &[u8], range: Range<usize>) -> Result<(Range<usize>, Range<usize>), Fault> {
    let (mut name, mut value) = (0..0, 0..0);
    let mut fields = Fields::new(body, range);
    while let Some(field) = fields.next()? {
        match field.number {
            label::NAME => name = field.bytes()?,
            label::VALUE => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// Calls `each` for the labels of a metric, without those of its exemplars.
pub(crate) fn for_each_metric_label(body: &[u8], metric: Range<usize>, each: EachLabel<'_>) -> Result<(), Fault> {
    let mut fields = Fields::new(body, metric);
    while let Some(field) = fields.next()? {
        if field.number == metric::LABEL {
            let (name, value) = read_label(body, field.bytes()?)?;
            each(name, value)?;
        }
    }
    Ok(())
}

/// Calls `each` for the labels of a metric and of its exemplars.
pub(super) fn for_each_label(body: &[u8], metric: Range<usize>, each: EachLabel<'_>) -> Result<(), Fault> {
    let mut fields = Fields::new(body, metric);
    while let Some(field) = fields.next()? {
        match field.number {
            metric::LABEL => {
                let (name, value) = read_label(body, field.bytes()?)?;
                each(name, value)?;
            }
            metric::COUNTER => {
                if let Some(exemplar) = inside(body, field.bytes()?, scalar::EXEMPLAR)? {
                    exemplar_labels(body, exemplar, each)?;
                }
            }
            metric::HISTOGRAM => {
                let mut fields = Fields::new(body, field.bytes()?);
                while let Some(field) = fields.next()? {
                    match field.number {
                        histogram::EXEMPLARS => exemplar_labels(body, field.bytes()?, each)?,
                        histogram::BUCKET => {
                            if let Some(exemplar) = inside(body, field.bytes()?, bucket::EXEMPLAR)? {
                                exemplar_labels(body, exemplar, each)?;
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The last message with this number inside a message.
fn inside(body: &[u8], range: Range<usize>, number: u32) -> Result<Option<Range<usize>>, Fault> {
    let mut found = None;
    let mut fields = Fields::new(body, range);
    while let Some(field) = fields.next()? {
        if field.number == number {
            found = Some(field.bytes()?);
        }
    }
    Ok(found)
}

fn exemplar_labels(body: &[u8], range: Range<usize>, each: EachLabel<'_>) -> Result<(), Fault> {
    let mut fields = Fields::new(body, range);
    while let Some(field) = fields.next()? {
        if field.number == exemplar::LABEL {
            let (name, value) = read_label(body, field.bytes()?)?;
            each(name, value)?;
        }
    }
    Ok(())
}

/// A native histogram, as far as it is checked: Prometheus drops a whole scrape for one that contradicts itself.
#[derive(Debug, Default)]
pub(super) struct Native {
    count: u64,
    count_float: f64,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    positive: Side,
    negative: Side,
    has_classic: bool,
    bad_exemplar: Option<Fault>,
}

/// The buckets of one sign.
#[derive(Debug, Default)]
struct Side {
    spans: usize,
    /// The buckets that all spans together cover.
    covered: u64,
    /// A span after the first begins before the end of the one before it.
    overlaps: bool,
    deltas: u64,
    last: i64,
    /// The sum of the counts that the deltas make.
    total: u128,
    counts: u64,
    is_negative: bool,
}

impl Side {
    fn span(&mut self, body: &[u8], range: Range<usize>) -> Result<(), Fault> {
        let (mut offset, mut length) = (0, 0);
        let mut fields = Fields::new(body, range);
        if let Some(number) = fields.number_of(span::OFFSET)? {
            offset = unzigzag(number);
        }
        if let Some(number) = fields.number_of(span::LENGTH)? {
            length = number;
        }
        while let Some(field) = fields.next()? {
            match field.number {
                span::OFFSET => offset = unzigzag(field.varint()?),
                span::LENGTH => length = field.varint()?,
                _ => {}
            }
        }
        self.overlaps |= self.spans > 0 && offset < 0;
        self.spans += 1;
        self.covered = self.covered.saturating_add(length);
        Ok(())
    }

    fn delta(&mut self, number: u64) {
        self.deltas += 1;
        self.last = self.last.saturating_add(unzigzag(number));
        self.is_negative |= self.last < 0;
        self.total += u128::from(self.last.unsigned_abs());
    }

    /// Takes deltas of one byte each, as nearly all are, after a count that is neither negative nor near the limit.
    fn small_deltas(&mut self, deltas: &[u8]) {
        let (mut last, mut total, mut least) = (0_i32, 0_i32, 0_i32);
        for delta in deltas {
            let delta = i32::from(delta >> 1) ^ -i32::from(delta & 1);
            last += delta;
            total += last;
            least = least.min(last);
        }
        let before = self.last;
        let count = deltas.len() as u64;
        self.deltas += count;
        self.last += i64::from(last);
        self.is_negative |= before + i64::from(least) < 0;
        // Each count is higher by the count before the first.
        let total = i128::from(total) + i128::from(before) * i128::from(count);
        self.total += total.unsigned_abs();
    }

    fn count(&mut self, count: f64) {
        self.counts += 1;
        self.is_negative |= count < 0.0;
    }

    fn deltas_of(&mut self, body: &[u8], field: Field) -> Result<(), Fault> {
        if let FieldValue::Varint(number) = field.value {
            self.delta(number);
            return Ok(());
        }
        self.packed_deltas(body, field.bytes()?)
    }

    fn packed_deltas(&mut self, body: &[u8], range: Range<usize>) -> Result<(), Fault> {
        let bytes = &body[range.clone()];
        if bytes.is_ascii() && bytes.len() <= MAX_SMALL_DELTAS && (0..=i64::MAX / 2).contains(&self.last) {
            self.small_deltas(bytes);
            return Ok(());
        }
        let mut packed = Fields::new(body, range);
        while !packed.is_empty() {
            self.delta(packed.varint()?);
        }
        Ok(())
    }

    fn counts_of(&mut self, body: &[u8], field: Field) -> Result<(), Fault> {
        if let FieldValue::Fixed64(bits) = field.value {
            self.count(f64::from_bits(bits));
            return Ok(());
        }
        let start = field.start;
        let range = field.bytes()?;
        let (doubles, rest) = body[range].as_chunks::<8>();
        if !rest.is_empty() {
            return Err((start, DecodeErrorKind::Truncated));
        }
        doubles.iter().for_each(|bytes| self.count(f64::from_le_bytes(*bytes)));
        Ok(())
    }
}

impl Native {
    /// Reads a histogram.
    fn read(body: &[u8], range: Range<usize>) -> Result<Self, Fault> {
        let mut native = Self::default();
        let mut fields = Fields::new(body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                histogram::COUNT => native.count = field.varint()?,
                histogram::COUNT_FLOAT => native.count_float = field.double()?,
                histogram::SUM => native.sum = field.double()?,
                histogram::BUCKET => native.has_classic = true,
                _ => native.take(body, field)?,
            }
        }
        Ok(native)
    }

    /// Takes the next fields, as far as they are those of a native histogram in the order of encoders. Returns true if there is one.
    pub(super) fn take_first(&mut self, body: &[u8], fields: &mut Fields<'_>) -> Result<bool, Fault> {
        let start = fields.at();
        if let Some(schema) = fields.number_of(histogram::SCHEMA)? {
            self.schema = unzigzag(schema);
        }
        if let Some(threshold) = fields.double_of(histogram::ZERO_THRESHOLD)? {
            self.zero_threshold = threshold;
        }
        if let Some(count) = fields.number_of(histogram::ZERO_COUNT)? {
            self.zero_count = count;
        }
        while let Some(span) = fields.message_of(histogram::NEGATIVE_SPAN)? {
            self.negative.span(body, span)?;
        }
        if let Some(deltas) = fields.message_of(histogram::NEGATIVE_DELTA)? {
            self.negative.packed_deltas(body, deltas)?;
        }
        while let Some(span) = fields.message_of(histogram::POSITIVE_SPAN)? {
            self.positive.span(body, span)?;
        }
        if let Some(deltas) = fields.message_of(histogram::POSITIVE_DELTA)? {
            self.positive.packed_deltas(body, deltas)?;
        }
        Ok(fields.at() > start)
    }

    /// Takes a field that only native histograms have; others are left out.
    #[inline]
    pub(super) fn take(&mut self, body: &[u8], field: Field) -> Result<(), Fault> {
        match field.number {
            histogram::SCHEMA => self.schema = unzigzag(field.varint()?),
            histogram::ZERO_THRESHOLD => self.zero_threshold = field.double()?,
            histogram::ZERO_COUNT => self.zero_count = field.varint()?,
            histogram::ZERO_COUNT_FLOAT => self.zero_count_float = field.double()?,
            histogram::NEGATIVE_SPAN => self.negative.span(body, field.bytes()?)?,
            histogram::NEGATIVE_DELTA => self.negative.deltas_of(body, field)?,
            histogram::NEGATIVE_COUNT => self.negative.counts_of(body, field)?,
            histogram::POSITIVE_SPAN => self.positive.span(body, field.bytes()?)?,
            histogram::POSITIVE_DELTA => self.positive.deltas_of(body, field)?,
            histogram::POSITIVE_COUNT => self.positive.counts_of(body, field)?,
            histogram::EXEMPLARS => self.exemplar(body, field.bytes()?)?,
            _ => {}
        }
        Ok(())
    }

    fn exemplar(&mut self, body: &[u8], range: Range<usize>) -> Result<(), Fault> {
        exemplar_labels(body, range, &mut |name, value| {
            for (range, what) in [(name, "a label name of an exemplar"), (value, "a label value of an exemplar")] {
                if let Err(error) = std::str::from_utf8(&body[range.clone()]) {
                    let fault = (range.start + error.valid_up_to(), DecodeErrorKind::Encoding(what));
                    self.bad_exemplar.get_or_insert(fault);
                }
            }
            Ok(())
        })
    }

    /// True if Prometheus takes it for a native histogram.
    pub(super) const fn is_native(&self) -> bool {
        self.positive.spans > 0 || self.negative.spans > 0 || self.zero_threshold > 0.0 || self.zero_count > 0
    }

    /// Checks it as Prometheus does, with the fields that classic histograms have too.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(super) fn check(&mut self, start: usize, count: u64, count_float: f64, sum: f64) -> Result<(), Fault> {
        (self.count, self.count_float, self.sum) = (count, count_float, sum);
        if let Some(fault) = self.bad_exemplar {
            return Err(fault);
        }
        if !self.is_native() {
            return Ok(());
        }
        let ensure = |fits: bool, rule: &'static str| {
            if fits {
                Ok(())
            } else {
                Err((start, DecodeErrorKind::Native(rule)))
            }
        };
        ensure((MIN_SCHEMA..=MAX_SCHEMA).contains(&self.schema), "the schema must be from -4 to 8")?;
        let is_float = self.count_float > 0.0 || self.zero_count_float > 0.0;
        for side in [&self.positive, &self.negative] {
            let buckets = if is_float { side.counts } else { side.deltas };
            ensure(!side.overlaps, "a span begins before the end of the one before it")?;
            ensure(side.covered == buckets, "the spans cover another number of buckets than there are")?;
            ensure(!side.is_negative, "a bucket has a negative count")?;
        }
        if !is_float {
            let total = self.positive.total + self.negative.total + u128::from(self.zero_count);
            let count = u128::from(self.count);
            let fits = if self.sum.is_nan() { total <= count } else { total == count };
            ensure(fits, "the count differs from the sum of all buckets")?;
        }
        Ok(())
    }
}
