//! Faults of a configuration with their locations, reported all at once.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Least similarity (Jaro-Winkler, 0 to 1) at which a known name is suggested for an unknown one: below it, suggestions mislead.
const CLOSE_ENOUGH: f64 = 0.84;

/// Location of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// In the file as a whole: it is missing, unreadable, too large.
    File,
    /// At a line and column of the file, both counted from 1, columns in characters.
    Line(usize, usize),
    /// In the environment variable of that name.
    Variable(Arc<str>),
}

impl Location {
    /// The file's own faults come first, then its lines in order, then variables by name.
    fn order(&self, other: &Self) -> Ordering {
        let rank = |place: &Self| match place {
            Self::File => (0, 0, 0),
            Self::Line(line, column) => (1, *line, *column),
            Self::Variable(_) => (2, 0, 0),
        };
        rank(self).cmp(&rank(other)).then_with(|| match (self, other) {
            (Self::Variable(a), Self::Variable(b)) => a.cmp(b),
            _ => Ordering::Equal,
        })
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Its location.
    pub(super) place: Location,
    /// The reason and the correction. Never holds a secret.
    pub(super) text: String,
}

/// All faults of a configuration; prints one fault per line, each with its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    file: String,
    pub(super) list: Vec<Fault>,
}

impl Faults {
    /// Sorts `list` by place; `file` is the name that lines are shown with.
    pub(super) fn new(file: String, mut list: Vec<Fault>) -> Self {
        list.sort_by(|a, b| a.place.order(&b.place));
        Self { file, list }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Fault { place, text }) in self.list.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            match place {
                Location::File => write!(f, "{end}{}: {text}", self.file)?,
                Location::Line(line, column) => write!(f, "{end}{}:{line}:{column}: {text}", self.file)?,
                Location::Variable(name) => write!(f, "{end}{name}: {text}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The known name that `unknown` was most likely meant to be, if one is close.
pub(super) fn nearest<'k>(unknown: &str, known: &[&'k str]) -> Option<&'k str> {
    let alike = |name: &str| {
        let inside = unknown.len() >= 4 && name.contains(unknown);
        strsim::jaro_winkler(unknown, name).max(if inside { CLOSE_ENOUGH } else { 0.0 })
    };
    let scored = known.iter().map(|name| (alike(name), *name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= CLOSE_ENOUGH).then_some(best.1)
}

#[cfg(test)]
mod tests;
