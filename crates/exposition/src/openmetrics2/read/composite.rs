//! Composite values: the fields of a histogram or summary in braces.

use std::borrow::Cow;

use super::LineFault;
use super::cursor::LineCursor;
use super::metric::{Tail, put_time};
use crate::family::MetricType;
use crate::protobuf::broken_rule;
use crate::protobuf::field::{bucket, histogram, quantile, span, summary};
use crate::protobuf::wire::{put_bytes, put_double, put_number, put_varint, zigzag};

/// Whole numbers below are doubles without loss.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The names of the fields, each at its number.
const NAMES: [&str; 13] = [
    "count",
    "sum",
    "gcount",
    "gsum",
    "schema",
    "zero_threshold",
    "zero_count",
    "negative_spans",
    "negative_buckets",
    "positive_spans",
    "positive_buckets",
    "bucket",
    "quantile",
];

/// A place and what stands there.
type Placed<'a> = (usize, &'a [u8]);

/// The place and the value of each field; without the brackets of a list.
type Fields<'a> = [Option<Placed<'a>>; NAMES.len()];

/// A composite value.
pub(super) struct Composite<'a> {
    fields: Fields<'a>,
    is_summary: bool,
    count: Count,
    sum: f64,
    /// Bounds or quantiles, each with its value.
    pairs: Vec<(f64, Count)>,
    native: Option<Native>,
}

/// The native buckets of a histogram.
struct Native {
    schema: i64,
    zero_threshold: f64,
    zero_count: Count,
    negative: Side,
    positive: Side,
}

/// The native buckets of one sign.
#[derive(Default)]
struct Side {
    spans: Vec<(i64, u64)>,
    counts: Vec<Count>,
}

/// A number that counts something.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// The number, if it is written as a whole one.
    whole: Option<u64>,
    float: f64,
}

/// Reads a composite value of a family of this type.
pub(super) fn read<'a>(cursor: &mut LineCursor<'a>, kind: MetricType) -> Result<Composite<'a>, LineFault> {
    let start = cursor.at();
    let fields = read_fields(cursor, kind)?;
    let missing = |name: &str| Err((start, format!("the composite value lacks {name}").into()));
    let (count, sum) = match kind {
        MetricType::GaugeHistogram => ("gcount", "gsum"),
        _ => ("count", "sum"),
    };
    let field = |name: &str| fields[NAMES.iter().position(|it| *it == name).unwrap_or_default()];
    let Some((at, text)) = field(count) else { return missing(count) };
    let count = Count::read(text, at)?;
    let Some((at, text)) = field(sum) else { return missing(sum) };
    let mut composite = Composite {
        fields,
        is_summary: kind == MetricType::Summary,
        count,
        sum: LineCursor::number_of(text, at)?,
        pairs: Vec::new(),
        native: None,
    };
    if kind == MetricType::Summary {
        let Some((at, text)) = field("quantile") else {
            return missing("quantile");
        };
        composite.pairs = each_pair(text, at, |(at_key, key), (at_value, value)| {
            let quantile = LineCursor::number_of(key, at_key)?;
            if !quantile.is_finite() {
                return Err((at_key, "a quantile is a finite number".into()));
            }
            let float = LineCursor::number_of(value, at_value)?;
            Ok((quantile, Count { whole: None, float }))
        })?;
        if !composite.pairs.is_sorted_by(|one, other| one.0 < other.0) {
            return Err((at, "the quantiles do not rise".into()));
        }
        return Ok(composite);
    }
    if let Some((at, text)) = field("schema") {
        composite.native = Some(composite.read_native(text, at, start)?);
    } else if let Some((at, _)) = fields[5..11].iter().flatten().next() {
        return Err((*at, "native buckets need schema, zero_threshold and zero_count".into()));
    }
    match field("bucket") {
        Some((at, text)) => composite.read_buckets(text, at)?,
        None if composite.native.is_none() => return missing("bucket or schema"),
        None => {}
    }
    Ok(composite)
}

