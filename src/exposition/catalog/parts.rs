//! What the families of an application are called in the text format.
//!
//! Families are kept, compared and merged under their names in the text format, whatever they came in. An OpenMetrics counter `foo` with
//! creation times makes two of them, the counter `foo_total` and the gauge `foo_created`; OpenMetrics output puts them together again
//! where nothing else claims the names.

use std::borrow::Cow;

use crate::exposition::render::underscored_metric;
use crate::exposition::{Exposition, Family, Kind, Suffix, Traits};
use crate::model::Syntax;

/// Which sample names a family of the text format has, and whether its samples stand alone or in groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One sample name, that of the family.
    Scalar,
    /// Buckets, a sum and a count.
    Histogram,
    /// Quantiles, a sum and a count.
    Summary,
}

impl From<Kind> for Shape {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Histogram => Self::Histogram,
            Kind::Summary => Self::Summary,
            Kind::Unknown | Kind::Counter | Kind::Gauge | Kind::GaugeHistogram | Kind::Info | Kind::StateSet => Self::Scalar,
        }
    }
}

impl Shape {
    /// What sample names have beyond the family's.
    pub(super) const fn suffixes(self) -> &'static [Suffix] {
        match self {
            Self::Scalar => &[],
            Self::Histogram => &[Suffix::Bucket, Suffix::Sum, Suffix::Count],
            Self::Summary => &[Suffix::Sum, Suffix::Count],
        }
    }

    /// The names of all samples.
    pub(super) fn names(self) -> Traits {
        self.suffixes().iter().fold(Traits::BARE, |names, suffix| names | suffix.as_trait())
    }
}

/// What a family of the text format is under OpenMetrics, if nothing stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    /// The type of the OpenMetrics family that it belongs to.
    pub(super) kind: Kind,
    /// Whether that family goes out in its place; otherwise it goes out inside another one.
    pub(super) primary: bool,
}

/// A family of the text format that a family as written makes: all of it, or some of its sample names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// The number of the family as written.
    pub(super) family: u32,
    /// What its name has beyond that of the family as written.
    pub(super) suffix: Suffix,
    /// The samples that belong to it.
    pub(super) names: Traits,
    /// Its type in the text format.
    pub(super) kind: Kind,
    /// What it is under OpenMetrics.
    pub(super) role: Role,
    /// Whether the samples make an OpenMetrics family of the type in `role`.
    pub(super) fit: bool,
    /// Whether some name is written in quotes.
    pub(super) quoted: bool,
    /// Whether a unit is stated.
    pub(super) united: bool,
}

impl Part {
    /// Its name as escaped inside quotes.
    pub(super) fn name<'a>(&self, exposition: &'a Exposition) -> Cow<'a, [u8]> {
        let family = exposition.text(exposition.families()[self.family as usize].name);
        match self.suffix {
            Suffix::Bare => family.into(),
            suffix => [family, suffix.as_str().as_bytes()].concat().into(),
        }
    }

    /// The name that it is kept under. Names that escaping makes the same are kept as one family, so that they make one for every scraper.
    pub(super) fn key<'a>(&self, exposition: &'a Exposition) -> Cow<'a, [u8]> {
        match self.name(exposition) {
            // What every scraper can read need not stand in quotes, and nearly never does.
            name if !self.quoted => name,
            Cow::Borrowed(name) => underscored_metric(name),
            Cow::Owned(name) => underscored_metric(&name).into_owned().into(),
        }
    }
}

/// All parts of a text, in its order. Families without samples make none: nobody needs their headers.
pub(super) fn parts(exposition: &Exposition) -> Vec<Part> {
    let mut parts = Vec::with_capacity(exposition.families().len());
    for (number, family) in (0_u32..).zip(exposition.families()) {
        if family.samples > 0 {
            match exposition.syntax() {
                Syntax::Text => parts.push(of_text(number, family, exposition.text(family.name))),
                Syntax::OpenMetrics => of_openmetrics(number, family, &mut parts),
            }
        }
    }
    parts
}

fn of_text(number: u32, family: &Family, name: &[u8]) -> Part {
    let totals = name.strip_suffix(b"_total").is_some_and(|base| !base.is_empty());
    let kind = if family.kind == Kind::Counter && !totals {
        Kind::Unknown
    } else {
        family.kind
    };
    let role = Role { kind, primary: true };
    part(number, family, Suffix::Bare, family.traits.names(), family.kind, role)
}

fn of_openmetrics(number: u32, family: &Family, parts: &mut Vec<Part>) {
    let first = parts.len();
    let mut rest = family.traits.names();
    let mut take = |suffix: Suffix, names: Traits, kind: Kind, role: Role| {
        if rest.intersects(names) {
            parts.push(part(number, family, suffix, rest.intersection(names), kind, role));
            rest = rest.difference(names);
        }
    };
    let primary = Role {
        kind: family.kind,
        primary: true,
    };
    let secondary = Role {
        kind: family.kind,
        primary: false,
    };
    match family.kind {
        Kind::Counter => take(Suffix::Total, Traits::TOTAL, Kind::Counter, primary),
        Kind::Histogram | Kind::Summary => take(Suffix::Bare, Shape::from(family.kind).names(), family.kind, primary),
        Kind::GaugeHistogram => {
            take(Suffix::Bucket, Traits::BUCKET, Kind::Gauge, primary);
            take(Suffix::GCount, Traits::GCOUNT, Kind::Gauge, secondary);
            take(Suffix::GSum, Traits::GSUM, Kind::Gauge, secondary);
        }
        Kind::Info => take(Suffix::Info, Traits::INFO, Kind::Gauge, primary),
        Kind::StateSet | Kind::Gauge => take(Suffix::Bare, Traits::BARE, Kind::Gauge, primary),
        Kind::Unknown => take(Suffix::Bare, Traits::BARE, Kind::Unknown, primary),
    }
    if matches!(family.kind, Kind::Counter | Kind::Histogram | Kind::Summary) {
        take(Suffix::Created, Traits::CREATED, Kind::Gauge, secondary);
    }
    // Sample names that the type does not have.
    for suffix in family.traits.suffixes() {
        take(
            suffix,
            suffix.as_trait(),
            Kind::Unknown,
            Role {
                kind: Kind::Unknown,
                primary: true,
            },
        );
    }
    let has_primary = parts[first..].iter().any(|part| part.role == primary);
    parts[first..]
        .iter_mut()
        .for_each(|part| part.fit &= part.role.primary || has_primary);
}

fn part(number: u32, family: &Family, suffix: Suffix, names: Traits, kind: Kind, role: Role) -> Part {
    // To strict parsers all series of an info are one group, which has timestamps or has none: several applications may differ.
    let timed_info = role.kind == Kind::Info && family.traits.contains(Traits::TIMESTAMPS);
    let fit = !family.traits.contains(Traits::UNFIT) && !timed_info;
    Part {
        family: number,
        suffix,
        names,
        kind,
        role,
        fit,
        quoted: family.traits.contains(Traits::QUOTED),
        united: family.unit.is_some(),
    }
}
