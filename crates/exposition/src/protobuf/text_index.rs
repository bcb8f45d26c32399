//! The index of the text that decoding makes.
//!
//! The text is written by [`decode`](super::decode()), so nothing in it is unknown: where its families and samples are, their labels, and
//! if they keep the rules of their types. While the text is written its index is made, and the text need not be parsed. That
//! is so for plain bodies, which nearly all are. At anything that the parser of texts has to judge or to report (a series that
//! occurs twice, names in quotes, a family in several messages, buckets out of order) the index is given up.
//!
//! It is the index that parsing makes: a property test compares the two.

use hashbrown::HashTable;

use super::MessageType;
use super::records::RecordFamily;
use crate::family::{Family, FamilyFlags, Suffix};
use crate::hash::name_hash;
use crate::span::Span;
use crate::syntax::Syntax;

/// Whole numbers above are not exact as doubles, and the rules of types compare doubles.
const MAX_EXACT: u64 = 1 << 53;

/// Labels of a metric that are compared with each other; more than metrics have.
const MAX_LABELS: usize = 64;

/// The parts of a text that is not parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextIndex {
    pub(crate) families: Box<[Family]>,
    pub(crate) series: u32,
    pub(crate) records: Box<[RecordFamily]>,
}

/// An index while its text is written.
pub(super) struct IndexBuilder {
    /// False once the parser has to judge.
    is_plain: bool,
    families: Vec<Family>,
    records: Vec<RecordFamily>,
    series: u32,
    /// The family that is written.
    kind: MessageType,
    name: Span,
    help: Span,
    unit_len: u16,
    samples: u32,
    flags: FamilyFlags,
    /// The hashes of the labels of its metrics, if it has few.
    few: Vec<u64>,
    /// The same, if it has more.
    metrics: HashTable<u64>,
}

/// Metrics of a family of which the hashes are compared one by one.
const FEW_METRICS: usize = 16;

/// The samples of a classic histogram or a summary so far, as the rules of their types see them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bounds {
    last: Option<f64>,
    count: u64,
    has_negative: bool,
    is_broken: bool,
}

impl IndexBuilder {
    pub(super) fn new() -> Self {
        Self {
            is_plain: true,
            families: Vec::new(),
            records: Vec::new(),
            series: 0,
            kind: MessageType::Counter,
            name: Span::default(),
            help: Span::default(),
            unit_len: 0,
            samples: 0,
            flags: FamilyFlags::NONE,
            few: Vec::with_capacity(FEW_METRICS),
            metrics: HashTable::new(),
        }
    }

    /// True while the text is plain.
    #[inline]
    pub(super) const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Leaves the text to the parser.
    #[cold]
    pub(super) fn give_up(&mut self) {
        self.is_plain = false;
        self.families = Vec::new();
        self.records = Vec::new();
        self.metrics = HashTable::new();
    }

    pub(super) fn begin_family(&mut self, kind: MessageType) {
        self.kind = kind;
        self.name = Span::default();
        self.help = Span::default();
        self.unit_len = 0;
        self.samples = 0;
        self.flags = FamilyFlags::NONE;
        self.few.clear();
    }

    /// Notes a header of the family: the place of its name. The first one counts.
    pub(super) fn name(&mut self, place: Span) {
        if self.name.is_empty() {
            self.name = place;
        }
    }

    /// Notes the help of the family at this place of the text, with the whitespace before it, which the parser leaves out.
    pub(super) fn help(&mut self, text: &[u8], place: Span) {
        let is_whitespace = |byte: &u8| matches!(byte, b' ' | b'\t');
        let leading = text.iter().take_while(|byte| is_whitespace(byte)).count();
        if text.last() == Some(&b'\r') || leading == text.len() {
            return self.give_up();
        }
        self.help = Span::new(place.start + u32::try_from(leading).unwrap_or_default(), place.end);
    }

