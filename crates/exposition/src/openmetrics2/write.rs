//! A rendered protobuf response as OpenMetrics 2.0.

mod gathered;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::UnstatedTypes;
use super::histogram::{Histogram, Summary, each_field};
use super::message::{FamilyFields, FamilyMessage, Part, Resume, RowsReader, messages};
use super::plan::{Contents, FamilyPart, Plan};
use crate::escape::is_legacy_metric_name;
use crate::family::{MetricType, Suffix};
use crate::protobuf::field::{exemplar, metric, scalar};
use crate::protobuf::number::{put_bound, put_double, put_millis, put_seconds};
use crate::protobuf::{MessageType, put_escaped, put_label_text, read_label, read_time};
use crate::syntax::Syntax;

/// The longest message of a metric that is written: as text it may be twenty times as long, all of which is in memory at once, for each reader. A
/// histogram has a kilobyte or two.
const MAX_METRIC: u64 = 256 << 10;

/// Writer of a response, piece by piece. A metric of which the message has more than 256 KiB is left out.
///
/// It keeps the rendered messages, which other responses share, the names of the families, and nothing of what it wrote.
pub struct Writer {
    rows: Vec<Arc<Vec<Bytes>>>,
    messages: Vec<FamilyMessage>,
    plan: Plan,
    /// The number of the family in work, and of its part.
    family: usize,
    part: usize,
    /// The place of the next metric, unless it is the first one of the part.
    next: Option<Resume>,
    /// True once a sample of the family was written.
    begun: bool,
    done: bool,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("families", &self.plan.families.len())
            .field("family", &self.family)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Reads the heads of all messages, which takes a millisecond per megabyte. The `rows` together are length-delimited messages as a
    /// [`catalog`](crate::catalog) renders them.
    #[must_use]
    pub fn new(rows: Vec<Arc<Vec<Bytes>>>, types: &UnstatedTypes) -> Self {
        let messages = messages(&rows, types);
        let plan = Plan::new(&messages);
        Self {
            rows,
            messages,
            plan,
            family: 0,
            part: 0,
            next: None,
            begun: false,
            done: false,
        }
    }

    /// The bytes that it keeps beside the messages, about.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let messages: usize = self
            .messages
            .iter()
            .map(|message| size_of::<FamilyMessage>() + allocated(&message.name))
            .sum();
        let parts: usize = self
            .plan
            .parts
            .iter()
            .map(|part| size_of::<FamilyPart>() + allocated(&part.name))
            .sum();
        (messages + parts + self.plan.families.len() * size_of::<Range<usize>>()) as u64
    }

    /// Appends metrics to `out` until it has `enough` bytes, and one metric more at most; a classic gauge histogram that came as text is written
    /// as a whole. False once all is written, the mark of the end included.
    pub fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        while out.len() < enough {
            if self.done {
                return false;
            }
            let Some(parts) = self.plan.families.get(self.family) else {
                out.extend_from_slice(b"# EOF\n");
                self.done = true;
                return false;
            };
            if self.part >= parts.len() {
                (self.family, self.part, self.begun) = (self.family + 1, 0, false);
                continue;
            }
            self.next_metric(parts.clone(), out);
        }
        !self.done
    }

    /// Writes the next metric of the part in work, or begins the next part.
    fn next_metric(&mut self, parts: Range<usize>, out: &mut Vec<u8>) {
        let part = &self.plan.parts[parts.start + self.part];
        let message = &self.messages[part.message];
        if let Contents::Gathered { counts, sums } = part.contents {
            let messages = [
                Some(message),
                counts.map(|at| &self.messages[at]),
                sums.map(|at| &self.messages[at]),
            ];
            put_headers(&self.rows, part, message, out);
            gathered::put(&self.rows, &part.name, messages, out);
            self.part += 1;
            return;
        }
        let mut fields = match self.next {
            Some(resume) => FamilyFields::resume(&self.rows, resume),
            None => FamilyFields::new(&self.rows, message.fields),
        };
        let Some(bytes) = fields.metric(MAX_METRIC) else {
            (self.part, self.next) = (self.part + 1, None);
            return;
        };
        self.next = Some(fields.position());
        let from = out.len();
        if !self.begun {
            let first = &self.plan.parts[parts.start];
            put_headers(&self.rows, first, &self.messages[first.message], out);
        }
        let samples = out.len();
        put_metric(part, message, &bytes, out);
        if out.len() > samples {
            self.begun = true;
        } else {
            // Headers of a family without samples say nothing.
            out.truncate(from);
        }
    }
}

