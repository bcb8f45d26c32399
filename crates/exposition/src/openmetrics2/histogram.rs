//! Histograms and summaries of messages, and their composite values.

use std::ops::Range;

use crate::protobuf::field::{bucket, histogram, quantile, span, summary};
use crate::protobuf::number::{put_bound, put_double, put_whole};
use crate::protobuf::wire::{Field, FieldValue, Fields, unzigzag};

/// A histogram, with classic or native buckets or both.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    count: Count,
    sum: f64,
    /// Classic buckets by rising bound, up to infinity if there are any.
    buckets: Vec<(f64, Count)>,
    schema: i64,
    zero_threshold: f64,
    zero_count: Count,
    negative: Side,
    positive: Side,
    pub(super) created: Option<Range<usize>>,
    /// Those of classic buckets, then those of the histogram.
    pub(super) exemplars: Vec<Range<usize>>,
}

/// A count: the float is the one that counts if it is above zero.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    whole: u64,
    float: f64,
}

/// The native buckets of one sign.
#[derive(Debug, Default)]
struct Side {
    /// Offsets and lengths.
    spans: Vec<(i64, u64)>,
    /// Whole counts, each less the one before it.
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Count {
    /// Writes it, a whole one without a point.
    fn put(self, out: &mut Vec<u8>) {
        // Gauges may be below zero.
        if self.float.abs() > 0.0 {
            put_double(self.float, out);
        } else {
            put_whole(self.whole, out);
        }
    }

    /// Writes it with a point, by which a reader sees that the counts of the histogram are floats.
    fn put_float(self, out: &mut Vec<u8>) {
        put_bound(self.float, out);
    }
}

impl Side {
    fn span(&mut self, body: &[u8], range: Range<usize>) {
        let (mut offset, mut length) = (0, 0);
        each_field(body, range, |field| match field.number {
            span::OFFSET => offset = unzigzag(field.varint().unwrap_or_default()),
            span::LENGTH => length = field.varint().unwrap_or_default(),
            _ => {}
        });
        self.spans.push((offset, length));
    }

    fn deltas_of(&mut self, body: &[u8], field: Field) {
        if let FieldValue::Varint(number) = field.value {
            return self.deltas.push(unzigzag(number));
        }
        let Ok(range) = field.bytes() else { return };
        let mut packed = Fields::new(body, range);
        while !packed.is_empty()
            && let Ok(number) = packed.varint()
        {
            self.deltas.push(unzigzag(number));
        }
    }

    fn counts_of(&mut self, body: &[u8], field: Field) {
        if let FieldValue::Fixed64(bits) = field.value {
            return self.counts.push(f64::from_bits(bits));
        }
        let Ok(range) = field.bytes() else { return };
        let (doubles, _) = body[range].as_chunks::<8>();
        self.counts.extend(doubles.iter().map(|bytes| f64::from_le_bytes(*bytes)));
    }

    /// Writes spans and counts, if there are any.
    fn put(&self, sign: &str, is_float: bool, out: &mut Vec<u8>) {
        // Spans without buckets move the next one; the format has none.
        let mut moved = 0;
        let spans: Vec<(i64, u64)> = self
            .spans
            .iter()
            .filter_map(|&(offset, length)| {
                moved += offset;
                (length > 0).then(|| (std::mem::take(&mut moved), length))
            })
            .collect();
        if spans.is_empty() {
            return;
        }
        out.push(b',');
        out.extend_from_slice(sign.as_bytes());
        out.extend_from_slice(b"_spans:[");
        put_list(&spans, out, |(offset, length), out| {
            if *offset < 0 {
                out.push(b'-');
            }
            put_whole(offset.unsigned_abs(), out);
            out.push(b':');
            put_whole(*length, out);
        });
        out.extend_from_slice(b"],");
        out.extend_from_slice(sign.as_bytes());
        out.extend_from_slice(b"_buckets:[");
        if is_float {
            put_list(&self.counts, out, |count, out| put_bound(*count, out));
        } else {
            let mut count = 0_i64;
            put_list(&self.deltas, out, |delta, out| {
                count = count.saturating_add(*delta);
                put_whole(u64::try_from(count).unwrap_or_default(), out);
            });
        }
        out.push(b']');
    }
}

/// Writes items with commas between them.
fn put_list<T>(items: &[T], out: &mut Vec<u8>, mut put: impl FnMut(&T, &mut Vec<u8>)) {
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        put(item, out);
    }
}