    /// Notes the unit of a family with this name.
    pub(super) fn unit(&mut self, name: &[u8], unit: &[u8]) {
        let is_plain = unit.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let is_end = name.strip_suffix(unit).is_some_and(|base| base.ends_with(b"_"));
        match u16::try_from(unit.len()) {
            Ok(len) if is_plain && is_end => self.unit_len = len,
            _ => self.give_up(),
        }
    }

    /// Begins a metric with these labels, by the sum of their hashes. A series that occurs twice is left to the parser.
    #[inline]
    pub(super) fn metric(&mut self, labels: u64, metrics_of_family: usize) {
        if metrics_of_family <= FEW_METRICS {
            if self.few.contains(&labels) {
                return self.give_up();
            }
            return self.few.push(labels);
        }
        if self.metrics.is_empty() {
            self.metrics.reserve(metrics_of_family, |hash| *hash);
        }
        let entry = self.metrics.entry(labels, |known| *known == labels, |hash| *hash);
        match entry {
            hashbrown::hash_table::Entry::Occupied(_) => self.give_up(),
            hashbrown::hash_table::Entry::Vacant(place) => drop(place.insert(labels)),
        }
    }

    /// Notes a sample of the metric.
    #[inline]
    pub(super) fn sample(&mut self, suffix: Suffix) {
        self.samples += 1;
        self.flags |= suffix.as_flag();
    }

    /// Notes that the metric has a timestamp.
    #[inline]
    pub(super) fn timestamp(&mut self, millis: i64) {
        // The most that the parser takes, in seconds.
        const MAX_MILLIS: u64 = 9_000_000_000_000_000_000;
        if millis.unsigned_abs() > MAX_MILLIS {
            return self.give_up();
        }
        self.flags |= FamilyFlags::TIMESTAMPS | FamilyFlags::REFORMAT_TEXT;
        if millis < 0 {
            self.flags |= FamilyFlags::EARLY_TIMES;
        }
    }

    /// Notes an exemplar that the parser takes.
    pub(super) fn exemplar(&mut self) {
        self.flags |= FamilyFlags::EXEMPLARS | FamilyFlags::REFORMAT_TEXT;
    }

    /// Notes that the metric breaks a rule of its type in OpenMetrics.
    #[inline]
    pub(super) fn require(&mut self, keeps: bool) {
        if !keeps {
            self.flags |= FamilyFlags::INVALID_OPENMETRICS;
        }
    }

    /// Takes a classic bucket.
    #[inline]
    pub(super) fn bucket(&mut self, so_far: &mut Bounds, bound: f64, count: u64, float: f64) {
        self.sample(Suffix::Bucket);
        let in_order = so_far.last.is_none_or(|last| last < bound);
        if !in_order || bound.is_nan() || bound == f64::NEG_INFINITY || count > MAX_EXACT || float > 0.0 {
            return self.give_up();
        }
        so_far.is_broken |= count < so_far.count;
        so_far.has_negative |= bound < 0.0;
        so_far.last = Some(bound);
        so_far.count = count;
    }

    /// Takes the count and the sum of a histogram after its buckets.
    #[inline]
    pub(super) fn histogram(&mut self, buckets: &Bounds, count: u64, float: f64, sum: f64) {
        if count > MAX_EXACT || float > 0.0 {
            return self.give_up();
        }
        let keeps = if self.kind == MessageType::GaugeHistogram {
            self.sample(Suffix::GCount);
            self.sample(Suffix::GSum);
            !sum.is_nan() && (buckets.has_negative || sum >= 0.0)
        } else {
            self.sample(Suffix::Count);
            self.sample(Suffix::Sum);
            sum >= 0.0 && !buckets.has_negative
        };
        self.require(keeps && !buckets.is_broken && buckets.count == count);
    }

