//! The samples of a metric, by its type.

use std::ops::Range;

use super::{Decoder, TextForm};
use crate::escape::is_legacy_label_name;
use crate::family::Suffix;
use crate::protobuf::field::{bucket, exemplar, histogram, quantile, scalar, summary, timestamp};
use crate::protobuf::plain;
use crate::protobuf::records::Native;
use crate::protobuf::text::{SampleValue, put_label, slice};
use crate::protobuf::text_index::{Bounds, IndexBuilder};
use crate::protobuf::wire::{Fault, Fields};
use crate::sample::MAX_EXEMPLAR_CHARS;

/// Times of exemplars below are ones that the parser takes.
const MAX_PLAIN_SECONDS: u64 = 9_000_000_000_000_000;

impl Decoder<'_> {
    pub(super) fn scalar(&mut self, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let (first, rest) = plain::scalar(self.body, range);
        let mut value = first.unwrap_or_default();
        let mut fields = Fields::new(self.body, rest);
        while let Some(field) = fields.next()? {
            if field.number == scalar::VALUE {
                value = field.double()?;
            }
        }
        self.index.sample(Suffix::Bare);
        self.out.sample(Suffix::Bare, SampleValue::Double(value));
        self.out.end_line().map_err(|kind| (start, kind))
    }

    pub(super) fn counter(&mut self, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let (mut exemplar, mut created) = (None, None);
        let (first, rest) = plain::scalar(self.body, range);
        let mut value = first.unwrap_or_default();
        let mut fields = Fields::new(self.body, rest);
        while let Some(field) = fields.next()? {
            match field.number {
                scalar::VALUE => value = field.double()?,
                scalar::EXEMPLAR => exemplar = Some(field.bytes()?),
                scalar::CREATED => created = Some(field.bytes()?),
                _ => {}
            }
        }
        let is_total = matches!(form, TextForm::Total(_));
        let suffix = if is_total { Suffix::Total } else { Suffix::Bare };
        self.index.sample(suffix);
        self.index.require(is_total && value >= 0.0);
        self.out.sample(suffix, SampleValue::Double(value));
        if let Some(exemplar) = exemplar {
            // Without `_total` the parser of the text leaves it out, and counts it.
            if !is_total {
                self.text_lacks = true;
                self.index.give_up();
            }
            self.exemplar(form, exemplar)?;
        }
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.created(form, created)
    }

    pub(super) fn summary(&mut self, form: TextForm, range: Range<usize>) -> Result<(), Fault> {
        let start = range.start;
        let (mut count, mut sum, mut created) = (0, 0.0, None);
        let mut quantiles = Bounds::default();
        let mut has_bounds = false;
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                summary::COUNT => count = field.varint()?,
                summary::SUM => sum = field.double()?,
                summary::QUANTILE => {
                    if !has_bounds {
                        has_bounds = true;
                        self.out.begin_bounds(Suffix::Bare, "quantile");
                    }
                    self.quantile(&mut quantiles, field.bytes()?)?;
                }
                summary::CREATED => created = Some(field.bytes()?),
                _ => {}
            }
        }
        self.index.summary(count, sum);
        self.out.sample(Suffix::Count, SampleValue::Whole(count));
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.out.sample(Suffix::Sum, SampleValue::Double(sum));
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.created(form, created)
    }

    fn quantile(&mut self, quantiles: &mut Bounds, range: Range<usize>) -> Result<(), Fault> {
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
        self.index.quantile(quantiles, at, value);
        self.out.bound(at, SampleValue::Double(value));
        self.out.end_line().map_err(|kind| (start, kind))
    }

    pub(super) fn histogram(&mut self, form: TextForm, range: Range<usize>, count_name: Suffix, sum_name: Suffix) -> Result<(), Fault> {
        let start = range.start;
        let (mut count, mut count_float, mut sum, mut created) = (0, 0.0, 0.0, None);
        let (mut has_native, mut has_last, mut has_classic) = (false, false, false);
        let mut native = Native::default();
        let mut buckets = Bounds::default();
        let mut fields = Fields::new(self.body, range);
        // In the order of encoders; what comes in another one is read below.
        if let Some(number) = fields.number_of(histogram::COUNT)? {
            count = number;
        }
        if let Some(number) = fields.double_of(histogram::SUM)? {
            sum = number;
        }
        while let Some(range) = fields.message_of(histogram::BUCKET)? {
            if !has_classic {
                has_classic = true;
                self.out.begin_bounds(Suffix::Bucket, "le");
            }
            has_last |= self.bucket(form, &mut buckets, range)?;
        }
        has_native |= native.take_first(self.body, &mut fields)?;
        while let Some(field) = fields.next()? {
            match field.number {
                histogram::COUNT => count = field.varint()?,
                histogram::COUNT_FLOAT => count_float = field.double()?,
                histogram::SUM => sum = field.double()?,
                histogram::BUCKET => {
                    if !has_classic {
                        has_classic = true;
                        self.out.begin_bounds(Suffix::Bucket, "le");
                    }
                    has_last |= self.bucket(form, &mut buckets, field.bytes()?)?;
                }
                histogram::CREATED => created = Some(field.bytes()?),
                histogram::SCHEMA..=histogram::EXEMPLARS => {
                    has_native = true;
                    native.take(self.body, field)?;
                }
                _ => {}
            }
        }
        if has_native {
            self.text_lacks = true;
            native.check(start, count, count_float, sum)?;
            self.native += u32::from(native.is_native());
            self.native_only += u32::from(native.is_native() && !has_classic);
        }
        let total = number(count, count_float);
        if !has_last {
            self.index.bucket(&mut buckets, f64::INFINITY, count, count_float);
            if has_classic {
                self.out.bound(f64::INFINITY, total);
            } else {
                self.out.only_bound(Suffix::Bucket, "le", f64::INFINITY, total);
            }
            self.out.end_line().map_err(|kind| (start, kind))?;
        }
        self.index.histogram(&buckets, count, count_float, sum);
        self.out.sample(count_name, total);
        self.out.end_line().map_err(|kind| (start, kind))?;
        self.out.sample(sum_name, SampleValue::Double(sum));
        self.out.end_line().map_err(|kind| (start, kind))?;
        if count_name == Suffix::Count {
            self.created(form, created)
        } else {
            Ok(())
        }
    }

    /// Writes a classic bucket; true if it is the one of infinity.
    #[inline]
    fn bucket(&mut self, form: TextForm, buckets: &mut Bounds, range: Range<usize>) -> Result<bool, Fault> {
        let start = range.start;
        if let Some((count, bound)) = plain::bucket(slice(self.body, &range)) {
            self.index.bucket(buckets, bound, count, 0.0);
            self.out.bound(bound, SampleValue::Whole(count));
            self.out.end_line().map_err(|kind| (start, kind))?;
            return Ok(bound == f64::INFINITY);
        }
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
        self.index.bucket(buckets, bound, count, count_float);
        self.out.bound(bound, number(count, count_float));
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
        let mut names: Vec<&[u8]> = Vec::new();
        let mut is_plain = self.index.is_plain();
        let mut fields = Fields::new(self.body, range);
        while let Some(field) = fields.next()? {
            match field.number {
                exemplar::LABEL => {
                    let (name, value) = self.label(field.bytes()?)?;
                    let (name, value) = (&self.body[name], &self.body[value]);
                    put_label(name, value, &mut labels);
                    chars += characters(name) + characters(value);
                    if is_plain {
                        let is_named = is_legacy_label_name(name) && !name.starts_with(b"__") && !names.contains(&name);
                        is_plain = is_named && IndexBuilder::has_room(names.len()) && !value.contains(&0);
                        names.push(name);
                    }
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
        let is_time = time.is_none_or(|(seconds, _)| seconds.unsigned_abs() < MAX_PLAIN_SECONDS);
        if !is_plain || chars > MAX_EXEMPLAR_CHARS || !is_time {
            self.index.give_up();
        }
        self.index.exemplar();
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
        if self.omits_created {
            self.text_lacks = true;
            return Ok(());
        }
        self.index.sample(Suffix::Created);
        self.out.sample(Suffix::Created, SampleValue::Time(seconds, nanos));
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
pub(crate) fn read_time(body: &[u8], range: Range<usize>) -> Result<(i64, i64), Fault> {
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
