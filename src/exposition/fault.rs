//! What was wrong with a text, and where.

use std::borrow::Cow;
use std::fmt;

use super::parse::Report;

/// How many faults of one text are kept; more are only counted. A person mends the first few, and a hostile text has millions.
pub const MAX_FAULTS_KEPT: usize = 16;

/// One thing that is wrong with a text. It cost the line it stands on, unless the reason says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters (not bytes).
    pub column: u32,
    /// The byte of the body.
    pub offset: u32,
    /// What is wrong, for a person: a sentence without capital and full stop.
    pub reason: Cow<'static, str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.line, self.column, self.reason)
    }
}

/// All that was wrong with a text: how many faults, and the first [`MAX_FAULTS_KEPT`] of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    total: u64,
    kept: Box<[Fault]>,
}

impl Faults {
    pub(super) fn of(report: Report, body: &[u8]) -> Self {
        let total = report.faults();
        let kept = report.tell(body).into_iter().map(|it| Fault {
            line: it.line,
            column: it.column,
            offset: it.offset,
            reason: it.sentence,
        });
        Self {
            total,
            kept: kept.collect(),
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The first one.
    #[must_use]
    pub fn first(&self) -> Option<&Fault> {
        self.kept.first()
    }

    /// The first few, in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.kept.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
