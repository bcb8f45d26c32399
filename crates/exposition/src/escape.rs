//! Names outside the legacy character set: detection, and escaping for scrapers that do not accept UTF-8 names.
//!
//! The rule is the `underscores` scheme of Prometheus's document on escaping schemes: each character that is not allowed at its
//! position in a legacy name becomes one underscore.

use std::borrow::Cow;

/// Returns true if `name` matches `[a-zA-Z_:][a-zA-Z0-9_:]*`, so that it needs no quotes.
#[must_use]
pub fn is_legacy_metric_name(name: &[u8]) -> bool {
    !name.is_empty() && !name[0].is_ascii_digit() && name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Returns true if `name` matches `[a-zA-Z_][a-zA-Z0-9_]*`, so that it needs no quotes.
#[must_use]
pub fn is_legacy_label_name(name: &[u8]) -> bool {
    !name.is_empty() && !name[0].is_ascii_digit() && name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Escapes a metric name by the underscores scheme.
#[must_use]
pub fn metric_name(name: &str) -> Cow<'_, str> {
    if is_legacy_metric_name(name.as_bytes()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(escaped(name, true))
    }
}

/// Escapes a label name by the underscores scheme; unlike in a metric name a colon is replaced too.
#[must_use]
pub fn label_name(name: &str) -> Cow<'_, str> {
    if is_legacy_label_name(name.as_bytes()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(escaped(name, false))
    }
}

fn escaped(name: &str, colon: bool) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let fits = |at: usize, c: char| match c {
        'a'..='z' | 'A'..='Z' | '_' => true,
        '0'..='9' => at > 0,
        ':' => colon,
        _ => false,
    };
    name.char_indices().map(|(at, c)| if fits(at, c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
