//! Items as protobuf messages.
//!
//! A family of the text format is a message of its type. What a message of that type cannot carry goes out as an untyped message for each
//! sample name, so that no series is lost and none appears: a histogram without its bucket `+Inf`, for example, to which a reader would add
//! one.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::header::Header;
use super::sample::for_each_exemplar_label;
use super::slice_writer::SliceWriter;
use super::{Item, OutputFormat};
use crate::escape::{self, unescaped_bytes};
use crate::family::{FamilyFlags, MetricType, Suffix, takes_unit};
use crate::identity::{ExtraLabel, Identity, bound_label, empty_labels, exposed_labels};
use crate::negotiate::Escaping;
use crate::parse;
use crate::protobuf::field::{bucket, exemplar, family, histogram, label, metric, quantile, scalar, summary, timestamp};
use crate::protobuf::wire::{Fields, put_bytes, put_double, put_number, put_varint, varint_len};
use crate::protobuf::{MessageType, Records, for_each_metric_label, put_label_text};
use crate::sample::{Exemplar, Label, Labels, Sample};
use crate::timestamps::exact;

/// The highest whole number up to which all whole numbers are doubles.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Writes items one after another. Items before the first header are metrics of a message that begins elsewhere.
pub(super) fn write<'a>(items: &'a [Item], to: OutputFormat, out: &mut SliceWriter<'a>) {
    let mut open = OpenMessage {
        header: None,
        metrics: out.nested(),
        leftovers: Vec::new(),
    };
    let mut buffers = Buffers::default();
    for item in items {
        if let Some(header) = &item.header {
            open.finish(to, out);
            open.header = Some(header);
        }
        let mut encoder = Encoder::new(item, to, buffers);
        encoder.encode(&mut open.metrics);
        if item.only_leftovers {
            open.metrics = out.nested();
        }
        if open.header.is_some() || item.only_leftovers {
            encoder.leftovers(&mut open.leftovers);
        }
        buffers = encoder.buffers;
    }
    open.finish(to, out);
}

/// Writes the beginning of a message, up to its metrics, which take `metric_bytes`.
pub(crate) fn put_header(header: &Header, to: OutputFormat, metric_bytes: usize, out: &mut Vec<u8>) {
    let name = message_name_in(&header.name, to.escaping);
    let help = header.help.as_ref().map(|help| unescaped_bytes(&help.text));
    let unit = header.unit.as_deref().filter(|unit| takes_unit(&name, header.kind, unit));
    let field_bytes = |text: &[u8]| 1 + varint_len(text.len() as u64) + text.len();
    let type_bytes = 2;
    let text_bytes = field_bytes(&name) + help.as_deref().map_or(0, field_bytes) + unit.map_or(0, field_bytes);
    put_varint((text_bytes + type_bytes + metric_bytes) as u64, out);
    put_bytes(family::NAME, &name, out);
    if let Some(help) = &help {
        put_bytes(family::HELP, help, out);
    }
    put_number(family::TYPE, message_type(header.kind) as u64, out);
    if let Some(unit) = unit {
        put_bytes(family::UNIT, unit, out);
    }
}

/// A message while its metrics are written.
struct OpenMessage<'a> {
    header: Option<&'a Header>,
    metrics: SliceWriter<'a>,
    /// Complete messages that follow.
    leftovers: Vec<u8>,
}

impl<'a> OpenMessage<'a> {
    fn finish(&mut self, to: OutputFormat, out: &mut SliceWriter<'a>) {
        let metrics = std::mem::replace(&mut self.metrics, out.nested());
        let len = metrics.len();
        if let Some(header) = self.header.take().filter(|_| len > 0) {
            put_header(header, to, len, out.buffer());
        }
        out.append(metrics);
        out.buffer().append(&mut self.leftovers);
    }
}

/// The type of a message for a type of a family.
pub(crate) const fn message_type(kind: MetricType) -> MessageType {
    match kind {
        MetricType::Unknown => MessageType::Untyped,
        MetricType::Counter => MessageType::Counter,
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => MessageType::Gauge,
        MetricType::Histogram => MessageType::Histogram,
        MetricType::Summary => MessageType::Summary,
        MetricType::GaugeHistogram => MessageType::GaugeHistogram,
    }
}

/// A name as it goes out, from one escaped as inside quotes.
pub(crate) fn message_name_in(name: &[u8], escaping: Escaping) -> Cow<'_, [u8]> {
    match escaping {
        Escaping::AllowUtf8 => unescaped_bytes(name),
        Escaping::Underscores => escape::escaped_metric_name(name),
    }
}