/// The bytes that the allocator takes for a name, about.
const fn allocated(name: &[u8]) -> usize {
    name.len() + 16
}

fn put_headers(rows: &[Arc<Vec<Bytes>>], part: &FamilyPart, message: &FamilyMessage, out: &mut Vec<u8>) {
    let (kind, is_whole) = match part.contents {
        Contents::Typed(kind) => (kind, true),
        Contents::Untyped(suffix) => (MetricType::Unknown, suffix == Suffix::Bare),
        Contents::Gathered { .. } => (MetricType::GaugeHistogram, true),
    };
    let word = kind.word(Syntax::OpenMetrics).unwrap_or("unknown");
    put_header("TYPE", &part.name, out);
    out.extend_from_slice(word.as_bytes());
    out.push(b'\n');
    if !is_whole {
        return;
    }
    let text = |part: Part| RowsReader::new(rows, part.start).take(part.len);
    let has_unit = !matches!(kind, MetricType::Unknown | MetricType::Info | MetricType::StateSet);
    if let Some(unit) = message.unit.filter(|_| has_unit).and_then(text) {
        put_header("UNIT", &part.name, out);
        put_escaped(&unit, out);
        out.push(b'\n');
    }
    if let Some(help) = message.help.and_then(text).filter(|help| !help.is_empty()) {
        put_header("HELP", &part.name, out);
        put_escaped(&help, out);
        out.push(b'\n');
    }
}

/// Writes a header line up to its text.
fn put_header(keyword: &str, name: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"# ");
    out.extend_from_slice(keyword.as_bytes());
    out.push(b' ');
    if is_legacy_metric_name(name) {
        out.extend_from_slice(name);
    } else {
        out.push(b'"');
        put_escaped(name, out);
        out.push(b'"');
    }
    out.push(b' ');
}

/// The seconds of the years 1 to 9999, which timestamps of protobuf have.
const YEARS: Range<i64> = -62_135_596_800..253_402_300_800;

/// A metric while it is written.
pub(super) struct Metric<'a> {
    body: &'a [u8],
    name: &'a [u8],
    /// As they are written.
    pub(super) labels: Vec<u8>,
    /// In milliseconds.
    pub(super) timestamp: Option<i64>,
    /// Its value.
    value: Range<usize>,
    kind: MessageType,
}

impl<'a> Metric<'a> {
    pub(super) fn read(name: &'a [u8], kind: MessageType, body: &'a [u8]) -> Self {
        let mut read = Self {
            body,
            name,
            labels: Vec::new(),
            timestamp: None,
            value: 0..0,
            kind,
        };
        let wanted = match kind {
            MessageType::Counter => metric::COUNTER,
            MessageType::Gauge => metric::GAUGE,
            MessageType::Summary => metric::SUMMARY,
            MessageType::Untyped => metric::UNTYPED,
            MessageType::Histogram | MessageType::GaugeHistogram => metric::HISTOGRAM,
        };
        each_field(body, 0..body.len(), |field| match field.number {
            metric::LABEL => {
                let label = field.bytes().and_then(|range| read_label(body, range));
                if let Ok((name, value)) = label {
                    put_label_text(&body[name], &body[value], &mut read.labels);
                }
            }
            metric::TIMESTAMP_MS => read.timestamp = field.varint().ok().map(u64::cast_signed).filter(|time| *time != 0),
            number if number == wanted => read.value = field.bytes().unwrap_or_default(),
            _ => {}
        });
        read
    }

