//! `[secrets]`: files with passwords, tokens and shared secrets.

use super::reader::Section;
use super::value_types::Bool;
use crate::supervise::secret_file::FileRule;

/// `[secrets]` as used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretsConfig {
    /// `strict`: true if files that all users can read or change are refused; otherwise they cause a warning.
    pub strict: bool,
}

impl SecretsConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        Self {
            strict: t.reloadable("strict").or(false, Bool),
        }
    }

    /// The rule for a file with a secret.
    #[must_use]
    pub const fn file_rule(self) -> FileRule {
        FileRule::secret(self.strict)
    }
}
