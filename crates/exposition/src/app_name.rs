//! Names of the applications that expositions come from.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest app name in bytes. Names appear in tables, labels and paths, where longer ones are unreadable.
pub const MAX_APP_NAME_BYTES: usize = 255;

/// Name of an application: 1 to 255 bytes of UTF-8 without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppName(Arc<str>);

/// A label name and its value, unescaped, for series that lack the label.
pub type LabelPair = (Arc<str>, Arc<str>);

/// Error of [`AppName::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppNameError {
    /// The name has no characters.
    #[error("an app name must not be empty")]
    Empty,
    /// The name is longer than [`MAX_APP_NAME_BYTES`].
    #[error("an app name has at most {MAX_APP_NAME_BYTES} bytes, not {0}")]
    TooLong(usize),
    /// The name contains a control character.
    #[error("an app name must not contain control characters (U+{0:04X} at byte {1})")]
    Control(u32, usize),
}

impl AppName {
    /// Validates a name.
    ///
    /// # Errors
    /// If it is empty, too long, or contains a control character.
    pub fn new(name: &str) -> Result<Self, AppNameError> {
        if name.is_empty() {
            return Err(AppNameError::Empty);
        }
        if name.len() > MAX_APP_NAME_BYTES {
            return Err(AppNameError::TooLong(name.len()));
        }
        if let Some((at, c)) = name.char_indices().find(|(_, c)| c.is_control()) {
            return Err(AppNameError::Control(u32::from(c), at));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for AppName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests;
