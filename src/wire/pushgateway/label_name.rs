//! Label names in paths: those outside the legacy character set are escaped as Prometheus escapes values (`U__a_2e_b` for `a.b`).

use std::fmt::Write as _;

use super::is_plain;

/// The start of an escaped name.
const PREFIX: &str = "U__";

/// The digits of the largest number of a character.
const MAX_DIGITS: usize = 6;

/// The name as it is written in a path.
#[must_use]
pub fn escape_label_name(name: &str) -> String {
    if is_plain(name) && !name.starts_with(PREFIX) {
        return name.to_owned();
    }
    let mut escaped = PREFIX.to_owned();
    for c in name.chars() {
        match c {
            '_' => escaped.push_str("__"),
            c if c.is_ascii_alphanumeric() => escaped.push(c),
            c => {
                // Writing to memory cannot fail.
                let _ = write!(escaped, "_{:x}_", u32::from(c));
            }
        }
    }
    escaped
}

/// The name that is written so in a path. One that is not validly escaped is taken as it is, as Prometheus does.
#[must_use]
pub fn unescape_label_name(name: &str) -> String {
    unescape(name).unwrap_or_else(|| name.to_owned())
}

fn unescape(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix(PREFIX)?;
    let mut out = String::with_capacity(rest.len());
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.find('_')?;
        let digits = &rest[..end];
        match digits.is_empty() {
            true => out.push('_'),
            false if digits.len() <= MAX_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
            }
            false => return None,
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Some(out)
}
