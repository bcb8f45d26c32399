//! A metric family as one application wrote it: its headers, where its samples are, and what is peculiar about them.

use std::fmt;
use std::ops::{BitOr, BitOrAssign, Range};

use crate::model::Syntax;

use super::span::Span;

/// The type of a family. The text format's `untyped` is OpenMetrics' `unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricType {
    /// No type was given, or `untyped`, or `unknown`.
    #[default]
    Unknown,
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
    /// Quantiles, a sum and a count.
    Summary,
    /// A histogram whose buckets may shrink; OpenMetrics only.
    GaugeHistogram,
    /// Labels that tell of something, with the value 1; OpenMetrics only.
    Info,
    /// One series a state, 1 where it holds; OpenMetrics only.
    StateSet,
}

impl MetricType {
    /// The kind that a TYPE line of `syntax` names; nothing where that syntax does not know the word.
    /// Words count in lower case only: Prometheus refuses others.
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

    /// The word for this kind in a TYPE line of `syntax`; nothing where that syntax has none.
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

    /// What may follow the family's name in the names of its samples, beside nothing at all ([`Suffix::Bare`]): the names that a
    /// family of this kind claims, so that no other family may bear them.
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

    /// Whether OpenMetrics allows a sample of this kind that bears the family's bare name.
    #[must_use]
    pub const fn has_bare_samples(self) -> bool {
        matches!(self, Self::Unknown | Self::Gauge | Self::Summary | Self::StateSet)
    }
}

/// What a sample's name has beyond its family's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suffix {
    /// Nothing: the sample is called as its family.
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

    /// As it is written.
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

    /// Which suffix makes `sample` out of `family`; nothing where no suffix does.
    #[must_use]
    pub fn between(family: &[u8], sample: &[u8]) -> Option<Self> {
        let rest = sample.strip_prefix(family)?;
        if rest.is_empty() {
            return Some(Self::Bare);
        }
        Self::NAMED.into_iter().find(|suffix| suffix.as_str().as_bytes() == rest)
    }

    /// Parts a name from the suffix that it ends with.
    #[must_use]
    pub fn split(name: &[u8]) -> Option<(&[u8], Self)> {
        let at = memchr::memrchr(b'_', name)?;
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

    /// The trait of a family that has such samples.
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

/// What is peculiar about the samples of a family, so that whoever writes them out knows when their text may be copied as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FamilyFlags(u32);

impl FamilyFlags {
    /// Nothing peculiar.
    pub const NONE: Self = Self(0);
    /// Some sample has a timestamp (milliseconds in the text format, seconds in OpenMetrics).
    pub const TIMESTAMPS: Self = Self(1);
    /// Some sample has an exemplar.
    pub const EXEMPLARS: Self = Self(1 << 1);
    /// The family's name or some label's name is written in quotes; it may be one that only UTF-8 aware scrapers can read.
    pub const QUOTED: Self = Self(1 << 2);
    /// Some label's name starts with two underscores: it is reserved in OpenMetrics; Prometheus accepts it.
    pub const RESERVED_LABELS: Self = Self(1 << 3);
    /// The runs must not be copied as they are into the text format: sample by sample instead, with timestamps in milliseconds
    /// and without exemplars. Never set for what came as text, whose runs are always legal text (but see [`Self::QUOTED`]).
    pub const REFORMAT_TEXT: Self = Self(1 << 4);
    /// The runs must not be copied as they are into OpenMetrics: blanks, tabs, trailing commas, a missing blank before the value,
    /// timestamps in milliseconds, `le="1"` for `le="1.0"`, `le="Inf"` for `le="+Inf"`, an exemplar where none may be.
    pub const REFORMAT_OPENMETRICS: Self = Self(1 << 5);
    /// The samples do not make an OpenMetrics family of their kind (a counter without `_total` or below zero, buckets out of order
    /// or without `+Inf`, groups torn apart, a missing `quantile`, an info other than 1): under OpenMetrics they can only
    /// go out as `unknown`, one family for each sample name. Then `le` and `quantile` are labels like any other, to be left alone.
    pub const INVALID_OPENMETRICS: Self = Self(1 << 6);
    /// Some series has several samples, of different times: they are written in ascending order of their times.
    pub const MULTIPLE_TIMES: Self = Self(1 << 7);
    /// Some sample bears the family's name.
    pub const BARE: Self = Self(1 << 8);
    /// Some sample is called `_total` beyond the family's name.
    pub const TOTAL: Self = Self(1 << 9);
    /// Some sample is called `_created` beyond the family's name.
    pub const CREATED: Self = Self(1 << 10);
    /// Some sample is called `_bucket` beyond the family's name.
    pub const BUCKET: Self = Self(1 << 11);
    /// Some sample is called `_sum` beyond the family's name.
    pub const SUM: Self = Self(1 << 12);
    /// Some sample is called `_count` beyond the family's name.
    pub const COUNT: Self = Self(1 << 13);
    /// Some sample is called `_gcount` beyond the family's name.
    pub const GCOUNT: Self = Self(1 << 14);
    /// Some sample is called `_gsum` beyond the family's name.
    pub const GSUM: Self = Self(1 << 15);
    /// Some sample is called `_info` beyond the family's name.
    pub const INFO: Self = Self(1 << 16);

    /// The sample names alone: [`Self::BARE`] to [`Self::INFO`].
    #[must_use]
    pub const fn names(self) -> Self {
        Self(self.0 & !0xff)
    }

    /// Whether all of `other` hold.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` holds.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is peculiar.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both together; also as `|`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both have.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What `other` does not have.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The suffixes that some sample has, [`Suffix::Bare`] first.
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
        const WORDS: [(FamilyFlags, &str); 8] = [
            (FamilyFlags::TIMESTAMPS, "timestamps"),
            (FamilyFlags::EXEMPLARS, "exemplars"),
            (FamilyFlags::QUOTED, "quoted"),
            (FamilyFlags::RESERVED_LABELS, "reserved-labels"),
            (FamilyFlags::REFORMAT_TEXT, "reformat-text"),
            (FamilyFlags::MULTIPLE_TIMES, "multiple-times"),
            (FamilyFlags::REFORMAT_OPENMETRICS, "reformat-openmetrics"),
            (FamilyFlags::INVALID_OPENMETRICS, "invalid-openmetrics"),
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

/// A metric family as one application wrote it, made whole: all its samples, wherever in the text they stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Its name without quotes, but as escaped inside them. Escaping is one-to-one here, so equal names have equal bytes.
    /// A counter is called with its `_total` in the text format and without it in OpenMetrics.
    pub name: Span,
    /// Its type.
    pub kind: MetricType,
    /// The text of its HELP line, as escaped there: `\\` and `\n`, in OpenMetrics `\"` as well. Never empty.
    pub help: Option<Span>,
    /// The text of its UNIT line (OpenMetrics only). Never empty, always the end of the name.
    pub unit: Option<Span>,
    /// Where its runs stand in the exposition's array of runs.
    pub runs: Range<u32>,
    /// How many samples it has; 0 for a family of headers alone, which nobody needs to write out.
    pub samples: u32,
    /// What is peculiar about the samples.
    pub flags: FamilyFlags,
}