    /// Takes a quantile.
    #[inline]
    pub(super) fn quantile(&mut self, so_far: &mut Bounds, quantile: f64, value: f64) {
        self.sample(Suffix::Bare);
        let in_order = so_far.last.is_none_or(|last| last < quantile);
        if !in_order || !quantile.is_finite() {
            return self.give_up();
        }
        so_far.last = Some(quantile);
        self.require((0.0..=1.0).contains(&quantile) && (value >= 0.0 || value.is_nan()));
    }

    /// Takes the count and the sum of a summary.
    pub(super) fn summary(&mut self, count: u64, sum: f64) {
        if count > MAX_EXACT {
            return self.give_up();
        }
        self.sample(Suffix::Count);
        self.sample(Suffix::Sum);
        self.require(sum >= 0.0);
    }

    /// True if a label of this name would be taken for a bound of the family's samples, or has a rule of its own.
    #[inline]
    pub(super) fn is_special_label(&self, name: &[u8]) -> bool {
        let has_bounds = matches!(
            self.kind,
            MessageType::Histogram | MessageType::GaugeHistogram | MessageType::Summary
        );
        name.starts_with(b"__") || has_bounds && Self::is_bound(name)
    }

    /// True for the name of a label that a bound has in a family with bounds.
    #[inline]
    pub(super) fn is_bound(name: &[u8]) -> bool {
        matches!(name, b"le" | b"quantile")
    }

    /// True if a metric may have a further label after this number of them.
    #[inline]
    pub(super) const fn has_room(labels: usize) -> bool {
        labels < MAX_LABELS
    }

    /// Ends a family with its samples at this place of the text.
    pub(super) fn end_family(&mut self, samples: Span) {
        if !self.is_plain {
            return;
        }
        self.series += self.samples;
        self.families.push(Family {
            name: self.name,
            kind: self.kind.metric_type(),
            samples: self.samples,
            flags: self.flags,
            help: self.help,
            runs: samples,
            has_one_run: true,
            unit_len: self.unit_len,
        });
        // A table for a large family is not cleared for each small one after it.
        if self.metrics.capacity() > 16 * self.metrics.len().max(FEW_METRICS) {
            self.metrics = HashTable::new();
        } else if !self.metrics.is_empty() {
            self.metrics.clear();
        }
    }

    /// Notes the records of the family that ended last.
    pub(super) fn records(&mut self, metrics: Span, native: u32, native_only: u32) {
        if self.is_plain {
            self.records.push(RecordFamily {
                family: u32::try_from(self.families.len()).unwrap_or(u32::MAX).saturating_sub(1),
                kind: self.kind,
                is_mixed: false,
                metrics,
                native,
                native_only,
            });
        }
    }

    /// The index of the finished text; `None` if the text has to be parsed.
    pub(super) fn finish(self, text: &[u8]) -> Option<TextIndex> {
        (self.is_plain && !self.families.is_empty() && self.has_own_names(text)).then(|| TextIndex {
            families: self.families.into(),
            series: self.series,
            records: self.records.into(),
        })
    }

    /// True if no family has a name that the type of another one claims.
    fn has_own_names(&self, text: &[u8]) -> bool {
        let mut suffixed = FamilyFlags::NONE;
        let mut names: HashTable<&[u8]> = HashTable::new();
        for name in self.families.iter().map(|family| family.name.of(text)) {
            if let Some((_, suffix)) = Suffix::split(name) {
                suffixed |= suffix.as_flag();
                names.insert_unique(name_hash(name), name, |name| name_hash(name));
            }
        }
        let mut claimed = Vec::new();
        self.families.iter().all(|family| {
            let claims = family.kind.suffixes(Syntax::OpenMetrics).iter();
            claims.filter(|suffix| suffixed.contains(suffix.as_flag())).all(|suffix| {
                claimed.clear();
                claimed.extend_from_slice(family.name.of(text));
                claimed.extend_from_slice(suffix.as_str().as_bytes());
                names.find(name_hash(&claimed), |name| **name == *claimed).is_none()
            })
        })
    }
}
