//! Check of a family's samples against the rules of OpenMetrics for its type.
//!
//! The text format and Prometheus have hardly any such rules, so no sample is dropped for breaking them: the family is marked
//! [`FamilyFlags::INVALID_OPENMETRICS`] and is rendered as `unknown` in OpenMetrics.
//!
//! Samples with the same labels, except `le`, `quantile` and the state, form a group. Groups are identified by hash alone: a collision,
//! with a probability of 2^-64, marks a valid family as invalid.

use std::ops::Range;

use crate::family::{FamilyFlags, MetricType, Suffix};
use crate::syntax::Syntax;
use crate::timestamps::millis;

use super::line::{Line, Scanner};
use super::table::HashTable;
use super::template::ValueCheck;

/// State of the group that is being read.
#[derive(Clone, Default)]
pub(super) struct ConformanceChecker {
    open: bool,
    /// True if the group has been added to the groups of the text.
    entered: bool,
    group: u64,
    timestamp: Range<usize>,
    bound: Option<f64>,
    cumulated: f64,
    count: Option<f64>,
    has_sum: bool,
    has_gsum: bool,
    negative_bounds: bool,
    negative_gsum: bool,
}

/// The groups so far.
#[derive(Default)]
pub(super) struct Groups {
    seen: Vec<(u64, usize)>,
    table: HashTable,
}

/// Capacity for groups that is kept from one text to the next; only huge texts need more.
const KEPT_GROUPS: usize = 16_384;

impl Groups {
    pub(super) fn reset(&mut self) {
        self.seen.clear();
        self.table.reset(0);
    }

    /// Frees capacity that only a huge text needed.
    pub(super) fn trim(&mut self) {
        self.seen.clear();
        self.seen.shrink_to(KEPT_GROUPS);
        self.table.trim();
    }

    /// Adds a group of a family; returns false if it is already there.
    fn enter(&mut self, family: usize, group: u64) -> bool {
        let seen = &self.seen;
        let index = super::narrow(seen.len());
        let hash = group ^ (family as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let known = self.table.find_or_insert(hash, index, |at| seen[at as usize] == (group, family));
        if known.is_none() {
            self.seen.push((group, family));
        }
        known.is_none()
    }
}

/// The text around a sample.
pub(super) struct SampleContext<'a, 'b> {
    pub(super) body: &'a [u8],
    pub(super) syntax: Syntax,
    pub(super) scanner: &'b Scanner<'a>,
    /// The groups so far, of all families.
    pub(super) groups: &'b mut Groups,
    pub(super) family: usize,
    pub(super) name: &'b Range<usize>,
    pub(super) kind: MetricType,
    pub(super) bound: Option<Bound>,
}

/// The label `le` or `quantile` of a sample.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub(super) value: f64,
    /// The label's share of the series hash.
    pub(super) hash: u64,
}

/// Description of a broken rule.
pub(super) type Violation = &'static str;

const NAME: Violation = "this type does not allow a sample with this name";
const TORN: Violation = "samples with the same labels are not adjacent, or differ in their timestamps";
const NEGATIVE: Violation = "counts and sums must not be negative or NaN";
const WHOLE: Violation = "counts must be whole numbers";

impl ConformanceChecker {
    /// Checks one more sample. Returns the check that another value in its place would have to pass, if there is one that does not depend
    /// on later lines.
    ///
    /// # Errors
    /// The rule of the family's type that it breaks.
    #[inline]
    pub(super) fn check(&mut self, of: &mut SampleContext<'_, '_>, suffix: Suffix, line: &Line) -> Result<Option<ValueCheck>, Violation> {
        match of.kind {
            MetricType::Unknown | MetricType::Gauge => Ok(Some(ValueCheck::Any)),
            MetricType::Counter => self.counter(of, suffix, line).map(|()| Some(ValueCheck::NotNegative)),
            MetricType::Histogram | MetricType::GaugeHistogram => self.histogram(of, suffix, line),
            MetricType::Summary => self.summary(of, suffix, line),
            MetricType::Info if suffix != Suffix::Info => Err(NAME),
            MetricType::Info => ensure(line.value == 1.0, "the value of an info must be 1").map(|()| None),
            MetricType::StateSet => self.state(of, suffix, line).map(|()| None),
        }
    }

