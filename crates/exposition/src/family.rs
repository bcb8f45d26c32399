//! A metric family as one application wrote it: its headers, the location of its samples, and flags that describe them.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use crate::span::Span;
use crate::syntax::Syntax;

/// Type of a family. The text format's `untyped` is OpenMetrics' `unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricType {
    /// No type was given, or `untyped`, or `unknown`.
    #[default]
    Unknown,
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
    /// Quantiles, a sum and a count.
    Summary,
    /// A histogram with buckets that may shrink; OpenMetrics only.
    GaugeHistogram,
    /// Labels that describe something, with the value 1; OpenMetrics only.
    Info,
    /// One series per state, with the value 1 for active states; OpenMetrics only.
    StateSet,
}

impl MetricType {
    /// All types, each at its own number.
    pub(crate) const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::Summary,
        Self::GaugeHistogram,
        Self::Info,
        Self::StateSet,
    ];

    /// Parses the type in a TYPE line of `syntax`; `None` if that syntax has no such type.
    /// Only lower case is accepted, as in Prometheus.
    #[must_use]
    pub fn from_word(word: &[u8], syntax: Syntax) -> Option<Self> {
        Some(match (word, syntax) {
            (b"counter", _) => Self::Counter,
            (b"gauge", _) => Self::Gauge,
            (b"histogram", _) => Self::Histogram,
            (b"summary", _) => Self::Summary,
            (b"untyped", Syntax::Text) | (b"unknown", Syntax::OpenMetrics) => Self::Unknown,
            (b"gaugehistogram", Syntax::OpenMetrics) => Self::GaugeHistogram,
            (b"info", Syntax::OpenMetrics) => Self::Info,
            (b"stateset", Syntax::OpenMetrics) => Self::StateSet,
            _ => return None,
        })
    }

    /// The name of this type in a TYPE line of `syntax`; `None` if that syntax has no such type.
    #[must_use]
    pub const fn word(self, syntax: Syntax) -> Option<&'static str> {
        Some(match (self, syntax) {
            (Self::Unknown, Syntax::Text) => "untyped",
            (Self::Unknown, Syntax::OpenMetrics) => "unknown",
            (Self::Counter, _) => "counter",
            (Self::Gauge, _) => "gauge",
            (Self::Histogram, _) => "histogram",
            (Self::Summary, _) => "summary",
            (Self::GaugeHistogram, Syntax::OpenMetrics) => "gaugehistogram",
            (Self::Info, Syntax::OpenMetrics) => "info",
            (Self::StateSet, Syntax::OpenMetrics) => "stateset",
            (Self::GaugeHistogram | Self::Info | Self::StateSet, Syntax::Text) => return None,
        })
    }

    /// The suffixes that sample names of this type may have, apart from none ([`Suffix::Bare`]). A family claims the names with these
    /// suffixes, so no other family may have them.
    #[must_use]
    pub const fn suffixes(self, syntax: Syntax) -> &'static [Suffix] {
        match (self, syntax) {
            (Self::Histogram, Syntax::Text) => &[Suffix::Bucket, Suffix::Sum, Suffix::Count],
            (Self::Summary, Syntax::Text) => &[Suffix::Sum, Suffix::Count],
            (Self::Counter, Syntax::OpenMetrics) => &[Suffix::Total, Suffix::Created],
            (Self::Histogram, Syntax::OpenMetrics) => &[Suffix::Bucket, Suffix::Sum, Suffix::Count, Suffix::Created],
            (Self::Summary, Syntax::OpenMetrics) => &[Suffix::Sum, Suffix::Count, Suffix::Created],
            (Self::GaugeHistogram, Syntax::OpenMetrics) => &[Suffix::Bucket, Suffix::GSum, Suffix::GCount],
            (Self::Info, Syntax::OpenMetrics) => &[Suffix::Info],
            _ => &[],
        }
    }
}

/// True if a unit is the end of a name, which may have `_total` behind it.
pub(crate) fn takes_unit(name: &[u8], kind: MetricType, unit: &[u8]) -> bool {
    let base = if kind == MetricType::Counter {
        name.strip_suffix(b"_total").unwrap_or(name)
    } else {
        name
    };
    base.strip_suffix(unit).is_some_and(|rest| rest.ends_with(b"_") && rest.len() > 1)
}

/// The part of a sample's name after the name of its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suffix {
    /// No suffix: the sample has the family's name.
    Bare,
    /// `_total`
    Total,
    /// `_created`
    Created,
    /// `_bucket`
    Bucket,
    /// `_sum`
    Sum,
    /// `_count`
    Count,
    /// `_gcount`
    GCount,
    /// `_gsum`
    GSum,
    /// `_info`
    Info,
}

