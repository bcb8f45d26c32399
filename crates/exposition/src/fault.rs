//! Faults of a text, with their positions.

use std::borrow::Cow;
use std::fmt;

use crate::parse::{Diagnostic, Report, escapes};
use crate::protobuf::BodyPlace;
use crate::reason::Reason;
use crate::syntax::Syntax;

/// Faults of one text that are kept; further ones are only counted. The author fixes the first few, and a hostile text has millions.
pub const MAX_FAULTS_KEPT: usize = 16;

/// One fault of a text. Its line is skipped, unless the reason says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters (not bytes).
    pub column: u32,
    /// The byte offset in the body.
    pub offset: u32,
    /// Description of the fault: a sentence without capital and full stop.
    pub reason: Cow<'static, str>,
    /// True if the line is valid and repeats a series.
    pub is_duplicate: bool,
    /// The place in the protobuf body that the text was made from: family, metric and byte. `None` for a text that came as a text.
    pub place: Option<Box<str>>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.reason),
            None => write!(f, "line {}, column {}: {}", self.line, self.column, self.reason),
        }
    }
}

impl From<Diagnostic> for Fault {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            line: diagnostic.line,
            column: diagnostic.column,
            offset: diagnostic.offset,
            is_duplicate: matches!(diagnostic.reason, Reason::Duplicate(_)),
            reason: diagnostic.message,
            place: None,
        }
    }
}

/// The faults of a text: their number, and the first [`MAX_FAULTS_KEPT`] of them. Skipped exemplars are counted separately.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    total: u64,
    kept: Box<[Fault]>,
    exemplars: u64,
    first_exemplar: Option<Box<Fault>>,
}

impl Faults {
    pub(super) fn of(report: Report, body: &[u8]) -> Self {
        Self {
            total: report.faults(),
            exemplars: report.exemplars(),
            first_exemplar: report.first_exemplar(body).map(|diagnostic| Box::new(diagnostic.into())),
            kept: report.into_diagnostics(body).into_iter().map(Fault::from).collect(),
        }
    }

    /// Faults that were found before the text was made: the kept ones, the number of all, the number of skipped exemplars and the first of those.
    pub(super) fn new(kept: Vec<Fault>, total: u64, exemplars: u64, first_exemplar: Option<Box<Fault>>) -> Self {
        Self {
            total,
            kept: kept.into(),
            exemplars,
            first_exemplar,
        }
    }

    /// Gives faults of a text that was made from another one the places in that one, the line and the byte offset of each, and adds those
    /// that were found in that one.
    pub(super) fn amend(&mut self, other: Self, places: impl FnOnce(&[u32]) -> Vec<(u32, u32)>) {
        let mut faults: Vec<&mut Fault> = self.kept.iter_mut().chain(self.first_exemplar.as_deref_mut()).collect();
        if !faults.is_empty() {
            let offsets: Vec<u32> = faults.iter().map(|fault| fault.offset).collect();
            for (fault, (line, offset)) in faults.iter_mut().zip(places(&offsets)) {
                (fault.line, fault.column, fault.offset) = (line, 1, offset);
                if fault.is_duplicate {
                    fault.reason = "duplicate series: a line before it has the same name and labels".into();
                }
            }
        }
        self.total += other.total;
        self.exemplars += other.exemplars;
        self.first_exemplar = [self.first_exemplar.take(), other.first_exemplar]
            .into_iter()
            .flatten()
            .min_by_key(|fault| fault.line);
        let mut kept: Vec<Fault> = std::mem::take(&mut self.kept).into_iter().chain(other.kept).collect();
        // A histogram is one line here and several there.
        kept.sort_by(|one, other| (one.line, &one.reason).cmp(&(other.line, &other.reason)));
        kept.dedup();
        kept.truncate(MAX_FAULTS_KEPT);
        self.kept = kept.into();
    }

    /// Converts columns to those of the original text, before lone backslashes were doubled.
    pub(super) fn restore_columns(&mut self, original: &[u8], syntax: Syntax) {
        restore_columns(&mut self.kept, original, syntax);
        restore_columns(
            self.first_exemplar.as_deref_mut().map_or(&mut [], std::slice::from_mut),
            original,
            syntax,
        );
    }

    /// Names the places of the faults in the body that the text was made from. `places` returns those of byte offsets of the text.
    pub(super) fn name_places(&mut self, places: impl FnOnce(&[u32]) -> Vec<Option<BodyPlace>>) {
        let mut faults: Vec<&mut Fault> = self.kept.iter_mut().chain(self.first_exemplar.as_deref_mut()).collect();
        if faults.is_empty() {
            return;
        }
        let offsets: Vec<u32> = faults.iter().map(|fault| fault.offset).collect();
        for (fault, place) in faults.iter_mut().zip(places(&offsets)) {
            fault.place = place.map(|place| place.to_string().into());
            if fault.is_duplicate {
                fault.reason = "duplicate series: a metric before it has the same name and labels".into();
            }
        }
    }

    /// Number of faults.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Number of skipped exemplars: unreadable, or not allowed there by OpenMetrics. Their samples are kept.
    #[must_use]
    pub const fn exemplars(&self) -> u64 {
        self.exemplars
    }

    /// The first skipped exemplar.
    #[must_use]
    pub fn first_exemplar(&self) -> Option<&Fault> {
        self.first_exemplar.as_deref()
    }

    /// Returns true if every line could be used.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The first fault.
    #[must_use]
    pub fn first(&self) -> Option<&Fault> {
        self.kept.first()
    }

    /// The kept faults, in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.kept.iter()
    }
}

/// Corrects the columns of faults that are sorted by line.
fn restore_columns(faults: &mut [Fault], original: &[u8], syntax: Syntax) {
    let (mut line, mut rest) = (1, original);
    for fault in faults {
        while line < fault.line
            && let Some(newline) = memchr::memchr(b'\n', rest)
        {
            rest = &rest[newline + 1..];
            line += 1;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        fault.column = escapes::original_column(&rest[..end], syntax, fault.column);
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