/// Encoder of the metrics of one item.
struct Encoder<'a> {
    item: &'a Item,
    to: OutputFormat,
    /// True if names are escaped and some of them change.
    escapes: bool,
    buffers: Buffers,
    /// Samples that the type of the message cannot carry.
    leftovers: Vec<(Suffix, Sample<'a>)>,
}

/// Memory that one item leaves to the next.
#[derive(Default)]
struct Buffers {
    /// A metric without its tag and length.
    metric: Vec<u8>,
    /// A message inside it.
    inner: Vec<u8>,
    /// A message inside that.
    innermost: Vec<u8>,
    /// The bounds, counts and positions of the buckets of a group.
    buckets: Vec<(f64, f64, usize)>,
}

impl<'a> Encoder<'a> {
    fn new(item: &'a Item, to: OutputFormat, buffers: Buffers) -> Self {
        Self {
            item,
            to,
            escapes: to.escaping == Escaping::Underscores && item.source().flags.contains(FamilyFlags::QUOTED),
            buffers,
            leftovers: Vec::new(),
        }
    }

    fn encode(&mut self, out: &mut SliceWriter<'a>) {
        let item = self.item;
        if item.untyped {
            return item.for_each_sample(self.to, |suffix, sample| self.leftovers.push((suffix, sample)));
        }
        if let Some(records) = item.exposition.records().filter(|records| !records.of(item.family).is_empty()) {
            self.records(records, out);
            let is_first = records
                .of(item.family)
                .first()
                .is_some_and(|first| first.kind == message_type(item.kind));
            if is_first && !records.samples.is_empty() {
                // Samples that none of them has: of a family with the name of such samples, or beside lines with faults.
                item.for_each_sample(self.to, |suffix, sample| self.leftovers.push((suffix, sample)));
            }
            return;
        }
        match item.kind {
            MetricType::Histogram | MetricType::Summary => self.groups(out),
            MetricType::Counter if item.source().flags.contains(FamilyFlags::CREATED) => self.groups(out),
            _ => item.for_each_sample(self.to, |suffix, sample| {
                // Beside other samples a creation time has their labels.
                if suffix == Suffix::Created && item.names != FamilyFlags::CREATED {
                    return self.leftovers.push((suffix, sample));
                }
                self.scalar(&sample, None);
                self.finish_metric(&sample, out);
            }),
        }
    }

    /// Writes the finished metric.
    fn finish_metric(&mut self, sample: &Sample<'_>, out: &mut SliceWriter<'_>) {
        if let Some(millis) = sample.millis(self.item.exposition.syntax()) {
            put_number(metric::TIMESTAMP_MS, millis.cast_unsigned(), &mut self.buffers.metric);
        }
        put_bytes(family::METRIC, &self.buffers.metric, out.buffer());
        self.buffers.metric.clear();
    }

    /// Begins a metric with the labels of a sample, but for `bound`.
    fn labels(&mut self, labels: &Labels<'_>, bound: Option<&[u8]>) {
        let is_bound = |label: &Label<'_>| Some(label.name) == bound;
        let extra_labels = self.item.extra_labels();
        // Looked for where all labels are looked at anyway.
        let mut has_empty = false;
        if self.escapes {
            for (name, label) in exposed_labels(labels, extra_labels).iter().filter(|(_, label)| !is_bound(label)) {
                put_label(name, &unescaped_bytes(label.value), &mut self.buffers.metric);
            }
        } else {
            for label in labels.clone().filter(|label| !is_bound(label)) {
                if label.value.is_empty() {
                    has_empty = true;
                } else {
                    put_label(
                        &unescaped_bytes(label.name),
                        &unescaped_bytes(label.value),
                        &mut self.buffers.metric,
                    );
                }
            }
        }
        if has_empty {
            for label in empty_labels(labels, extra_labels).filter(|label| !is_bound(label)) {
                put_label(&unescaped_bytes(label.name), b"", &mut self.buffers.metric);
            }
        }
        for extra in extra_labels.iter().filter(|it| it.missing_in(labels)) {
            put_extra_label(extra, self.to, &mut self.buffers.metric);
        }
    }

