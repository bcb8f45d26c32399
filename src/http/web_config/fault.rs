//! Faults of a web configuration file, reported all at once.

use std::fmt;
use std::path::Path;

/// Least similarity (Jaro-Winkler, 0 to 1) at which a known name is suggested for an unknown one: below it, suggestions mislead.
const CLOSE_ENOUGH: f64 = 0.84;

/// A place in the file, line and column counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    line: usize,
    column: usize,
}

impl Place {
    pub(super) const fn new(line: usize, column: usize) -> Self {
        Self { line, column }
    }
}

/// A fault or a warning. The text never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// None: the file as a whole.
    place: Option<Place>,
    text: String,
}

impl Finding {
    pub(super) const fn at(place: Place, text: String) -> Self {
        Self { place: Some(place), text }
    }

    pub(super) const fn of_file(text: String) -> Self {
        Self { place: None, text }
    }

    /// The line that is printed.
    pub(super) fn line(&self, file: &Path) -> String {
        let file = file.display();
        match self.place {
            Some(Place { line, column }) => format!("{file}:{line}:{column}: {}", self.text),
            None => format!("{file}: {}", self.text),
        }
    }
}

/// All faults of a web configuration file; prints a line for each, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebConfigFaults(pub(super) Vec<String>);

impl WebConfigFaults {
    /// A line for each fault, with its place.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for WebConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for WebConfigFaults {}

/// A hint at the known name that an unknown one was most likely meant to be; empty if none is close.
pub(super) fn hint(unknown: &str, known: &[&str]) -> String {
    let alike = |name: &&str| strsim::jaro_winkler(&unknown.to_ascii_lowercase(), &name.to_ascii_lowercase());
    let best = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    best.filter(|best| alike(best) >= CLOSE_ENOUGH)
        .map(|best| format!("; did you mean {best}?"))
        .unwrap_or_default()
}
