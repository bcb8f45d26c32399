//! Troubles that do not keep the program from working, shown where people look.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Current troubles, each about one thing, such as a bridge that cannot be reached.
#[derive(Debug, Default)]
pub struct Notes {
    /// By the thing that they are about. Bounded by the things that the configuration names.
    all: Mutex<BTreeMap<String, String>>,
}

impl Notes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what is wrong with a thing, in place of what was wrong before.
    pub fn set(&self, about: &str, what: impl Into<String>) {
        self.all().insert(about.to_owned(), what.into());
    }

    /// Removes what was wrong with a thing.
    pub fn clear(&self, about: &str) {
        self.all().remove(about);
    }

    /// Returns true if something is wrong with a thing.
    #[must_use]
    pub fn is_set(&self, about: &str) -> bool {
        self.all().contains_key(about)
    }

    /// Returns all of them as a text of lines that start with `note: `; empty if there are none.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().iter().map(|note| format!("note: {note}\n")).collect()
    }

    /// Returns all of them, a line each, sorted by what they are about.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.all().iter().map(|(about, what)| format!("{about}: {what}")).collect()
    }
}

#[cfg(test)]
mod tests;
