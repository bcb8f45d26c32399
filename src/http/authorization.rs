//! The `Authorization` header: a user and a password (RFC 7617), or a bearer token (RFC 6750). Pure.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use super::Token;

/// The credentials of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Authorization {
    /// `Basic ...`
    Basic(Credentials),
    /// `Bearer ...`; a token that cannot be valid is empty, and equal to none.
    Bearer(Token),
}

impl Authorization {
    /// Reads the value of the header; none if it is malformed or of another scheme.
    #[must_use]
    pub fn from_header(header: &HeaderValue) -> Option<Self> {
        let token = Token::from_header(header).map(Self::Bearer);
        token.or_else(|| Credentials::from_header(header).map(Self::Basic))
    }
}

/// A user and a password. The password is never shown.
#[derive(PartialEq, Eq)]
pub struct Credentials {
    pub(super) user: String,
    pub(super) password: Vec<u8>,
}

impl Credentials {
    /// Reads `Basic ...`; none if the header is of another scheme or malformed.
    fn from_header(header: &HeaderValue) -> Option<Self> {
        let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        Some(Self {
            user: String::from_utf8(decoded[..colon].to_vec()).ok()?,
            password: decoded[colon + 1..].to_vec(),
        })
    }

    /// The name of the user.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, MASKED)", self.user)
    }
}

#[cfg(test)]
mod tests;
