//! Templates of texts: what stands before each value, and the check of the value.
//!
//! Most updates of an application differ from the one before in values only. Such a text is compared with the earlier one and its values
//! are checked, which takes a fraction of the time of parsing it. A text that differs in anything else, has a fault, or breaks a rule of
//! its types, is parsed.
//!
//! Texts have no template if parsing depends on more than that: OpenMetrics, timestamps, exemplars, faults, families in several runs,
//! headers away from their samples, and samples that break a rule of OpenMetrics because of their values.

use std::sync::Arc;

use crate::family::Family;
use crate::span::Span;

use super::narrow;
use super::number::Number;

/// Bits of a line that hold its check; the others hold a length.
const CHECK_BITS: u32 = 3;

/// The longest part of a line before its value.
const MAX_PREFIX: usize = (1 << (u16::BITS - CHECK_BITS)) - 1;

/// Check of a value, given that everything else in the text is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueCheck {
    /// Any number.
    Any,
    /// Not negative and not NaN.
    NotNegative,
    /// Not negative.
    Quantile,
    /// A whole number that is not negative.
    Whole,
    /// The first bucket of a histogram.
    FirstBucket,
    /// A bucket that includes the one before it.
    NextBucket,
    /// The count of a histogram, which is that of its last bucket.
    SameAsLastBucket,
}

impl ValueCheck {
    const ALL: [Self; 7] = [
        Self::Any,
        Self::NotNegative,
        Self::Quantile,
        Self::Whole,
        Self::FirstBucket,
        Self::NextBucket,
        Self::SameAsLastBucket,
    ];

    /// Returns true if a value passes. `last_bucket` is the last bucket of the same histogram.
    #[inline]
    fn passes(self, value: f64, last_bucket: &mut f64) -> bool {
        let is_whole = value >= 0.0 && value.fract() == 0.0;
        match self {
            Self::Any => true,
            Self::NotNegative => value >= 0.0,
            Self::Quantile => value >= 0.0 || value.is_nan(),
            Self::Whole => is_whole,
            Self::FirstBucket => {
                *last_bucket = value;
                is_whole
            }
            Self::NextBucket => {
                let grows = value >= *last_bucket;
                *last_bucket = value;
                is_whole && grows
            }
            Self::SameAsLastBucket => is_whole && value == *last_bucket,
        }
    }
}

/// A sample line: the length of the part before its value, and the check of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TemplateLine(u16);

impl TemplateLine {
    fn new(prefix: usize, check: ValueCheck) -> Option<Self> {
        let prefix = u16::try_from(prefix).ok().filter(|prefix| usize::from(*prefix) <= MAX_PREFIX)?;
        Some(Self(prefix << CHECK_BITS | check as u16))
    }

    fn prefix(self) -> usize {
        usize::from(self.0 >> CHECK_BITS)
    }

    fn check(self) -> ValueCheck {
        let check = usize::from(self.0) & ((1 << CHECK_BITS) - 1);
        ValueCheck::ALL.get(check).copied().unwrap_or(ValueCheck::Any)
    }
}

/// Sample lines of a text, in order. Shared by the texts of one application while only its values change.
pub(crate) type Template = Arc<[TemplateLine]>;

/// A template that is being made.
#[derive(Default)]
pub(super) struct TemplateBuilder {
    lines: Vec<TemplateLine>,
    is_possible: bool,
}

/// Capacity for lines that is kept from one text to the next (128 kB).
const KEPT_LINES: usize = 65_536;

impl TemplateBuilder {
    /// Starts a template; one that is not wanted stays empty.
    pub(super) fn reset(&mut self, is_wanted: bool) {
        self.lines.clear();
        self.is_possible = is_wanted;
    }

    /// Frees capacity that only a huge text needed.
    pub(super) fn trim(&mut self) {
        self.lines.clear();
        self.lines.shrink_to(KEPT_LINES);
    }

