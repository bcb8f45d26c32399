//! What a proxy registers at a bridge.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SharedSecret;

/// The longest alias, service or hostname in bytes: they stand in labels, paths and tables.
pub const MAX_NAME_BYTES: usize = 255;

/// The name under which a bridge is asked for a proxy: 1 to 255 bytes without colons, slashes and control characters. Aliases stand in
/// paths, and between colons in the targets file.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alias(Arc<str>);

/// Why a text is no [`Alias`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// It has no characters.
    #[error("an alias must not be empty")]
    Empty,
    /// It is longer than [`MAX_NAME_BYTES`].
    #[error("an alias has at most {MAX_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// It holds a character that has a meaning where aliases stand.
    #[error("an alias must not hold {0:?}")]
    Forbidden(char),
    /// `.` and `..` mean something else in a path.
    #[error("an alias must not be \".\" or \"..\"")]
    Dots,
}

impl Alias {
    /// Checks and keeps a name.
    ///
    /// # Errors
    ///
    /// See [`AliasError`].
    pub fn new(name: &str) -> Result<Self, AliasError> {
        if name.is_empty() {
            return Err(AliasError::Empty);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(AliasError::TooLong(name.len()));
        }
        if let Some(forbidden) = name.chars().find(|c| c.is_control() || matches!(c, ':' | '/')) {
            return Err(AliasError::Forbidden(forbidden));
        }
        if name == "." || name == ".." {
            return Err(AliasError::Dots);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Alias {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// What a proxy says of itself to its bridges.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The name under which the bridges are asked for it.
    pub alias: Alias,
    /// What kind of thing it is; a label at the scraper.
    pub service: String,
    /// The machine that it runs on; a label at the scraper.
    pub hostname: String,
    /// What it shares with the bridges.
    pub secret: SharedSecret,
    /// How often it registers anew; it should be less than the bridges' expiry.
    pub interval: Duration,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn aliases_fit_into_paths_and_the_targets_file() {
        for good in ["a", "host.example", "my host-1", "ö", &"x".repeat(255)] {
            assert_eq!(Alias::new(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", AliasError::Empty),
            ("a:b", AliasError::Forbidden(':')),
            ("a/b", AliasError::Forbidden('/')),
            ("a\n", AliasError::Forbidden('\n')),
            ("..", AliasError::Dots),
            (&"x".repeat(256), AliasError::TooLong(256)),
        ] {
            assert_eq!(Alias::new(bad), Err(why));
        }
    }
}