/// Splits a composite value into its fields.
fn read_fields<'a>(cursor: &mut LineCursor<'a>, kind: MetricType) -> Result<Fields<'a>, LineFault> {
    cursor.expect(b'{', "a composite value in braces, because of the type of the metric")?;
    let allowed: &[usize] = match kind {
        MetricType::Summary => &[0, 1, 12],
        MetricType::GaugeHistogram => &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        _ => &[0, 1, 4, 5, 6, 7, 8, 9, 10, 11],
    };
    let mut fields = [None; NAMES.len()];
    loop {
        let at = cursor.at();
        let key = cursor.until(|byte| matches!(byte, b':' | b'}' | b',' | b' '));
        let known = NAMES.iter().position(|name| name.as_bytes() == key);
        let Some(number) = known.filter(|number| allowed.contains(number)) else {
            let names: Vec<&str> = allowed.iter().map(|number| NAMES[*number]).collect();
            return Err((at, format!("unknown field: expected {}", names.join(", ")).into()));
        };
        cursor.expect(b':', "a colon behind the field")?;
        let is_list = number >= 7;
        if is_list {
            cursor.expect(b'[', "a list in brackets")?;
        }
        let start = cursor.at();
        let value = if is_list {
            let value = cursor.until(|byte| matches!(byte, b']' | b'[' | b'{' | b'}' | b' '));
            cursor.expect(b']', "the end of the list")?;
            value
        } else {
            cursor.until(|byte| matches!(byte, b',' | b'}' | b' '))
        };
        if fields[number].replace((start, value)).is_some() {
            return Err((at, "the field stands twice".into()));
        }
        if cursor.take(b"}") {
            return Ok(fields);
        }
        cursor.expect(b',', "a comma or the closing brace of the composite value")?;
    }
}

/// Calls `each` for the items of a list, with their places.
fn each_item<'a, T>(text: &'a [u8], at: usize, mut each: impl FnMut(usize, &'a [u8]) -> Result<T, LineFault>) -> Result<Vec<T>, LineFault> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut start = at;
    text.split(|byte| *byte == b',')
        .map(|item| {
            let at = start;
            start += item.len() + 1;
            each(at, item)
        })
        .collect()
}

/// Calls `each` for the pairs of a list.
fn each_pair<'a, T>(
    text: &'a [u8],
    at: usize,
    mut each: impl FnMut(Placed<'a>, Placed<'a>) -> Result<T, LineFault>,
) -> Result<Vec<T>, LineFault> {
    each_item(text, at, |at, item| {
        let colon = memchr::memchr(b':', item).ok_or((at, Cow::from("expected two numbers with a colon between them")))?;
        each((at, &item[..colon]), (at + colon + 1, &item[colon + 1..]))
    })
}

impl Count {
    /// Reads a count. Negative ones, which gauge histograms may have, have no place in the other formats.
    fn read(text: &[u8], at: usize) -> Result<Self, LineFault> {
        let float = LineCursor::number_of(text, at)?;
        if !(float >= 0.0 && float.is_finite()) {
            return Err((at, "a count is a finite number from 0 on".into()));
        }
        let whole = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        Ok(Self { whole, float })
    }

    /// The number as a whole one, if it is.
    fn as_whole(self) -> Option<u64> {
        let is_whole = self.float < MAX_EXACT && self.float.fract() == 0.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and below 2^53")]
        let rounded = self.float as u64;
        self.whole.or(is_whole.then_some(rounded))
    }

    fn put(self, field: u32, float_field: u32, out: &mut Vec<u8>) {
        match self.as_whole() {
            Some(whole) => put_number(field, whole, out),
            None => put_double(float_field, self.float, out),
        }
    }
}

