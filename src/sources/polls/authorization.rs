//! The `Authorization` header of a poll.

use std::path::PathBuf;

use http::HeaderValue;

use super::error::PollError;
use super::files;
use super::settings::{Credentials, Password};
use crate::supervise::secret_file::FileRule;

/// The header's value, from the current content of the files.
pub(super) async fn header(credentials: Option<&Credentials>, rule: FileRule) -> Result<Option<HeaderValue>, PollError> {
    let (text, file) = match credentials {
        None => return Ok(None),
        Some(Credentials::BearerFile(path)) => (format!("Bearer {}", files::read_secret(path, rule).await?), path.clone()),
        Some(Credentials::HeaderFile(path)) => (scheme_and_token(files::read_secret(path, rule).await?), path.clone()),
        Some(Credentials::Basic { username, password }) => {
            let (password, file) = match password {
                Password::Given(password) => (password.to_string(), PathBuf::new()),
                Password::File(path) => (files::read_secret(path, rule).await?, path.clone()),
            };
            (format!("Basic {}", base64(format!("{username}:{password}").as_bytes())), file)
        }
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| PollError::File {
        path: file,
        why: "a token must not contain line breaks or control characters".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The header's value in a file: a word alone is a bearer token, as a scheme and its token are two.
fn scheme_and_token(text: String) -> String {
    if text.contains(' ') { text } else { format!("Bearer {text}") }
}

/// Base 64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4_usize {
            let index = (bits >> (18 - 6 * digit)) & 63;
            out.push(if digit <= group.len() {
                char::from(ALPHABET[index as usize])
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests;
