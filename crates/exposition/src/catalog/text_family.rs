//! Families of an app under their names in the text format.
//!
//! Families are kept, compared and merged under their names in the text format, whatever they came in. An OpenMetrics counter `foo` with
//! creation times makes two of them, the counter `foo_total` and the gauge `foo_created`; OpenMetrics output puts them together again
//! where nothing else claims the names.

use std::borrow::Cow;

use crate::escape::escaped_metric_name;
use crate::family::{Family, FamilyFlags, MetricType, Suffix};
use crate::index::Exposition;
use crate::protobuf::MessageType;
use crate::syntax::Syntax;

/// Sample names of a family of the text format, and how its samples are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One sample name, that of the family.
    Scalar,
    /// Buckets, a sum and a count.
    Histogram,
    /// Quantiles, a sum and a count.
    Summary,
}

impl From<MetricType> for Shape {
    fn from(kind: MetricType) -> Self {
        match kind {
            MetricType::Histogram => Self::Histogram,
            MetricType::Summary => Self::Summary,
            MetricType::Unknown
            | MetricType::Counter
            | MetricType::Gauge
            | MetricType::GaugeHistogram
            | MetricType::Info
            | MetricType::StateSet => Self::Scalar,
        }
    }
}

impl Shape {
    /// The suffixes of its sample names.
    pub(super) const fn suffixes(self) -> &'static [Suffix] {
        match self {
            Self::Scalar => &[],
            Self::Histogram => &[Suffix::Bucket, Suffix::Sum, Suffix::Count],
            Self::Summary => &[Suffix::Sum, Suffix::Count],
        }
    }

    /// All of its sample names.
    pub(super) fn names(self) -> FamilyFlags {
        self.suffixes()
            .iter()
            .fold(FamilyFlags::BARE, |names, suffix| names | suffix.as_flag())
    }
}

/// The OpenMetrics family that a family of the text format belongs to, where no name conflicts with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenMetricsRole {
    /// The type of the OpenMetrics family that it belongs to.
    pub(super) kind: MetricType,
    /// True if that family goes out in its place; otherwise it goes out inside another one.
    pub(super) primary: bool,
}

/// A family of the text format made from a family as written: all of it, or some of its sample names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextFamily {
    /// The number of the family as written.
    pub(super) family: u32,
    /// Appended to the name of the family as written.
    pub(super) suffix: Suffix,
    /// The samples that belong to it.
    pub(super) names: FamilyFlags,
    /// Its type in the text format.
    pub(super) kind: MetricType,
    /// Its part in an OpenMetrics family.
    pub(super) role: OpenMetricsRole,
    /// True if the samples make an OpenMetrics family of the type in `role`.
    pub(super) valid: bool,
    /// True if some name is written in quotes.
    pub(super) quoted: bool,
    /// True if a unit is stated.
    pub(super) has_unit: bool,
    /// True if it has records of other types than its own.
    pub(super) other_records: bool,
}

/// A [`TextFamily`] in eight bytes, as apps and contributions keep it: there may be millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredTextFamily {
    family: u32,
    /// The type and the role in the low byte, then the sample names where [`FamilyFlags`] have them, further properties, and the suffix.
    bits: u32,
}

impl StoredTextFamily {
    const ROLE_KIND: u32 = 3;
    const PRIMARY: u32 = 1 << 6;
    const VALID: u32 = 1 << 7;
    const QUOTED: u32 = 1 << 17;
    const HAS_UNIT: u32 = 1 << 18;
    const SUFFIX: u32 = 19;
    const SUFFIX_BITS: u32 = 0xf;
    const OTHER_RECORDS: u32 = 1 << 23;

    pub(super) fn get(self) -> TextFamily {
        let kind = |bits: u32| MetricType::ALL[bits as usize % MetricType::ALL.len()];
        let has = |bit| self.bits & bit != 0;
        TextFamily {
            family: self.family,
            suffix: Suffix::from_number(self.bits >> Self::SUFFIX & Self::SUFFIX_BITS),
            names: FamilyFlags::from_names(self.bits),
            kind: kind(self.bits),
            role: OpenMetricsRole {
                kind: kind(self.bits >> Self::ROLE_KIND),
                primary: has(Self::PRIMARY),
            },
            valid: has(Self::VALID),
            quoted: has(Self::QUOTED),
            has_unit: has(Self::HAS_UNIT),
            other_records: has(Self::OTHER_RECORDS),
        }
    }
}