impl Side {
    fn read(spans: Option<Placed<'_>>, counts: Option<Placed<'_>>) -> Result<Self, LineFault> {
        let (Some((at_spans, spans)), Some((at_counts, counts))) = (spans, counts) else {
            return match spans.or(counts) {
                Some((at, _)) => Err((at, "spans and buckets of a sign stand together".into())),
                None => Ok(Self::default()),
            };
        };
        let whole = |at: usize, text: &[u8]| {
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i32>().ok());
            number.ok_or((at, Cow::from("expected a whole number of 32 bits")))
        };
        let mut is_first = true;
        let spans = each_pair(spans, at_spans, |(at, offset), (at_length, length)| {
            let (offset, length) = (whole(at, offset)?, whole(at_length, length)?);
            if offset < 0 && !std::mem::take(&mut is_first) {
                return Err((at, "only the offset of the first span may be negative".into()));
            }
            is_first = false;
            match u64::try_from(length) {
                Ok(length) if length > 0 => Ok((i64::from(offset), length)),
                _ => Err((at_length, "the length of a span is 1 or more".into())),
            }
        })?;
        let counts = each_item(counts, at_counts, |at, count| Count::read(count, at))?;
        Ok(Self { spans, counts })
    }

    fn put(&self, fields: [u32; 3], is_float: bool, out: &mut Vec<u8>) {
        for (offset, length) in &self.spans {
            put_span(fields[0], *offset, *length, out);
        }
        if self.counts.is_empty() {
            return;
        }
        let mut packed = Vec::with_capacity(self.counts.len());
        let mut before = 0_i64;
        for count in &self.counts {
            if is_float {
                packed.extend_from_slice(&count.float.to_bits().to_le_bytes());
            } else {
                let count = i64::try_from(count.as_whole().unwrap_or_default()).unwrap_or(i64::MAX);
                put_varint(zigzag(count - before), &mut packed);
                before = count;
            }
        }
        put_bytes(if is_float { fields[2] } else { fields[1] }, &packed, out);
    }
}

fn put_span(field: u32, offset: i64, length: u64, out: &mut Vec<u8>) {
    let mut inside = Vec::with_capacity(12);
    put_number(span::OFFSET, zigzag(offset), &mut inside);
    put_number(span::LENGTH, length, &mut inside);
    put_bytes(field, &inside, out);
}

