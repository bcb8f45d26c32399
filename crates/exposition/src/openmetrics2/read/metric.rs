//! The end of a line behind its value, and metrics as messages.

use super::LineFault;
use super::cursor::{LineCursor, ReadLabel};
use crate::family::MetricType;
use crate::protobuf::field::{exemplar, family, label, metric, scalar, timestamp};
use crate::protobuf::wire::{put_bytes, put_double, put_number};
use crate::timestamps::millis_of_seconds;

/// The part of a line behind its value.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The time of the sample.
    pub(super) millis: Option<i64>,
    /// Its start, in nanoseconds.
    pub(super) start: Option<i128>,
    pub(super) exemplars: Vec<ReadExemplar>,
    /// The place in the line before the exemplars.
    pub(super) end: usize,
}

/// An exemplar.
#[derive(Debug)]
pub(super) struct ReadExemplar {
    pub(super) value: f64,
    /// Its time in nanoseconds.
    time: i128,
    /// Its message.
    pub(super) message: Vec<u8>,
    /// The place in the line.
    at: usize,
}

impl Tail {
    /// Reads up to the end of the line.
    pub(super) fn read(cursor: &mut LineCursor<'_>, kind: MetricType, left_out: &mut Vec<LineFault>) -> Result<Self, LineFault> {
        let mut tail = Self::default();
        if !cursor.rest().starts_with(b" st@") && !cursor.rest().starts_with(b" #") && cursor.take(b" ") {
            let mut word = *cursor;
            if !cursor.number()?.is_finite() {
                return Err((word.at(), "expected a time in seconds".into()));
            }
            let (at, millis) = (word.at(), millis_of_seconds(word.word()));
            // Infos and statesets are kept as text.
            if millis == 0 && !matches!(kind, MetricType::Info | MetricType::StateSet) {
                return Err((at, "a time at the start of 1970, which protobuf takes for none".into()));
            }
            tail.millis = Some(millis);
        }
        let at = cursor.at();
        if cursor.take(b" st@") {
            if !matches!(kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary) {
                return Err((at, "only counters, histograms and summaries have a start".into()));
            }
            tail.start = Some(cursor.time()?);
        }
        tail.end = cursor.at();
        while cursor.take(b" # {") {
            tail.exemplars.push(ReadExemplar::read(cursor)?);
        }
        if !cursor.is_end() {
            return cursor.fail("expected the end of the line, or a time, st@ and a start, exemplars, in this order");
        }
        if !matches!(kind, MetricType::Counter | MetricType::Histogram | MetricType::GaugeHistogram) {
            let why = "only counters and histograms have exemplars";
            left_out.extend(tail.exemplars.drain(..).map(|exemplar| (exemplar.at, why.into())));
        }
        Ok(tail)
    }

    /// The message of a number. A counter keeps one exemplar, the newest.
    pub(super) fn scalar(&self, value: f64, left_out: &mut Vec<LineFault>) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        put_double(scalar::VALUE, value, &mut out);
        let newest = self.exemplars.iter().max_by_key(|exemplar| exemplar.time);
        if let Some(newest) = newest {
            put_bytes(scalar::EXEMPLAR, &newest.message, &mut out);
            let others = self.exemplars.iter().filter(|exemplar| exemplar.at != newest.at);
            left_out.extend(others.map(|exemplar| (exemplar.at, "a counter keeps its newest exemplar alone".into())));
        }
        if let Some(start) = self.start {
            put_time(scalar::CREATED, start, &mut out);
        }
        out
    }
}

impl ReadExemplar {
    /// Reads an exemplar behind its opening brace.
    fn read(cursor: &mut LineCursor<'_>) -> Result<Self, LineFault> {
        let at = cursor.at() - 1;
        let labels = cursor.labels()?;
        cursor.expect(b' ', "a space and the value of the exemplar")?;
        let value = cursor.number()?;
        cursor.expect(b' ', "a space and the time of the exemplar")?;
        let time = cursor.time()?;
        let mut message = Vec::new();
        labels.iter().for_each(|label| put_label(exemplar::LABEL, label, &mut message));
        put_double(exemplar::VALUE, value, &mut message);
        put_time(exemplar::TIMESTAMP, time, &mut message);
        Ok(Self { value, time, message, at })
    }
}

/// Writes a metric of a family.
pub(super) fn put(kind: MetricType, labels: &[ReadLabel<'_>], value: &[u8], millis: Option<i64>, out: &mut Vec<u8>) {
    let mut inside = Vec::with_capacity(value.len() + 64);
    labels.iter().for_each(|label| put_label(metric::LABEL, label, &mut inside));
    let field = match kind {
        MetricType::Counter => metric::COUNTER,
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => metric::GAUGE,
        MetricType::Summary => metric::SUMMARY,
        MetricType::Histogram | MetricType::GaugeHistogram => metric::HISTOGRAM,
        MetricType::Unknown => metric::UNTYPED,
    };
    put_bytes(field, value, &mut inside);
    if let Some(millis) = millis {
        put_number(metric::TIMESTAMP_MS, millis.cast_unsigned(), &mut inside);
    }
    put_bytes(family::METRIC, &inside, out);
}

fn put_label(field: u32, read: &ReadLabel<'_>, out: &mut Vec<u8>) {
    let mut inside = Vec::with_capacity(read.name.len() + read.value.len() + 12);
    put_bytes(label::NAME, &read.name, &mut inside);
    put_bytes(label::VALUE, &read.value, &mut inside);
    put_bytes(field, &inside, out);
}

/// Writes a time in nanoseconds.
pub(super) fn put_time(field: u32, nanos: i128, out: &mut Vec<u8>) {
    const SECOND: i128 = 1_000_000_000;
    let seconds = i64::try_from(nanos.div_euclid(SECOND)).unwrap_or_default();
    let rest = u64::try_from(nanos.rem_euclid(SECOND)).unwrap_or_default();
    let mut inside = Vec::with_capacity(16);
    put_number(timestamp::SECONDS, seconds.cast_unsigned(), &mut inside);
    if rest > 0 {
        put_number(timestamp::NANOS, rest, &mut inside);
    }
    put_bytes(field, &inside, out);
}