impl From<TextFamily> for StoredTextFamily {
    fn from(text: TextFamily) -> Self {
        let bit = |set, bit| if set { bit } else { 0 };
        let kinds = text.kind as u32 | (text.role.kind as u32) << Self::ROLE_KIND;
        let role = bit(text.role.primary, Self::PRIMARY) | bit(text.valid, Self::VALID);
        let more = bit(text.quoted, Self::QUOTED)
            | bit(text.has_unit, Self::HAS_UNIT)
            | bit(text.other_records, Self::OTHER_RECORDS)
            | (text.suffix as u32) << Self::SUFFIX;
        Self {
            family: text.family,
            bits: kinds | role | text.names.names().bits() | more,
        }
    }
}

impl TextFamily {
    /// Its name as escaped inside quotes.
    pub(super) fn name<'a>(&self, exposition: &'a Exposition) -> Cow<'a, [u8]> {
        let family = exposition.text(exposition.families()[self.family as usize].name);
        match self.suffix {
            Suffix::Bare => family.into(),
            suffix => [family, suffix.as_str().as_bytes()].concat().into(),
        }
    }

    /// The name that it is kept under. Names that are equal once escaped are kept as one family, for every scraper.
    pub(super) fn key<'a>(&self, exposition: &'a Exposition) -> Cow<'a, [u8]> {
        match self.name(exposition) {
            // Legacy names need no quotes and rarely have them.
            name if !self.quoted => name,
            Cow::Borrowed(name) => escaped_metric_name(name),
            Cow::Owned(name) => escaped_metric_name(&name).into_owned().into(),
        }
    }
}

impl TextFamily {
    /// The shape of its samples.
    pub(super) fn shape(&self) -> Shape {
        Shape::from(self.kind)
    }

    /// The samples of one name as an untyped family of that name, as they are exposed while the family is in conflict.
    pub(super) fn untyped(&self, suffix: Suffix) -> Self {
        Self {
            suffix: if suffix == Suffix::Bare { self.suffix } else { suffix },
            names: self.names.intersection(if self.shape() == Shape::Scalar {
                self.names
            } else {
                suffix.as_flag()
            }),
            kind: MetricType::Unknown,
            role: OpenMetricsRole {
                kind: MetricType::Unknown,
                primary: true,
            },
            has_unit: false,
            other_records: false,
            ..*self
        }
    }

    /// The sample names that become families of their own in a conflict, the bare name apart.
    pub(super) fn named_suffixes(&self) -> impl Iterator<Item = Suffix> + use<> {
        let names = self.names;
        let suffixes = self.shape().suffixes().iter().copied();
        suffixes.filter(move |suffix| names.contains(suffix.as_flag()))
    }

    /// True if its key is `key`, without building it where possible.
    pub(super) fn has_key(&self, exposition: &Exposition, key: &[u8]) -> bool {
        if self.quoted {
            return *self.key(exposition) == *key;
        }
        let name = exposition.text(exposition.families()[self.family as usize].name);
        key.strip_prefix(name).is_some_and(|rest| rest == self.suffix.as_str().as_bytes())
    }

    /// About how many bytes of text it makes: its lines, and some for the header.
    pub(super) fn size(&self, exposition: &Exposition) -> u32 {
        const HEADER: usize = 100;
        let family = &exposition.families()[self.family as usize];
        let bytes: usize = exposition.run_spans(family).iter().map(|span| span.len() + 1).sum();
        let records = exposition.records().map_or(&[][..], |records| records.of(self.family));
        let bytes = bytes.max(records.iter().map(|it| it.metrics.len()).sum());
        u32::try_from(bytes + HEADER).unwrap_or(u32::MAX)
    }
}