impl Suffix {
    /// All but [`Suffix::Bare`].
    pub const NAMED: [Self; 8] = [
        Self::Total,
        Self::Created,
        Self::Bucket,
        Self::Sum,
        Self::Count,
        Self::GCount,
        Self::GSum,
        Self::Info,
    ];

    /// The suffix with this number.
    pub(crate) const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Total,
            2 => Self::Created,
            3 => Self::Bucket,
            4 => Self::Sum,
            5 => Self::Count,
            6 => Self::GCount,
            7 => Self::GSum,
            8 => Self::Info,
            _ => Self::Bare,
        }
    }

    /// The text of the suffix.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "",
            Self::Total => "_total",
            Self::Created => "_created",
            Self::Bucket => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
            Self::GCount => "_gcount",
            Self::GSum => "_gsum",
            Self::Info => "_info",
        }
    }

    /// The suffix that turns the name `family` into `sample`; `None` if there is none.
    #[must_use]
    pub fn between(family: &[u8], sample: &[u8]) -> Option<Self> {
        let rest = sample.strip_prefix(family)?;
        if rest.is_empty() {
            return Some(Self::Bare);
        }
        Self::NAMED.into_iter().find(|suffix| suffix.as_str().as_bytes() == rest)
    }

    /// Splits a name from the suffix at its end.
    #[must_use]
    pub fn split(name: &[u8]) -> Option<(&[u8], Self)> {
        const LONGEST: usize = "_created".len();
        if !matches!(name.last(), Some(b'd' | b'l' | b'm' | b'o' | b't')) {
            return None;
        }
        let from = name.len().saturating_sub(LONGEST);
        let at = from + name[from..].iter().rposition(|byte| *byte == b'_')?;
        let suffix = match &name[at..] {
            b"_total" => Self::Total,
            b"_created" => Self::Created,
            b"_bucket" => Self::Bucket,
            b"_sum" => Self::Sum,
            b"_count" => Self::Count,
            b"_gcount" => Self::GCount,
            b"_gsum" => Self::GSum,
            b"_info" => Self::Info,
            _ => return None,
        };
        Some((&name[..at], suffix))
    }

    /// The flag of a family that has samples with this suffix.
    #[must_use]
    pub const fn as_flag(self) -> FamilyFlags {
        match self {
            Self::Bare => FamilyFlags::BARE,
            Self::Total => FamilyFlags::TOTAL,
            Self::Created => FamilyFlags::CREATED,
            Self::Bucket => FamilyFlags::BUCKET,
            Self::Sum => FamilyFlags::SUM,
            Self::Count => FamilyFlags::COUNT,
            Self::GCount => FamilyFlags::GCOUNT,
            Self::GSum => FamilyFlags::GSUM,
            Self::Info => FamilyFlags::INFO,
        }
    }
}

/// Properties of a family's samples, by which the renderer knows if their text may be copied unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FamilyFlags(u32);