    /// Checks that the last group is complete.
    pub(super) fn check_end(&self, kind: MetricType) -> Result<(), Violation> {
        let histogram = matches!(kind, MetricType::Histogram | MetricType::GaugeHistogram);
        if histogram && self.open { self.is_whole() } else { Ok(()) }
    }

    fn counter(&mut self, of: &mut SampleContext<'_, '_>, suffix: Suffix, line: &Line) -> Result<(), Violation> {
        if of.syntax == Syntax::Text {
            ensure(is_counter_name(&of.body[of.name.clone()]), "names of counters must end in _total")?;
            return not_negative(line.value);
        }
        match suffix {
            Suffix::Total => not_negative(line.value)?,
            Suffix::Created => {}
            _ => return Err(NAME),
        }
        let group = group(of, line, 0);
        self.joins(of, group, line).map(drop)
    }

    fn state(&mut self, of: &mut SampleContext<'_, '_>, suffix: Suffix, line: &Line) -> Result<(), Violation> {
        let name = &of.body[of.name.clone()];
        let state = of.scanner.labels().iter().find(|label| of.scanner.label_name(label) == name);
        let group = group(of, line, state.map_or(0, |label| label.hash));
        let value = line.value;
        ensure(suffix == Suffix::Bare, NAME)?;
        ensure(state.is_some(), "a state set needs a label with its own name")?;
        ensure(value == 0.0 || value == 1.0, "the value of a state must be 0 or 1")?;
        self.joins(of, group, line).map(drop)
    }

    fn summary(&mut self, of: &mut SampleContext<'_, '_>, suffix: Suffix, line: &Line) -> Result<Option<ValueCheck>, Violation> {
        let bound = if suffix == Suffix::Bare { of.bound } else { None };
        let group = group(of, line, bound.map_or(0, |bound| bound.hash));
        let value = line.value;
        self.joins(of, group, line)?;
        match suffix {
            Suffix::Bare => self
                .quantile(bound.map(|bound| bound.value), value)
                .map(|()| Some(ValueCheck::Quantile)),
            Suffix::Sum => not_negative(value).map(|()| Some(ValueCheck::NotNegative)),
            Suffix::Count => whole(value).map(|()| Some(ValueCheck::Whole)),
            Suffix::Created => Ok(None),
            _ => Err(NAME),
        }
    }

    fn quantile(&mut self, bound: Option<f64>, value: f64) -> Result<(), Violation> {
        let bound = bound
            .filter(|bound| (0.0..=1.0).contains(bound))
            .ok_or("a quantile must be from 0 to 1")?;
        let grows = self.bound.is_none_or(|last| last < bound);
        self.bound = Some(bound);
        ensure(grows, "quantiles must be in order")?;
        ensure(value >= 0.0 || value.is_nan(), "the value of a quantile must not be negative")
    }

    fn histogram(&mut self, of: &mut SampleContext<'_, '_>, suffix: Suffix, line: &Line) -> Result<Option<ValueCheck>, Violation> {
        let bound = if suffix == Suffix::Bucket { of.bound } else { None };
        let group = group(of, line, bound.map_or(0, |bound| bound.hash));
        let value = line.value;
        if let Some(before) = self.joins(of, group, line)? {
            before.is_whole()?;
        }
        match suffix {
            Suffix::Bucket => {
                let check = self.bound.map_or(ValueCheck::FirstBucket, |_| ValueCheck::NextBucket);
                self.bucket(bound.map(|bound| bound.value), value).map(|()| Some(check))
            }
            Suffix::Count | Suffix::GCount => {
                self.count = Some(value);
                whole(value)?;
                // Before the last bucket it is compared only at the end of the group.
                let is_after_last = self.bound == Some(f64::INFINITY);
                Ok((is_after_last && value == self.cumulated).then_some(ValueCheck::SameAsLastBucket))
            }
            Suffix::Sum => {
                self.has_sum = true;
                not_negative(value).map(|()| Some(ValueCheck::NotNegative))
            }
            Suffix::GSum => {
                self.has_gsum = true;
                self.negative_gsum = value < 0.0;
                ensure(!value.is_nan(), NEGATIVE).map(|()| None)
            }
            Suffix::Created => Ok(None),
            _ => Err(NAME),
        }
    }

