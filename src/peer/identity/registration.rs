//! The content of a registration.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SharedSecret;

/// Limit on the bytes of an alias, a service or a hostname, which are used in labels, paths and tables.
pub const MAX_NAME_BYTES: usize = 255;

/// The alias of a proxy at a bridge: 1 to 255 bytes without colons, slashes and control characters, because it is part of paths and of
/// the colon-separated targets file.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alias(Arc<str>);

/// The error of an invalid [`Alias`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// It is empty.
    #[error("an alias must not be empty")]
    Empty,
    /// It is longer than [`MAX_NAME_BYTES`].
    #[error("an alias has at most {MAX_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// It contains a character that is not allowed in a path or in the targets file.
    #[error("an alias must not contain {0:?}")]
    Forbidden(char),
    /// `.` and `..` are special path segments.
    #[error("an alias must not be \".\" or \"..\"")]
    Dots,
}

impl Alias {
    /// Validates an alias.
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

    /// Returns the alias as text.
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

/// The content of a proxy's registration.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The alias at the bridges.
    pub alias: Alias,
    /// The kind of the service; becomes a label of the target.
    pub service: String,
    /// The machine of the proxy; becomes a label of the target.
    pub hostname: String,
    /// The secret shared with the bridges.
    pub secret: SharedSecret,
    /// The interval of registrations, which should be less than the entry expiry of the bridges.
    pub interval: Duration,
}

/// Returns the reason of a refusal for the log of the proxy. The text of a bridge for a wrong secret does not say what to do.
pub(crate) fn explain_refusal(why: String) -> String {
    if why.starts_with("Unauthorised") {
        return "wrong shared secret: p2p.secret_file here and bridge.secret_file there must have the same content".to_owned();
    }
    why
}

#[cfg(test)]
mod tests;
