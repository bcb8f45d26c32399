//! Files with keys, passwords and tokens. The access rights are checked on the file that is read, so that it cannot be exchanged in
//! between.

use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::files::open_regular;

/// Limit of a file in bytes: the longest tokens have a few thousand.
const MAX_BYTES: u64 = 64 << 10;
/// Permissions that a private key must not grant: writing for the group, and any for others. The group may read, because Kubernetes
/// hands secrets to a container through a group.
const FORBIDDEN_FOR_KEYS: u32 = 0o027;
/// Permissions that expose a secret: reading and writing for all users.
const EXPOSING: u32 = 0o006;

/// Permissions that make reading a file fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileRule {
    /// A private key: none for others, and no writing for the group.
    Key,
    /// A secret with `secrets.strict`: no reading and no writing for all users.
    Strict,
    /// A secret without it: any. [`exposed`] describes those that deserve a warning.
    #[default]
    Lenient,
}

impl FileRule {
    /// The rule for secrets that are no private keys.
    #[must_use]
    pub const fn secret(strict: bool) -> Self {
        if strict { Self::Strict } else { Self::Lenient }
    }

    const fn forbidden(self) -> u32 {
        match self {
            Self::Key => FORBIDDEN_FOR_KEYS,
            Self::Strict => EXPOSING,
            Self::Lenient => 0,
        }
    }
}

/// The reason why a secret file was not read. The caller names the file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A private key with permissions that it must not have.
    #[error(
        "mode {0:04o} lets other users read or change it, and who has the key can impersonate this program; run chmod 600 on it, or delete it to get a new key"
    )]
    KeyExposed(u32),
    /// A secret that all users can read or change.
    #[error("mode {0:04o} lets every user of this machine read or change it; run chmod o-rwx on it, or set secrets.strict = false")]
    Exposed(u32),
    /// The file is longer than a secret can be.
    #[error("longer than {MAX_BYTES} bytes")]
    TooLong,
    /// The file is no text.
    #[error("not UTF-8")]
    NotUtf8,
}

/// Reads a secret file, without whitespace around its text: editors leave a newline at the end.
///
/// # Errors
/// When the file cannot be read, is no regular file, is too long or no text, or has permissions that the rule forbids.
pub fn read(path: &Path, rule: FileRule) -> Result<String, SecretFileError> {
    let file = open_regular(path)?;
    let mode = mode(&file.metadata()?);
    if mode & rule.forbidden() != 0 {
        return Err(match rule {
            FileRule::Key => SecretFileError::KeyExposed(mode),
            FileRule::Strict | FileRule::Lenient => SecretFileError::Exposed(mode),
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(SecretFileError::TooLong);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretFileError::NotUtf8)?;
    Ok(text.trim().to_owned())
}

/// Describes the permissions of a file that all users can read or change. `None` for others, and for a file that is not there.
#[must_use]
pub fn exposed(path: &Path) -> Option<String> {
    let mode = mode(&fs::metadata(path).ok()?);
    let shown = path.display();
    (mode & EXPOSING != 0)
        .then(|| format!("every user of this machine can read or change {shown} (mode {mode:04o}); run chmod o-rwx on it"))
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o777
}

#[cfg(test)]
mod tests;
