//! Patterns of app names.

use std::fmt;

/// A pattern of app names, in which each `*` stands for any number of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPattern(Box<str>);

impl AppPattern {
    /// A pattern as written.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the whole name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else {
            return *self.0 == *name;
        };
        let Some(mut name) = name.strip_prefix(start) else {
            return false;
        };
        let mut parts = rest.split('*');
        let end = parts.next_back().unwrap_or_default();
        // The first place of each part leaves most of the name for the parts behind it.
        for part in parts {
            let Some(at) = name.find(part) else { return false };
            name = &name[at + part.len()..];
        }
        name.ends_with(end)
    }
}

impl fmt::Display for AppPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