    /// Writes a counter, a gauge or an untyped metric.
    fn scalar(&mut self, sample: &Sample<'_>, created: Option<&[u8]>) {
        self.labels(&sample.labels, None);
        self.buffers.inner.clear();
        put_double(scalar::VALUE, parse::float(sample.value), &mut self.buffers.inner);
        let field = match message_type(self.item.kind) {
            MessageType::Counter => {
                if let Some(exemplar) = &sample.exemplar {
                    put_exemplar(
                        scalar::EXEMPLAR,
                        exemplar,
                        self.to,
                        &mut self.buffers.innermost,
                        &mut self.buffers.inner,
                    );
                }
                if let Some(created) = created {
                    put_time(scalar::CREATED, created, &mut self.buffers.inner);
                }
                metric::COUNTER
            }
            MessageType::Gauge => metric::GAUGE,
            _ => metric::UNTYPED,
        };
        put_bytes(field, &self.buffers.inner, &mut self.buffers.metric);
    }

    /// Writes a metric for each group of samples with the same labels and timestamp.
    fn groups(&mut self, out: &mut SliceWriter<'a>) {
        let item = self.item;
        let identity = Identity {
            kind: item.kind,
            extra_labels: &[],
            quoted: false,
        };
        let syntax = item.exposition.syntax();
        let key = |suffix: Suffix, sample: &Sample<'_>| (identity.of(sample, suffix), sample.millis(syntax));
        if item.source().flags.contains(FamilyFlags::INVALID_OPENMETRICS) {
            // Groups may be interleaved.
            let mut places: HashMap<(u64, Option<i64>), usize> = HashMap::new();
            let mut groups: Vec<Vec<(Suffix, Sample<'a>)>> = Vec::new();
            item.for_each_sample(self.to, |suffix, sample| {
                let place = *places.entry(key(suffix, &sample)).or_insert(groups.len());
                if place == groups.len() {
                    groups.push(Vec::new());
                }
                groups[place].push((suffix, sample));
            });
            groups.iter_mut().for_each(|group| self.group(group, out));
            return;
        }
        let mut group: Vec<(Suffix, Sample<'a>)> = Vec::new();
        let (mut current, mut before) = (None, None);
        item.for_each_sample(self.to, |suffix, sample| {
            // Samples of a group mostly have the same text up to the bound, which takes no hash to see.
            let text = split_bound(&sample.labels, bound_label(item.kind, suffix)).map(|(labels, _)| (labels, sample.timestamp));
            if text.is_none() || text != before {
                let key = Some(key(suffix, &sample));
                if key != current {
                    self.group(&mut group, out);
                    current = key;
                }
            }
            before = text;
            group.push((suffix, sample));
        });
        self.group(&mut group, out);
    }

    /// Writes the metric of a group, or leaves its samples over.
    fn group(&mut self, group: &mut Vec<(Suffix, Sample<'a>)>, out: &mut SliceWriter<'a>) {
        let Some((suffix, first)) = group.first().cloned() else { return };
        self.buffers.inner.clear();
        let field = match self.item.kind {
            MetricType::Histogram => self.histogram(group).then_some(metric::HISTOGRAM),
            MetricType::Summary => self.summary(group).then_some(metric::SUMMARY),
            _ => return self.counter(group, out),
        };
        match field {
            Some(field) => {
                self.labels(&first.labels, bound_label(self.item.kind, suffix));
                put_bytes(field, &self.buffers.inner, &mut self.buffers.metric);
                self.finish_metric(&first, out);
                group.clear();
            }
            None => self.leftovers.append(group),
        }
    }

    /// Writes the samples of a counter, of which there is mostly one, with its creation time.
    fn counter(&mut self, group: &mut Vec<(Suffix, Sample<'a>)>, out: &mut SliceWriter<'a>) {
        let mut created = group
            .iter()
            .filter(|(suffix, _)| *suffix == Suffix::Created)
            .map(|(_, sample)| sample.value);
        let time = created.next().filter(|value| created.next().is_none() && is_time(value));
        let has_total = group.iter().any(|(suffix, _)| *suffix != Suffix::Created);
        for (suffix, sample) in group.drain(..) {
            if suffix != Suffix::Created {
                self.scalar(&sample, time);
                self.finish_metric(&sample, out);
            } else if time.is_none() || !has_total {
                self.leftovers.push((suffix, sample));
            }
        }
    }

    /// Writes the histogram of a group; false if it is none that a message can carry.
    fn histogram(&mut self, group: &[(Suffix, Sample<'_>)]) -> bool {
        let (mut count, mut sum, mut created, mut last) = (None, None, None, f64::NEG_INFINITY);
        let mut buckets = std::mem::take(&mut self.buffers.buckets);
        buckets.clear();
        let mut is_ordered = true;
        for (at, (suffix, sample)) in group.iter().enumerate() {
            let known = match suffix {
                Suffix::Bucket => {
                    let Some(bound) = bound_of(&sample.labels, b"le").filter(|bound| !bound.is_nan()) else {
                        return false;
                    };
                    is_ordered &= buckets.is_empty() || last < bound;
                    last = bound;
                    let value = parse::float(sample.value);
                    buckets.push((bound, value, at));
                    value >= 0.0
                }
                Suffix::Count => {
                    let value = parse::float(sample.value);
                    count.replace(value).is_none() && value >= 0.0
                }
                Suffix::Sum => sum.replace(parse::float(sample.value)).is_none(),
                Suffix::Created => created.replace(sample.value).is_none() && is_time(sample.value),
                _ => false,
            };
            if !known {
                return false;
            }
        }
        // The last one is the highest.
        let (Some(count), Some(sum), true) = (count, sum, is_ordered && last == f64::INFINITY) else {
            return false;
        };
        put_count(histogram::COUNT, histogram::COUNT_FLOAT, count, &mut self.buffers.inner);
        put_double(histogram::SUM, sum, &mut self.buffers.inner);
        for (bound, value, at) in &buckets {
            let mut message = std::mem::take(&mut self.buffers.innermost);
            message.clear();
            put_count(bucket::COUNT, bucket::COUNT_FLOAT, *value, &mut message);
            put_double(bucket::BOUND, *bound, &mut message);
            if let Some(exemplar) = &group[*at].1.exemplar {
                let mut scratch = Vec::new();
                put_exemplar(bucket::EXEMPLAR, exemplar, self.to, &mut scratch, &mut message);
            }
            put_bytes(histogram::BUCKET, &message, &mut self.buffers.inner);
            self.buffers.innermost = message;
        }
        self.buffers.buckets = buckets;
        if let Some(created) = created {
            put_time(histogram::CREATED, created, &mut self.buffers.inner);
        }
        true
    }

    /// Writes the summary of a group; false if it is none that a message can carry.
    fn summary(&mut self, group: &[(Suffix, Sample<'_>)]) -> bool {
        let (mut count, mut sum, mut created) = (None, None, None);
        let mut quantiles: Vec<(f64, f64)> = Vec::new();
        for (suffix, sample) in group {
            let value = parse::float(sample.value);
            let known = match suffix {
                Suffix::Bare => {
                    let Some(bound) = bound_of(&sample.labels, b"quantile").filter(|bound| !bound.is_nan()) else {
                        return false;
                    };
                    quantiles.push((bound, value));
                    true
                }
                // There is no float for it.
                Suffix::Count => count.replace(value).is_none() && (0.0..MAX_EXACT).contains(&value) && value.fract() == 0.0,
                Suffix::Sum => sum.replace(value).is_none(),
                Suffix::Created => created.replace(sample.value).is_none() && is_time(sample.value),
                _ => false,
            };
            if !known {
                return false;
            }
        }
        let (Some(count), Some(sum)) = (count, sum) else { return false };
        if !quantiles.is_sorted_by(|one, other| one.0 < other.0) {
            return false;
        }
        put_number(summary::COUNT, whole(count), &mut self.buffers.inner);
        put_double(summary::SUM, sum, &mut self.buffers.inner);
        for (bound, value) in quantiles {
            self.buffers.innermost.clear();
            put_double(quantile::QUANTILE, bound, &mut self.buffers.innermost);
            put_double(quantile::VALUE, value, &mut self.buffers.innermost);
            put_bytes(summary::QUANTILE, &self.buffers.innermost, &mut self.buffers.inner);
        }
        if let Some(created) = created {
            put_time(summary::CREATED, created, &mut self.buffers.inner);
        }
        true
    }

    /// Writes the samples that were left over, as a message for each of their names.
    fn leftovers(&mut self, out: &mut Vec<u8>) {
        let leftovers = std::mem::take(&mut self.leftovers);
        let base = self.item.exposition.text(self.item.source().name);
        for suffix in self.item.names.suffixes() {
            let mut metrics = SliceWriter::default();
            for (_, sample) in leftovers.iter().filter(|(it, _)| *it == suffix) {
                self.labels(&sample.labels, None);
                self.buffers.inner.clear();
                put_double(scalar::VALUE, parse::float(sample.value), &mut self.buffers.inner);
                put_bytes(metric::UNTYPED, &self.buffers.inner, &mut self.buffers.metric);
                self.finish_metric(sample, &mut metrics);
            }
            let metrics = metrics.finish();
            let len: usize = metrics.iter().map(bytes::Bytes::len).sum();
            if len > 0 {
                let header = Header {
                    name: [base, suffix.as_str().as_bytes()].concat().into(),
                    kind: MetricType::Unknown,
                    help: None,
                    unit: None,
                };
                put_header(&header, self.to, len, out);
                metrics.iter().for_each(|part| out.extend_from_slice(part));
            }
        }
    }

    /// Writes the records of the family that have the item's type: as they are if nothing is added to them.
    fn records(&mut self, records: &'a Records, out: &mut SliceWriter<'a>) {
        let item = self.item;
        let as_they_are = item.extra_labels().is_empty() && item.suppressed.is_none() && !self.escapes;
        // From the labels that a metric goes out with to those that it came with.
        let mut first: HashMap<u64, u64> = HashMap::new();
        for entry in records.of(item.family).iter().filter(|entry| entry.kind == message_type(item.kind)) {
            if as_they_are {
                out.write_slice(&records.bytes, entry.metrics.range());
                continue;
            }
            let mut fields = Fields::new(&records.bytes, entry.metrics.range());
            // Written by `decode`, which has read all of it.
            while let Ok(Some(field)) = fields.next() {
                if let Ok(range) = field.bytes() {
                    self.record(&records.bytes, range, &mut first, out);
                }
            }
        }
    }

    /// Writes a record with other labels than it came with.
    fn record(&mut self, body: &[u8], range: Range<usize>, first: &mut HashMap<u64, u64>, out: &mut SliceWriter<'a>) {
        let text = record_labels(body, range.clone());
        let labels = Labels::new(&text);
        let item = self.item;
        let (kind, suffix) = (MetricType::Unknown, Suffix::Bare);
        let shown = labels_identity(&labels, kind, suffix, item.extra_labels(), self.escapes);
        let came = labels_identity(&labels, kind, suffix, &[], false);
        let is_suppressed = item
            .suppressed
            .as_ref()
            .is_some_and(|suppressed| suppressed.contains(&record_group(item, &labels)));
        if is_suppressed || *first.entry(shown).or_insert(came) != came {
            return;
        }
        self.labels(&labels, None);
        let mut fields = Fields::new(body, range);
        while let Ok(Some(field)) = fields.next() {
            if field.number != metric::LABEL {
                self.buffers.metric.extend_from_slice(&body[field.start..fields.at()]);
            }
        }
        put_bytes(family::METRIC, &self.buffers.metric, out.buffer());
        self.buffers.metric.clear();
    }
}

/// The groups of the records of an item that have its type, as its samples are compared.
pub(crate) fn record_groups(item: &Item) -> HashSet<u64> {
    let mut groups = HashSet::new();
    let Some(records) = item.exposition.records() else { return groups };
    for entry in records.of(item.family).iter().filter(|entry| entry.kind == message_type(item.kind)) {
        let mut fields = Fields::new(&records.bytes, entry.metrics.range());
        // Written by `decode`, which has read all of it.
        while let Ok(Some(field)) = fields.next() {
            if let Ok(range) = field.bytes() {
                groups.insert(record_group(item, &Labels::new(&record_labels(&records.bytes, range))));
            }
        }
    }
    groups
}

/// The labels of a record as text, in which labels are compared.
fn record_labels(body: &[u8], metric: Range<usize>) -> Vec<u8> {
    let mut text = Vec::new();
    let _ = for_each_metric_label(body, metric, &mut |name, value| {
        put_label_text(&body[name], &body[value], &mut text);
        Ok(())
    });
    text
}

/// The group of a record with these labels, as the samples of the item are compared. A metric that has no group of samples may be a part of one in
/// text, such as a quantile.
fn record_group(item: &Item, labels: &Labels<'_>) -> u64 {
    let quoted = item.source().flags.contains(FamilyFlags::QUOTED);
    let (kind, suffix) = match item.kind {
        MetricType::Histogram | MetricType::Summary | MetricType::GaugeHistogram => (MetricType::Unknown, Suffix::Count),
        _ => (item.grouping, Suffix::Bare),
    };
    labels_identity(labels, kind, suffix, item.extra_labels(), quoted)
}

/// The identity of a sample with these labels.
fn labels_identity(labels: &Labels<'_>, kind: MetricType, suffix: Suffix, extra_labels: &[ExtraLabel], quoted: bool) -> u64 {
    let sample = Sample {
        line: b"",
        name: b"",
        quoted: false,
        labels: labels.clone(),
        value: b"",
        timestamp: None,
        exemplar: None,
    };
    let identity = Identity {
        kind,
        extra_labels,
        quoted,
    };
    identity.of(&sample, suffix)
}

/// Writes a label, unescaped.
fn put_label(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let len = 2 + varint_len(name.len() as u64) + name.len() + varint_len(value.len() as u64) + value.len();
    out.push(u8::try_from(metric::LABEL << 3 | 2).unwrap_or_default());
    put_varint(len as u64, out);
    put_bytes(label::NAME, name, out);
    put_bytes(label::VALUE, value, out);
}

fn put_extra_label(extra: &ExtraLabel, to: OutputFormat, out: &mut Vec<u8>) {
    let name = match to.escaping {
        Escaping::AllowUtf8 => &extra.name,
        Escaping::Underscores => &extra.legacy_name,
    };
    put_label(&unescaped_bytes(name), &unescaped_bytes(&extra.value), out);
}

/// The labels before a label that is the last one, as text, and its value; without such a label all of them. `None` if it stands
/// elsewhere or is written otherwise than usual.
fn split_bound<'a>(labels: &Labels<'a>, bound: Option<&[u8]>) -> Option<(&'a [u8], &'a [u8])> {
    let text = labels.text();
    let Some(bound) = bound else { return Some((text, b"")) };
    let inside = text.strip_suffix(b"\"")?;
    // A quote inside a value stands behind a backslash, and not behind the name of a label.
    let quote = memchr::memrchr(b'"', inside)?;
    let before = inside[..quote].strip_suffix(b"=")?.strip_suffix(bound)?;
    let others = if before.is_empty() { before } else { before.strip_suffix(b",")? };
    Some((others, &inside[quote + 1..]))
}

/// The number in a label.
fn bound_of(labels: &Labels<'_>, name: &[u8]) -> Option<f64> {
    if let Some((_, value)) = split_bound(labels, Some(name)) {
        return parse::whole_float(value);
    }
    let label = labels.clone().find(|label| label.name == name)?;
    parse::whole_float(label.value)
}

/// Writes a count that is not negative: as a whole number if it is one.
fn put_count(field: u32, float_field: u32, count: f64, out: &mut Vec<u8>) {
    if count < MAX_EXACT && count.fract() == 0.0 {
        put_number(field, whole(count), out);
    } else {
        put_double(float_field, count, out);
    }
}

/// A whole number that is not negative and below [`MAX_EXACT`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole, not negative, and less than 64 bits"
)]
const fn whole(count: f64) -> u64 {
    count as u64
}

fn put_exemplar(field: u32, exemplar: &Exemplar<'_>, to: OutputFormat, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    scratch.clear();
    for_each_exemplar_label(exemplar, to.escaping, |name, label| {
        put_label(&unescaped_bytes(name), &unescaped_bytes(label.value), scratch);
    });
    put_double(exemplar::VALUE, parse::float(exemplar.value), scratch);
    if let Some(time) = exemplar.timestamp.filter(|time| is_time(time)) {
        put_time(exemplar::TIMESTAMP, time, scratch);
    }
    put_bytes(field, scratch, out);
}

/// True if a time in seconds can be written as a timestamp.
fn is_time(seconds: &[u8]) -> bool {
    // The years 1 to 9999, which timestamps of protobuf have.
    (-62_135_596_800.0..253_402_300_800.0).contains(&parse::float(seconds))
}

/// Writes a time in seconds, exactly if it is a plain decimal number.
fn put_time(field: u32, seconds: &[u8], out: &mut Vec<u8>) {
    const NANOS: i64 = 1_000_000_000;
    let total = exact::<9>(seconds).unwrap_or_else(|| {
        let float = parse::float(seconds);
        #[expect(clippy::cast_possible_truncation, reason = "a time, in nanoseconds far below 128 bits")]
        let nanos = (float * 1e9).round() as i128;
        nanos
    });
    let whole = i64::try_from(total.div_euclid(i128::from(NANOS))).unwrap_or_default();
    let rest = u64::try_from(total.rem_euclid(i128::from(NANOS))).unwrap_or_default();
    let mut message = Vec::with_capacity(24);
    put_number(timestamp::SECONDS, whole.cast_unsigned(), &mut message);
    if rest > 0 {
        put_number(timestamp::NANOS, rest, &mut message);
    }
    put_bytes(field, &message, out);
}