/// Calls `each` for the fields of a message.
pub(super) fn each_field(body: &[u8], range: Range<usize>, mut each: impl FnMut(Field)) {
    let mut fields = Fields::new(body, range);
    // Written by the renderer, or read before by the decoder.
    while let Ok(Some(field)) = fields.next() {
        each(field);
    }
}

impl Histogram {
    /// A classic gauge histogram of these buckets, of which the last one stands for a count that is missing.
    pub(super) fn gathered(count: Option<f64>, sum: Option<f64>, buckets: &[(f64, f64)]) -> Self {
        let of = |float: f64| Count { whole: 0, float };
        let mut gathered = Self {
            buckets: buckets.iter().map(|(bound, count)| (*bound, of(*count))).collect(),
            sum: sum.unwrap_or(f64::NAN),
            ..Self::default()
        };
        gathered.buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let last = gathered.buckets.last().map_or(0.0, |(_, count)| count.float);
        gathered.count = of(count.unwrap_or(last));
        gathered.order_buckets();
        gathered
    }

    pub(super) fn read(body: &[u8], range: Range<usize>) -> Self {
        let mut read = Self::default();
        let mut own_exemplars = Vec::new();
        each_field(body, range, |field| match field.number {
            histogram::COUNT => read.count.whole = field.varint().unwrap_or_default(),
            histogram::COUNT_FLOAT => read.count.float = field.double().unwrap_or_default(),
            histogram::SUM => read.sum = field.double().unwrap_or_default(),
            histogram::SCHEMA => read.schema = unzigzag(field.varint().unwrap_or_default()),
            histogram::ZERO_THRESHOLD => read.zero_threshold = field.double().unwrap_or_default(),
            histogram::ZERO_COUNT => read.zero_count.whole = field.varint().unwrap_or_default(),
            histogram::ZERO_COUNT_FLOAT => read.zero_count.float = field.double().unwrap_or_default(),
            histogram::NEGATIVE_DELTA => read.negative.deltas_of(body, field),
            histogram::NEGATIVE_COUNT => read.negative.counts_of(body, field),
            histogram::POSITIVE_DELTA => read.positive.deltas_of(body, field),
            histogram::POSITIVE_COUNT => read.positive.counts_of(body, field),
            number => {
                let Ok(range) = field.bytes() else { return };
                match number {
                    histogram::BUCKET => read.bucket(body, range),
                    histogram::NEGATIVE_SPAN => read.negative.span(body, range),
                    histogram::POSITIVE_SPAN => read.positive.span(body, range),
                    histogram::CREATED => read.created = Some(range),
                    histogram::EXEMPLARS => own_exemplars.push(range),
                    _ => {}
                }
            }
        });
        read.exemplars.append(&mut own_exemplars);
        read.order_buckets();
        read
    }

    fn bucket(&mut self, body: &[u8], range: Range<usize>) {
        let (mut count, mut bound) = (Count::default(), 0.0);
        each_field(body, range, |field| match field.number {
            bucket::COUNT => count.whole = field.varint().unwrap_or_default(),
            bucket::COUNT_FLOAT => count.float = field.double().unwrap_or_default(),
            bucket::BOUND => bound = field.double().unwrap_or(f64::NAN),
            bucket::EXEMPLAR => self.exemplars.extend(field.bytes()),
            _ => {}
        });
        if !bound.is_nan() {
            self.buckets.push((bound, count));
        }
    }

    /// Brings the buckets into the order that the format has, with a last one for infinity.
    fn order_buckets(&mut self) {
        if !self.buckets.is_sorted_by(|one, other| one.0 < other.0) {
            self.buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            #[expect(clippy::float_cmp, reason = "the same bound twice")]
            self.buckets.dedup_by(|one, other| one.0 == other.0);
        }
        let has_all = self.buckets.last().is_some_and(|(bound, _)| *bound == f64::INFINITY);
        if !has_all && (!self.buckets.is_empty() || !self.is_native()) {
            self.buckets.push((f64::INFINITY, self.count));
        }
    }