    /// Writes a line up to its value.
    pub(super) fn begin(&self, bound: Option<(&str, f64)>, out: &mut Vec<u8>) {
        let mut separator = b'{';
        if is_legacy_metric_name(self.name) {
            out.extend_from_slice(self.name);
        } else {
            out.extend_from_slice(b"{\"");
            put_escaped(self.name, out);
            out.push(b'"');
            separator = b',';
        }
        if !self.labels.is_empty() {
            out.push(separator);
            separator = b',';
            out.extend_from_slice(&self.labels);
        }
        if let Some((label, bound)) = bound {
            out.push(separator);
            separator = b',';
            out.extend_from_slice(label.as_bytes());
            out.extend_from_slice(b"=\"");
            put_bound(bound, out);
            out.push(b'"');
        }
        if separator == b',' {
            out.push(b'}');
        }
        out.push(b' ');
    }

    /// Writes what stands behind a value: its time, the start time, exemplars.
    pub(super) fn end(&self, created: Option<Range<usize>>, exemplars: &[Range<usize>], out: &mut Vec<u8>) {
        if let Some(timestamp) = self.timestamp {
            out.push(b' ');
            put_millis(timestamp, out);
        }
        if let Some((seconds, nanos)) = self.start(created) {
            out.extend_from_slice(b" st@");
            put_seconds(seconds, nanos, out);
        }
        let mut written = HashSet::new();
        for range in exemplars {
            // Native and classic buckets may have the same one.
            if let Some(exemplar) = self.exemplar(range.clone())
                && !written.contains(&exemplar)
            {
                out.extend_from_slice(&exemplar);
                if exemplars.len() > 1 {
                    written.insert(exemplar);
                }
            }
        }
        out.push(b'\n');
    }

    /// The value of a gauge.
    pub(super) fn gauge(&self) -> f64 {
        Scalar::read(self.body, self.value.clone()).value
    }

    /// A start time; as in Prometheus the start of the epoch is none.
    fn start(&self, created: Option<Range<usize>>) -> Option<(i64, i64)> {
        let time = read_time(self.body, created?).ok()?;
        (time != (0, 0) && YEARS.contains(&time.0)).then_some(time)
    }

    /// An exemplar; `None` without a time, which the format requires.
    fn exemplar(&self, range: Range<usize>) -> Option<Vec<u8>> {
        let (mut labels, mut value, mut time) = (Vec::new(), 0.0, None);
        each_field(self.body, range, |field| match field.number {
            exemplar::LABEL => {
                let label = field.bytes().and_then(|range| read_label(self.body, range));
                if let Ok((name, value)) = label {
                    put_label_text(&self.body[name], &self.body[value], &mut labels);
                }
            }
            exemplar::VALUE => value = field.double().unwrap_or_default(),
            exemplar::TIMESTAMP => time = field.bytes().and_then(|range| read_time(self.body, range)).ok(),
            _ => {}
        });
        let (seconds, nanos) = time.filter(|(seconds, _)| YEARS.contains(seconds))?;
        let mut out = b" # {".to_vec();
        out.append(&mut labels);
        out.extend_from_slice(b"} ");
        put_double(value, &mut out);
        out.push(b' ');
        put_seconds(seconds, nanos, &mut out);
        Some(out)
    }

    /// Writes a sample of an untyped family.
    fn sample(&self, bound: Option<(&str, f64)>, put: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        self.begin(bound, out);
        put(out);
        self.end(None, &[], out);
    }