    /// Adds a line. Without a check the text has no template.
    #[inline]
    pub(super) fn push(&mut self, prefix: usize, check: Option<ValueCheck>) {
        if !self.is_possible {
            return;
        }
        match check.and_then(|check| TemplateLine::new(prefix, check)) {
            Some(line) => self.lines.push(line),
            None => self.give_up(),
        }
    }

    /// Notes that the text has no template.
    pub(super) fn give_up(&mut self) {
        self.is_possible = false;
    }

    /// The template of a text with these families, in its order.
    pub(super) fn finish(&self, families: &[Family]) -> Option<Template> {
        (self.is_possible && !self.lines.is_empty() && self.is_in_order(families)).then(|| self.lines.as_slice().into())
    }

    /// Returns true if each family is one run, and its name and its help stand behind the runs before it and before the values of its own.
    fn is_in_order(&self, families: &[Family]) -> bool {
        let mut lines = self.lines.iter();
        // The end of the last run, and the end of what must stand before the next value.
        let (mut end, mut headers_end) = (0, 0);
        for family in families {
            for place in [Some(family.name), family.help()].into_iter().flatten() {
                if place.start < end {
                    return false;
                }
                headers_end = place.end.max(headers_end);
            }
            if family.samples == 0 {
                continue;
            }
            let value = lines.next().map_or(0, |first| family.runs.start + narrow(first.prefix()));
            if !family.has_one_run || family.runs.start < end || headers_end > value {
                return false;
            }
            lines.by_ref().take(family.samples as usize - 1).for_each(drop);
            end = family.runs.end;
        }
        lines.next().is_none()
    }
}

/// Position in the earlier text and in the new one.
struct Walk<'a> {
    old: &'a [u8],
    new: &'a [u8],
    old_at: usize,
    new_at: usize,
}

/// The families of `new`, if it differs in nothing but values from the text `old` with these families and this template, and its values
/// pass the checks.
pub(super) fn families_of_update(old: &[u8], families: &[Family], template: &[TemplateLine], new: &[u8]) -> Option<Box<[Family]>> {
    let mut walk = Walk {
        old,
        new,
        old_at: 0,
        new_at: 0,
    };
    let mut lines = template;
    let mut moved = Vec::with_capacity(families.len());
    for family in families {
        let mut family = family.clone();
        // The headers stand before the first value of the family, and behind the last value before it.
        family.name = walk.moved(family.name);
        if family.help().is_some() {
            family.help = walk.moved(family.help);
        }
        if family.samples > 0 {
            let (own, others) = lines.split_at_checked(family.samples as usize)?;
            lines = others;
            let start = walk.moved(family.runs).start;
            walk.pass_run(family.runs, own)?;
            family.runs = Span::new(start, narrow(walk.new_at));
        }
        moved.push(family);
    }
    (walk.old[walk.old_at..] == walk.new[walk.new_at..]).then(|| moved.into())
}

impl Walk<'_> {
    /// Position in the new text of a place in the old one, if no further value stands before it.
    fn moved(&self, place: Span) -> Span {
        let moved = |at: u32| narrow((at as usize + self.new_at).saturating_sub(self.old_at));
        Span::new(moved(place.start), moved(place.end))
    }

    /// Advances behind a run, or returns `None` at a difference.
    #[inline]
    fn pass_run(&mut self, run: Span, lines: &[TemplateLine]) -> Option<()> {
        let old = &self.old[..run.end as usize];
        let mut start = run.start as usize;
        let mut last_bucket = 0.0;
        for line in lines {
            let value = start + line.prefix();
            let same = old.get(self.old_at..value)?;
            if self.new.get(self.new_at..self.new_at + same.len())? != same {
                return None;
            }
            self.new_at += same.len();
            let number = Number::at_start(&self.new[self.new_at..])?;
            if !line.check().passes(number.value, &mut last_bucket) {
                return None;
            }
            self.new_at += number.len;
            // What follows the number is compared with the next line.
            self.old_at = value + old[value..].iter().position(|byte| *byte == b'\n').unwrap_or(old.len() - value);
            start = self.old_at + 1;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