    /// True if it has native buckets that a scraper takes.
    fn is_native(&self) -> bool {
        let is_native =
            !self.positive.spans.is_empty() || !self.negative.spans.is_empty() || self.zero_threshold > 0.0 || self.zero_count.whole > 0;
        is_native && self.zero_threshold.is_finite() && self.zero_threshold >= 0.0
    }

    /// Writes the composite value. The fields of a gauge histogram begin with a `g`.
    pub(super) fn put(&self, is_gauge: bool, out: &mut Vec<u8>) {
        let is_float = self.is_native() && (self.count.float > 0.0 || self.zero_count.float > 0.0);
        let put_count = |count: Count, out: &mut Vec<u8>| if is_float { count.put_float(out) } else { count.put(out) };
        out.extend_from_slice(if is_gauge { b"{gcount:" } else { b"{count:" });
        put_count(self.count, out);
        out.extend_from_slice(if is_gauge { b",gsum:" } else { b",sum:" });
        put_double(self.sum, out);
        if self.is_native() {
            out.extend_from_slice(b",schema:");
            if self.schema < 0 {
                out.push(b'-');
            }
            put_whole(self.schema.unsigned_abs(), out);
            out.extend_from_slice(b",zero_threshold:");
            put_double(self.zero_threshold, out);
            out.extend_from_slice(b",zero_count:");
            put_count(self.zero_count, out);
            self.negative.put("negative", is_float, out);
            self.positive.put("positive", is_float, out);
        }
        if !self.buckets.is_empty() {
            out.extend_from_slice(b",bucket:[");
            put_list(&self.buckets, out, |(bound, count), out| {
                put_bound(*bound, out);
                out.push(b':');
                count.put(out);
            });
            out.push(b']');
        }
        out.push(b'}');
    }

    /// Calls `each` for the classic buckets, that of infinity included, with a writer of the count.
    pub(super) fn each_bucket(&self, mut each: impl FnMut(f64, &dyn Fn(&mut Vec<u8>))) {
        for (bound, count) in &self.buckets {
            each(*bound, &|out| count.put(out));
        }
        if self.buckets.is_empty() {
            each(f64::INFINITY, &|out| self.put_count(out));
        }
    }

    /// Writes the count.
    pub(super) fn put_count(&self, out: &mut Vec<u8>) {
        self.count.put(out);
    }

    /// Writes the sum.
    pub(super) fn put_sum(&self, out: &mut Vec<u8>) {
        put_double(self.sum, out);
    }
}

/// A summary.
#[derive(Debug, Default)]
pub(super) struct Summary {
    count: u64,
    sum: f64,
    /// Quantiles with their values, by rising quantile.
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) created: Option<Range<usize>>,
}

impl Summary {
    pub(super) fn read(body: &[u8], range: Range<usize>) -> Self {
        let mut read = Self::default();
        each_field(body, range, |field| match field.number {
            summary::COUNT => read.count = field.varint().unwrap_or_default(),
            summary::SUM => read.sum = field.double().unwrap_or_default(),
            summary::QUANTILE => {
                let Ok(range) = field.bytes() else { return };
                let (mut at, mut value) = (0.0, 0.0);
                each_field(body, range, |field| match field.number {
                    quantile::QUANTILE => at = field.double().unwrap_or(f64::NAN),
                    quantile::VALUE => value = field.double().unwrap_or_default(),
                    _ => {}
                });
                // The format has none that is not a finite number.
                if at.is_finite() {
                    read.quantiles.push((at, value));
                }
            }
            summary::CREATED => read.created = field.bytes().ok(),
            _ => {}
        });
        read.quantiles.sort_by(|one, other| one.0.total_cmp(&other.0));
        read
    }

    /// Writes the composite value.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{count:");
        self.put_count(out);
        out.extend_from_slice(b",sum:");
        self.put_sum(out);
        out.extend_from_slice(b",quantile:[");
        put_list(&self.quantiles, out, |(at, value), out| {
            put_bound(*at, out);
            out.push(b':');
            put_double(*value, out);
        });
        out.extend_from_slice(b"]}");
    }

    /// Writes the count.
    pub(super) fn put_count(&self, out: &mut Vec<u8>) {
        put_whole(self.count, out);
    }

    /// Writes the sum.
    pub(super) fn put_sum(&self, out: &mut Vec<u8>) {
        put_double(self.sum, out);
    }
}