impl Composite<'_> {
    fn field(&self, name: &str) -> Option<Placed<'_>> {
        self.fields[NAMES.iter().position(|it| *it == name)?]
    }

    fn read_native(&self, schema: &[u8], at: usize, start: usize) -> Result<Native, LineFault> {
        let schema: i64 = std::str::from_utf8(schema)
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|schema| (-4..=8).contains(schema))
            .ok_or((at, Cow::from("the schema is a whole number from -4 to 8")))?;
        let missing = |name: &str| (start, Cow::from(format!("the composite value lacks {name}")));
        let (at, text) = self.field("zero_threshold").ok_or_else(|| missing("zero_threshold"))?;
        let zero_threshold = LineCursor::number_of(text, at)?;
        if !(zero_threshold >= 0.0 && zero_threshold.is_finite()) {
            return Err((at, "the threshold is a finite number from 0 on".into()));
        }
        let (at, text) = self.field("zero_count").ok_or_else(|| missing("zero_count"))?;
        Ok(Native {
            schema,
            zero_threshold,
            zero_count: Count::read(text, at)?,
            negative: Side::read(self.field("negative_spans"), self.field("negative_buckets"))?,
            positive: Side::read(self.field("positive_spans"), self.field("positive_buckets"))?,
        })
    }

    fn read_buckets(&mut self, text: &[u8], at: usize) -> Result<(), LineFault> {
        let buckets = each_pair(text, at, |(at_bound, bound), (at_count, count)| {
            let number = LineCursor::number_of(bound, at_bound)?;
            if number.is_nan() {
                return Err((at_bound, "a bucket has a bound".into()));
            }
            Ok((number, Count::read(count, at_count)?))
        })?;
        if !buckets.is_sorted_by(|one, other| one.0 < other.0) {
            return Err((at, "the bounds of the buckets do not rise".into()));
        }
        match buckets.last() {
            Some((bound, _)) if *bound == f64::INFINITY => {}
            _ => return Err((at, "the last bucket is that of +Inf".into())),
        }
        self.pairs = buckets;
        Ok(())
    }

    /// The name of the label that distinguishes buckets or quantiles in the other formats; empty if there are none. Each histogram has a bucket
    /// there, that of infinity.
    pub(super) const fn reserved_label(&self) -> &'static [u8] {
        match (self.is_summary, self.pairs.is_empty()) {
            (true, false) => b"quantile",
            (true, true) => b"",
            (false, _) => b"le",
        }
    }

    /// The message of the value with what stands behind it.
    pub(super) fn message(&self, kind: MetricType, tail: &Tail) -> Result<Vec<u8>, Cow<'static, str>> {
        let mut out = Vec::new();
        if kind == MetricType::Summary {
            let count = self.count.as_whole().ok_or("the count of a summary is a whole number")?;
            put_number(summary::COUNT, count, &mut out);
            put_double(summary::SUM, self.sum, &mut out);
            for (at, value) in &self.pairs {
                let mut inside = Vec::with_capacity(18);
                put_double(quantile::QUANTILE, *at, &mut inside);
                put_double(quantile::VALUE, value.float, &mut inside);
                put_bytes(summary::QUANTILE, &inside, &mut out);
            }
            if let Some(start) = tail.start {
                put_time(summary::CREATED, start, &mut out);
            }
            return Ok(out);
        }
        let is_float = self.is_float();
        if is_float {
            put_double(histogram::COUNT_FLOAT, self.count.float, &mut out);
        } else {
            self.count.put(histogram::COUNT, histogram::COUNT_FLOAT, &mut out);
        }
        put_double(histogram::SUM, self.sum, &mut out);
        if let Some(native) = &self.native {
            native.put(is_float, &mut out);
            if let Some(rule) = broken_rule(&out) {
                return Err(rule.to_string().into());
            }
        }
        let mut others = Vec::new();
        self.put_buckets(tail, &mut others, &mut out);
        if let Some(start) = tail.start {
            put_time(histogram::CREATED, start, &mut out);
        }
        others.iter().for_each(|message| put_bytes(histogram::EXEMPLARS, message, &mut out));
        Ok(out)
    }

    /// Writes the classic buckets, each with the first exemplar in it. A native histogram has all exemplars itself, a classic one the others,
    /// for which it has no place in OpenMetrics 1.0.
    fn put_buckets<'t>(&self, tail: &'t Tail, others: &mut Vec<&'t [u8]>, out: &mut Vec<u8>) {
        let mut first: Vec<Option<&[u8]>> = vec![None; self.pairs.len()];
        for exemplar in &tail.exemplars {
            let at = self.pairs.partition_point(|(bound, _)| *bound < exemplar.value);
            let place = first.get_mut(at).filter(|place| place.is_none());
            let is_placed = place.map(|place| *place = Some(&exemplar.message)).is_some();
            if self.native.is_some() || !is_placed {
                others.push(&exemplar.message);
            }
        }
        for ((bound, count), exemplar) in self.pairs.iter().zip(first) {
            let mut inside = Vec::with_capacity(24);
            count.put(bucket::COUNT, bucket::COUNT_FLOAT, &mut inside);
            put_double(bucket::BOUND, *bound, &mut inside);
            if let Some(exemplar) = exemplar {
                put_bytes(bucket::EXEMPLAR, exemplar, &mut inside);
            }
            put_bytes(histogram::BUCKET, &inside, out);
        }
    }

    /// True if native buckets have float counts: one of them is written with a point or an exponent.
    fn is_float(&self) -> bool {
        let Some(native) = &self.native else { return false };
        let counts = native.positive.counts.iter().chain(&native.negative.counts);
        let mut all = counts.chain([&self.count, &native.zero_count]);
        // Without any of these above zero a reader of protobuf looks at the whole counts.
        (self.count.float > 0.0 || native.zero_count.float > 0.0) && all.any(|count| count.whole.is_none())
    }
}

impl Native {
    fn put(&self, is_float: bool, out: &mut Vec<u8>) {
        put_number(histogram::SCHEMA, zigzag(self.schema), out);
        put_double(histogram::ZERO_THRESHOLD, self.zero_threshold, out);
        if is_float {
            put_double(histogram::ZERO_COUNT_FLOAT, self.zero_count.float, out);
        } else {
            self.zero_count.put(histogram::ZERO_COUNT, histogram::ZERO_COUNT_FLOAT, out);
        }
        use histogram::{NEGATIVE_COUNT, NEGATIVE_DELTA, NEGATIVE_SPAN, POSITIVE_COUNT, POSITIVE_DELTA, POSITIVE_SPAN};
        self.negative.put([NEGATIVE_SPAN, NEGATIVE_DELTA, NEGATIVE_COUNT], is_float, out);
        self.positive.put([POSITIVE_SPAN, POSITIVE_DELTA, POSITIVE_COUNT], is_float, out);
        if self.positive.spans.is_empty() && self.negative.spans.is_empty() {
            // Marks an empty histogram as a native one.
            put_span(POSITIVE_SPAN, 0, 0, out);
        }
    }
}
