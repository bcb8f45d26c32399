//! Names outside the legacy character set: detection, and escaping for scrapers that do not accept UTF-8 names.
//!
//! The rule is the `underscores` scheme of Prometheus's document on escaping schemes: each character that is not allowed at its
//! position in a legacy name becomes one underscore.

use std::borrow::Cow;

/// Returns true if `name` matches `[a-zA-Z_:][a-zA-Z0-9_:]*`, so that it needs no quotes.
pub(crate) fn is_legacy_metric_name(name: &[u8]) -> bool {
    // Without an early exit, because compilers make vectors of it.
    !name.is_empty() && !name[0].is_ascii_digit() && name.iter().fold(true, |so_far, &byte| so_far & (is_word(byte) | (byte == b':')))
}

/// Returns true if `name` matches `[a-zA-Z_][a-zA-Z0-9_]*`, so that it needs no quotes.
pub(crate) fn is_legacy_label_name(name: &[u8]) -> bool {
    !name.is_empty() && !name[0].is_ascii_digit() && name.iter().fold(true, |so_far, &byte| so_far & is_word(byte))
}

/// Returns true for an ASCII letter, a digit or an underscore.
#[inline]
const fn is_word(byte: u8) -> bool {
    ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 10) | (byte == b'_')
}

/// Escapes a metric name by the underscores scheme.
pub(crate) fn metric_name(name: &str) -> Cow<'_, str> {
    if is_legacy_metric_name(name.as_bytes()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(escaped(name, true))
    }
}

/// Escapes a label name by the underscores scheme; unlike in a metric name a colon is replaced too.
pub(crate) fn label_name(name: &str) -> Cow<'_, str> {
    if is_legacy_label_name(name.as_bytes()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(escaped(name, false))
    }
}

/// Escapes a text as inside quotes.
pub(crate) fn quote_escaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
    out
}

/// Replaces the escapes `\\`, `\"` and `\n` in a name by their characters.
pub(crate) fn unescaped(name: &[u8]) -> String {
    String::from_utf8_lossy(&unescaped_bytes(name)).into_owned()
}

/// As [`unescaped`], for names, values and help texts that are written on.
pub(crate) fn unescaped_bytes(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', text) else {
        return text.into();
    };
    let mut bytes = text[first..].iter();
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(&other) => other,
                None => b'\\',
            },
            other => other,
        });
    }
    out.into()
}

/// Escapes a metric name, given as inside quotes, by the underscores scheme.
pub(crate) fn escaped_metric_name(name: &[u8]) -> Cow<'_, [u8]> {
    if is_legacy_metric_name(name) {
        name.into()
    } else {
        metric_name(&unescaped(name)).into_owned().into_bytes().into()
    }
}

/// Escapes a label name, given as inside quotes, by the underscores scheme.
pub(crate) fn escaped_label_name(name: &[u8]) -> Cow<'_, [u8]> {
    if is_legacy_label_name(name) {
        name.into()
    } else {
        label_name(&unescaped(name)).into_owned().into_bytes().into()
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