/// All families of a text, in its order. A family without samples has none: its headers are not exposed.
pub(super) fn text_families(exposition: &Exposition) -> Vec<TextFamily> {
    let mut families: Vec<TextFamily> = Vec::with_capacity(exposition.families().len());
    for (number, family) in (0_u32..).zip(exposition.families()) {
        if family.samples > 0 {
            match exposition.syntax() {
                Syntax::Text => families.push(of_text(number, family, exposition.text(family.name))),
                Syntax::OpenMetrics => of_openmetrics(number, family, &mut families),
            }
        }
    }
    if let Some(records) = exposition.records() {
        for family in &mut families {
            let of = records.of(family.family).iter();
            // Of these types only, because others may be exposed under another app's.
            let own = |kind: MessageType| {
                matches!(
                    (kind, family.kind),
                    (MessageType::Histogram, MetricType::Histogram) | (MessageType::Summary, MetricType::Summary)
                )
            };
            family.other_records = of.map(|it| it.kind).any(|kind| !own(kind));
        }
    }
    families
}

fn of_text(number: u32, family: &Family, name: &[u8]) -> TextFamily {
    let totals = name.strip_suffix(b"_total").is_some_and(|base| !base.is_empty());
    let kind = if family.kind == MetricType::Counter && !totals {
        MetricType::Unknown
    } else {
        family.kind
    };
    let role = OpenMetricsRole { kind, primary: true };
    text_family(number, family, Suffix::Bare, family.flags.names(), family.kind, role)
}

fn of_openmetrics(number: u32, family: &Family, families: &mut Vec<TextFamily>) {
    let first = families.len();
    let mut rest = family.flags.names();
    let mut take = |suffix: Suffix, names: FamilyFlags, kind: MetricType, role: OpenMetricsRole| {
        if rest.intersects(names) {
            families.push(text_family(number, family, suffix, rest.intersection(names), kind, role));
            rest = rest.difference(names);
        }
    };
    let primary = OpenMetricsRole {
        kind: family.kind,
        primary: true,
    };
    let secondary = OpenMetricsRole {
        kind: family.kind,
        primary: false,
    };
    let untyped = OpenMetricsRole {
        kind: MetricType::Unknown,
        primary: true,
    };
    match family.kind {
        MetricType::Counter if family.flags.contains(FamilyFlags::TOTAL) => {
            take(Suffix::Total, FamilyFlags::TOTAL, MetricType::Counter, primary);
        }
        // A counter of the text format in OpenMetrics spelling, which OpenMetrics takes as `unknown`.
        MetricType::Counter => take(Suffix::Bare, FamilyFlags::BARE, MetricType::Counter, untyped),
        MetricType::Histogram | MetricType::Summary => take(Suffix::Bare, Shape::from(family.kind).names(), family.kind, primary),
        MetricType::GaugeHistogram => {
            take(Suffix::Bucket, FamilyFlags::BUCKET, MetricType::Gauge, primary);
            take(Suffix::GCount, FamilyFlags::GCOUNT, MetricType::Gauge, secondary);
            take(Suffix::GSum, FamilyFlags::GSUM, MetricType::Gauge, secondary);
        }
        MetricType::Info => take(Suffix::Info, FamilyFlags::INFO, MetricType::Gauge, primary),
        MetricType::StateSet | MetricType::Gauge => take(Suffix::Bare, FamilyFlags::BARE, MetricType::Gauge, primary),
        MetricType::Unknown => take(Suffix::Bare, FamilyFlags::BARE, MetricType::Unknown, primary),
    }
    if matches!(family.kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary) {
        take(Suffix::Created, FamilyFlags::CREATED, MetricType::Gauge, secondary);
    }
    // Sample names that the type does not have.
    for suffix in family.flags.suffixes() {
        take(suffix, suffix.as_flag(), MetricType::Unknown, untyped);
    }
    let has_primary = families[first..].iter().any(|it| it.role == primary);
    families[first..]
        .iter_mut()
        .for_each(|it| it.valid &= it.role.primary || has_primary);
}

fn text_family(number: u32, family: &Family, suffix: Suffix, names: FamilyFlags, kind: MetricType, role: OpenMetricsRole) -> TextFamily {
    // To strict parsers all series of an info are one group, which has timestamps or has none: several applications may differ.
    let timed_info = role.kind == MetricType::Info && family.flags.contains(FamilyFlags::TIMESTAMPS);
    let valid = !family.flags.contains(FamilyFlags::INVALID_OPENMETRICS) && !timed_info;
    TextFamily {
        family: number,
        suffix,
        names,
        kind,
        role,
        valid,
        quoted: family.flags.contains(FamilyFlags::QUOTED),
        has_unit: family.unit().is_some(),
        other_records: false,
    }
}

#[cfg(test)]
mod tests;
