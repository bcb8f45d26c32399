//! Secrets, which are used but never printed.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::{Position, Url};

/// Replacement of a secret in output.
const MASK: &str = "MASKED";

/// A text that prints as `MASKED`; [`Secret::expose`] returns it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Words in the name of a URL's parameter that make its value a secret.
const SECRET_WORDS: [&str; 10] = [
    "token",
    "secret",
    "passw",
    "pwd",
    "auth",
    "key",
    "credential",
    "signature",
    "session",
    "cookie",
];

/// Whole names of such parameters.
const SECRET_NAMES: [&str; 3] = ["sig", "code", "pass"];

fn is_secret(parameter: &str) -> bool {
    let name = percent_decode_str(parameter).decode_utf8_lossy().to_ascii_lowercase();
    SECRET_NAMES.contains(&&*name) || SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// A URL for display: the values of parameters that look like secrets are masked.
pub(super) fn masked_url(url: &Url) -> String {
    match masked_query(url) {
        Some(query) => format!("{}?{query}", &url[..Position::AfterPath]),
        None => url.to_string(),
    }
}

/// The query of a URL in the same way.
pub(super) fn masked_query(url: &Url) -> Option<String> {
    let parameters: Vec<Cow<'_, str>> = url.query()?.split('&').map(masked_parameter).collect();
    Some(parameters.join("&"))
}

fn masked_parameter(parameter: &str) -> Cow<'_, str> {
    match parameter.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret(name) => format!("{name}={MASK}").into(),
        _ => parameter.into(),
    }
}

#[cfg(test)]
mod tests;
