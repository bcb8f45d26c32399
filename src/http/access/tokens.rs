//! Bearer tokens (RFC 6750): the files that hold them, and the comparison with what a request sends.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use ring::hmac;
use ring::rand::SystemRandom;

use crate::supervise::secret_file::{self, FileRule, SecretFileError};

/// The longest token: signed tokens of identity providers have some kilobytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A keyed hash of a token. The key is random and lives as long as the process.
type Digest = [u8; 32];

/// The fault of a token file.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// It cannot be read.
    #[error("cannot read the token file: {0}")]
    Read(#[source] SecretFileError),
    /// It has no token.
    #[error("the token file is empty")]
    Empty,
    /// It has more than a token.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// A header cannot carry it.
    #[error("the token has characters other than letters, digits and -._~+/= (RFC 6750); a file holds one token")]
    Invalid,
}

/// Reads the token of a file, without whitespace around it. Blocks on the file system.
///
/// # Errors
///
/// If the file cannot be read, has permissions that the rule forbids, or does not hold exactly one token.
pub(super) fn read_token(path: &Path, rule: FileRule) -> Result<Token, TokenError> {
    let text = secret_file::read(path, rule).map_err(|why| match why {
        SecretFileError::TooLong => TokenError::TooLong,
        why => TokenError::Read(why),
    })?;
    let token = text.as_bytes();
    match token {
        [] => Err(TokenError::Empty),
        _ if token.len() > MAX_TOKEN_BYTES => Err(TokenError::TooLong),
        _ if !token.iter().all(|byte| is_token_byte(*byte)) => Err(TokenError::Invalid),
        _ => Ok(Token(token.into())),
    }
}

/// RFC 6750, 2.1: the characters of a token.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// A bearer token. It is never shown.
#[derive(PartialEq, Eq)]
pub struct Token(Box<[u8]>);

impl Token {
    /// Reads `Bearer ...`; none if the header is of another scheme. A token that cannot be valid is empty, and equal to none.
    pub(in crate::http) fn from_header(header: &HeaderValue) -> Option<Self> {
        let (scheme, token) = header.as_bytes().split_at_checked("bearer".len())?;
        if !scheme.eq_ignore_ascii_case(b"bearer") || token.first().is_some_and(|byte| *byte != b' ') {
            return None;
        }
        let token = token.trim_ascii();
        let is_valid = token.len() <= MAX_TOKEN_BYTES && token.iter().all(|byte| is_token_byte(*byte));
        Some(Self(if is_valid { token.into() } else { Box::default() }))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(MASKED)")
    }
}

/// The tokens in force, by their files.
#[derive(Default, Clone, PartialEq, Eq)]
pub(super) struct TokenTable(Vec<(Arc<Path>, Digest)>);

impl TokenTable {
    /// The table with the tokens of another one in place of those of the same files.
    pub(super) fn updated_by(&self, read: &Self) -> Self {
        let newest = |(path, digest): &(Arc<Path>, Digest)| {
            let found = read.0.iter().find(|(other, _)| other == path);
            (Arc::clone(path), found.map_or(*digest, |(_, digest)| *digest))
        };
        Self(self.0.iter().map(newest).collect())
    }
}

/// Hashes tokens.
pub(super) struct TokenHasher(hmac::Key);

impl TokenHasher {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        // Without random numbers no TLS works either; the key then only hides less.
        Self(key.unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, &[0; 32])))
    }

    fn digest(&self, token: &Token) -> Digest {
        let mut digest = Digest::default();
        digest.copy_from_slice(hmac::sign(&self.0, &token.0).as_ref());
        digest
    }

    /// The table of these tokens.
    pub(super) fn table(&self, tokens: Vec<(Arc<Path>, Token)>) -> TokenTable {
        TokenTable(tokens.into_iter().map(|(path, token)| (path, self.digest(&token))).collect())
    }

    /// The files that hold this token; empty if it is unknown. Neither the time for a comparison nor the number of comparisons depends on
    /// the token.
    pub(super) fn files(&self, table: &TokenTable, token: &Token) -> Vec<Arc<Path>> {
        let digest = self.digest(token);
        let is_equal = |other: &Digest| digest.iter().zip(other).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0;
        let equal = table.0.iter().filter(|(_, other)| is_equal(other));
        // An empty token is in no file.
        equal.map(|(path, _)| Arc::clone(path)).filter(|_| !token.0.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests;