    fn bucket(&mut self, bound: Option<f64>, value: f64) -> Result<(), Violation> {
        let bound = bound.filter(|bound| !bound.is_nan()).ok_or("a bucket needs the label le")?;
        ensure(self.bound.is_none_or(|last| last < bound), "buckets must be in the order of le")?;
        ensure(value >= self.cumulated, "buckets must be cumulative")?;
        self.bound = Some(bound);
        self.cumulated = value;
        self.negative_bounds |= bound < 0.0;
        whole(value)
    }

    /// Adds a sample to the open group, or opens a new group for it and returns the previous one.
    #[inline]
    fn joins(&mut self, of: &mut SampleContext<'_, '_>, group: u64, line: &Line) -> Result<Option<Self>, Violation> {
        if self.open && self.group == group {
            let both_without = self.timestamp.is_empty() && line.timestamp.is_empty();
            let same_time = both_without || of.body[self.timestamp.clone()] == of.body[line.timestamp.clone()];
            if same_time {
                return Ok(None);
            }
            let time = |range: &Range<usize>| millis(&of.body[range.clone()], of.syntax);
            // The same labels with a later timestamp.
            let is_later = time(&self.timestamp).zip(time(&line.timestamp)).is_some_and(|(old, new)| old < new);
            ensure(is_later, TORN)?;
            let fresh = Self {
                open: true,
                entered: self.entered,
                group,
                timestamp: line.timestamp.clone(),
                ..Self::default()
            };
            return Ok(Some(std::mem::replace(self, fresh)));
        }
        let fresh = Self {
            open: true,
            group,
            timestamp: line.timestamp.clone(),
            ..Self::default()
        };
        let before = std::mem::replace(self, fresh);
        if !before.open {
            return Ok(None);
        }
        // The first group of a family is added only when there is a second one: most families have one group.
        if !before.entered {
            of.groups.enter(of.family, before.group);
        }
        self.entered = true;
        ensure(of.groups.enter(of.family, group), TORN)?;
        Ok(Some(before))
    }

    /// Checks that a finished group of a histogram is complete.
    fn is_whole(&self) -> Result<(), Violation> {
        ensure(self.bound == Some(f64::INFINITY), "the bucket le=\"+Inf\" is missing")?;
        ensure(
            self.count.is_none_or(|count| count == self.cumulated),
            "the count differs from the bucket le=\"+Inf\"",
        )?;
        ensure(
            (self.has_sum || self.has_gsum) == self.count.is_some(),
            "sum and count must occur together",
        )?;
        ensure(
            !(self.negative_bounds && self.has_sum),
            "a histogram with negative buckets has no sum",
        )?;
        ensure(
            self.negative_bounds || !self.negative_gsum,
            "the sum cannot be negative without negative buckets",
        )
    }
}

/// Returns true if a name of the text format is one of a counter in OpenMetrics, too.
pub(super) fn is_counter_name(name: &[u8]) -> bool {
    name.strip_suffix(b"_total").is_some_and(|base| !base.is_empty())
}

fn ensure(fits: bool, violation: Violation) -> Result<(), Violation> {
    if fits { Ok(()) } else { Err(violation) }
}

fn not_negative(value: f64) -> Result<(), Violation> {
    ensure(value >= 0.0, NEGATIVE)
}

fn whole(value: f64) -> Result<(), Violation> {
    not_negative(value)?;
    ensure(value.fract() == 0.0, WHOLE)
}

/// Hash of a sample's labels without one of them.
#[inline]
fn group(of: &SampleContext<'_, '_>, line: &Line, without: u64) -> u64 {
    line.hash.wrapping_sub(of.scanner.name_hash()).wrapping_sub(without)
}

impl FamilyFlags {
    /// The flags for a value of `le` or `quantile`: OpenMetrics requires `1.0` for `1`, and `+Inf` for any other form of infinity.
    pub(super) fn of_bound(text: &[u8]) -> Self {
        let plain = text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
        if plain || text == b"+Inf" {
            Self::NONE
        } else {
            Self::REFORMAT_OPENMETRICS
        }
    }
}