impl FamilyFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Some sample has a timestamp (milliseconds in the text format, seconds in OpenMetrics).
    pub const TIMESTAMPS: Self = Self(1);
    /// Some sample has an exemplar.
    pub const EXEMPLARS: Self = Self(1 << 1);
    /// The family's name or some label's name is written in quotes; it may be one that only UTF-8 aware scrapers can read.
    pub const QUOTED: Self = Self(1 << 2);
    /// Some label name starts with two underscores: reserved in OpenMetrics, accepted by Prometheus.
    pub const RESERVED_LABELS: Self = Self(1 << 3);
    /// The runs must not be copied unchanged into the text format: samples are reformatted, with timestamps in milliseconds and without
    /// exemplars. Never set for input in the text format, which is always legal text (but see [`Self::QUOTED`]).
    pub const REFORMAT_TEXT: Self = Self(1 << 4);
    /// The runs must not be copied unchanged into OpenMetrics: extra whitespace, trailing commas, a missing space before the value,
    /// timestamps in milliseconds, `le="1"` for `le="1.0"`, `le="Inf"` for `le="+Inf"`, an exemplar where none is allowed.
    pub const REFORMAT_OPENMETRICS: Self = Self(1 << 5);
    /// The samples are not a valid OpenMetrics family of their type (a counter without `_total` or below zero, buckets out of order or
    /// without `+Inf`, interleaved groups, a missing `quantile`, an info other than 1). In OpenMetrics they are rendered as `unknown`,
    /// one family per sample name, with `le` and `quantile` as ordinary labels.
    pub const INVALID_OPENMETRICS: Self = Self(1 << 6);
    /// Some series has several samples with different timestamps; they are written in ascending order of time.
    pub const MULTIPLE_TIMES: Self = Self(1 << 7);
    /// Some sample has the family's name.
    pub const BARE: Self = Self(1 << 8);
    /// Some sample name has the suffix `_total`.
    pub const TOTAL: Self = Self(1 << 9);
    /// Some sample name has the suffix `_created`.
    pub const CREATED: Self = Self(1 << 10);
    /// Some sample name has the suffix `_bucket`.
    pub const BUCKET: Self = Self(1 << 11);
    /// Some sample name has the suffix `_sum`.
    pub const SUM: Self = Self(1 << 12);
    /// Some sample name has the suffix `_count`.
    pub const COUNT: Self = Self(1 << 13);
    /// Some sample name has the suffix `_gcount`.
    pub const GCOUNT: Self = Self(1 << 14);
    /// Some sample name has the suffix `_gsum`.
    pub const GSUM: Self = Self(1 << 15);
    /// Some sample name has the suffix `_info`.
    pub const INFO: Self = Self(1 << 16);
    /// Some sample has a timestamp that is not after the start of 1970: the text format has no negative timestamps, and protobuf takes 0 for
    /// none.
    pub const EARLY_TIMES: Self = Self(1 << 17);

    /// The sample names alone: [`Self::BARE`] to [`Self::INFO`].
    #[must_use]
    pub const fn names(self) -> Self {
        Self::from_names(self.0)
    }

    /// The sample names among the flags with these bits.
    pub(crate) const fn from_names(bits: u32) -> Self {
        Self(bits & 0x1_ff00)
    }

    /// All flags as bits.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Returns true if all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns true if any flag of `other` is set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns true if no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags of both; also as `|`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The flags that both have.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The flags that `other` does not have.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The suffixes of the samples, [`Suffix::Bare`] first.
    pub fn suffixes(self) -> impl Iterator<Item = Suffix> {
        std::iter::once(Suffix::Bare)
            .chain(Suffix::NAMED)
            .filter(move |suffix| self.contains(suffix.as_flag()))
    }
}

impl BitOr for FamilyFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for FamilyFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for FamilyFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WORDS: [(FamilyFlags, &str); 9] = [
            (FamilyFlags::TIMESTAMPS, "timestamps"),
            (FamilyFlags::EXEMPLARS, "exemplars"),
            (FamilyFlags::QUOTED, "quoted"),
            (FamilyFlags::RESERVED_LABELS, "reserved-labels"),
            (FamilyFlags::REFORMAT_TEXT, "reformat-text"),
            (FamilyFlags::MULTIPLE_TIMES, "multiple-times"),
            (FamilyFlags::REFORMAT_OPENMETRICS, "reformat-openmetrics"),
            (FamilyFlags::INVALID_OPENMETRICS, "invalid-openmetrics"),
            (FamilyFlags::EARLY_TIMES, "early-times"),
        ];
        let words = WORDS
            .into_iter()
            .filter(|(it, _)| self.contains(*it))
            .map(|(_, word)| word.to_owned());
        f.debug_set()
            .entries(words.chain(self.suffixes().map(|suffix| format!("{suffix:?}"))))
            .finish()
    }
}

/// A metric family of one application with all of its samples, wherever in the text they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The name without quotes, escaped as inside quotes. Escaping is one-to-one here, so equal names have equal bytes.
    /// The name of a counter includes `_total` in the text format and excludes it in OpenMetrics.
    pub name: Span,
    /// The type.
    pub kind: MetricType,
    /// Number of samples; 0 for a family that has only headers and is not rendered.
    pub samples: u32,
    /// Properties of the samples.
    pub flags: FamilyFlags,
    /// Empty if there is no HELP.
    pub(super) help: Span,
    /// The only run, or the range of the runs in the exposition's array of runs.
    pub(super) runs: Span,
    /// True if there is one run, as in nearly all families; it takes no place in the array of runs.
    pub(super) has_one_run: bool,
    /// The length of the UNIT at the end of the name; 0 if there is none. Two bytes are enough, so that a family takes 36 bytes and not 40.
    pub(super) unit_len: u16,
}

const _: () = assert!(size_of::<Family>() == 36, "a text may have millions of families");

impl Family {
    /// The text of its HELP line, as escaped there: `\\` and `\n`, in OpenMetrics `\"` as well. Never empty.
    #[must_use]
    pub fn help(&self) -> Option<Span> {
        (!self.help.is_empty()).then_some(self.help)
    }

    /// The text of its UNIT line (OpenMetrics only). Never empty, always the end of the name.
    #[must_use]
    pub fn unit(&self) -> Option<Span> {
        (self.unit_len > 0).then(|| Span::new(self.name.end - u32::from(self.unit_len), self.name.end))
    }
}