    /// Writes the start time as a sample.
    fn start_sample(&self, created: Option<Range<usize>>, out: &mut Vec<u8>) {
        if let Some((seconds, nanos)) = self.start(created) {
            self.sample(None, |out| put_seconds(seconds, nanos, out), out);
        }
    }
}

/// The fields of a counter, a gauge or an untyped metric.
#[derive(Default)]
struct Scalar {
    value: f64,
    created: Option<Range<usize>>,
    exemplars: Vec<Range<usize>>,
}

impl Scalar {
    fn read(body: &[u8], range: Range<usize>) -> Self {
        let mut read = Self::default();
        each_field(body, range, |field| match field.number {
            scalar::VALUE => read.value = field.double().unwrap_or_default(),
            scalar::EXEMPLAR => read.exemplars = field.bytes().into_iter().collect(),
            scalar::CREATED => read.created = field.bytes().ok(),
            _ => {}
        });
        read
    }
}

/// Writes what a part has of a metric.
fn put_metric(part: &FamilyPart, message: &FamilyMessage, body: &[u8], out: &mut Vec<u8>) {
    let metric = Metric::read(&part.name, message.kind, body);
    match part.contents {
        Contents::Typed(kind) => put_typed(&metric, kind, out),
        Contents::Untyped(suffix) => put_untyped(&metric, suffix, out),
        Contents::Gathered { .. } => {}
    }
}

fn put_typed(metric: &Metric<'_>, kind: MetricType, out: &mut Vec<u8>) {
    let (body, value) = (metric.body, metric.value.clone());
    metric.begin(None, out);
    match metric.kind {
        MessageType::Counter | MessageType::Gauge | MessageType::Untyped => {
            let scalar = Scalar::read(body, value);
            put_double(scalar.value, out);
            if kind == MetricType::Counter {
                metric.end(scalar.created, &scalar.exemplars, out);
            } else {
                metric.end(None, &[], out);
            }
        }
        MessageType::Summary => {
            let summary = Summary::read(body, value);
            summary.put(out);
            metric.end(summary.created, &[], out);
        }
        MessageType::Histogram => {
            let histogram = Histogram::read(body, value);
            histogram.put(false, out);
            metric.end(histogram.created, &histogram.exemplars, out);
        }
        // Gauges have no start.
        MessageType::GaugeHistogram => {
            let histogram = Histogram::read(body, value);
            histogram.put(true, out);
            metric.end(None, &histogram.exemplars, out);
        }
    }
}

fn put_untyped(metric: &Metric<'_>, suffix: Suffix, out: &mut Vec<u8>) {
    let (body, value) = (metric.body, metric.value.clone());
    match metric.kind {
        MessageType::Counter | MessageType::Gauge | MessageType::Untyped => {
            let scalar = Scalar::read(body, value);
            if suffix == Suffix::Created {
                metric.start_sample(scalar.created, out);
            } else {
                metric.sample(None, |out| put_double(scalar.value, out), out);
            }
        }
        MessageType::Summary => {
            let summary = Summary::read(body, value);
            match suffix {
                Suffix::Count => metric.sample(None, |out| summary.put_count(out), out),
                Suffix::Sum => metric.sample(None, |out| summary.put_sum(out), out),
                Suffix::Created => metric.start_sample(summary.created.clone(), out),
                _ => {
                    for (at, value) in &summary.quantiles {
                        metric.sample(Some(("quantile", *at)), |out| put_double(*value, out), out);
                    }
                }
            }
        }
        MessageType::Histogram | MessageType::GaugeHistogram => {
            let histogram = Histogram::read(body, value);
            match suffix {
                Suffix::Count | Suffix::GCount => metric.sample(None, |out| histogram.put_count(out), out),
                Suffix::Sum | Suffix::GSum => metric.sample(None, |out| histogram.put_sum(out), out),
                Suffix::Created => metric.start_sample(histogram.created.clone(), out),
                _ => histogram.each_bucket(|bound, count| metric.sample(Some(("le", bound)), count, out)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
