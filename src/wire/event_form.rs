//! A one-shot event in the request of `POST /event`: pairs in the query and in a form body, both encoded as
//! `application/x-www-form-urlencoded` (WHATWG URL Standard, section 5).

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::model::{Event, EventError, LabelSet, MAX_EVENT_BYTES, MAX_EVENT_LABELS, truncated};

/// Name of the pair that is the sample's value and not a label.
const VALUE: &str = "value";

/// Value of an event without one.
const DEFAULT_VALUE: f64 = 1.0;

/// Parses an event from the query of a request and its form body; either may be empty.
///
/// Spaces in names become underscores; pairs with an empty value are ignored. A `%` that starts no valid escape is literal.
///
/// # Errors
/// If the value is not a number, or a pair is not a valid label.
pub fn parse(query: &[u8], body: &[u8]) -> Result<Event, EventError> {
    let (mut value, mut labels) = (None, Vec::new());
    let mut bytes = 0;
    for pair in [query, body].into_iter().flat_map(|form| form.split(|&b| b == b'&')) {
        let (name, text) = match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        if text.is_empty() && name != VALUE.as_bytes() {
            continue;
        }
        let name = decode(name, name)?.replace(' ', "_");
        let text = decode(text, name.as_bytes())?;
        if name == VALUE {
            number(&mut value, &text)?;
            continue;
        }
        // The label set checks both limits again; here they bound the list while it is built.
        bytes += name.len() + text.len();
        if bytes > MAX_EVENT_BYTES {
            return Err(EventError::TooLong(truncated(&name)));
        }
        if labels.len() >= MAX_EVENT_LABELS {
            return Err(EventError::TooMany(truncated(&name)));
        }
        labels.push((name, text.into_owned()));
    }
    Ok(Event {
        labels: LabelSet::new(labels)?,
        value: value.unwrap_or(DEFAULT_VALUE),
    })
}

/// Parses the value. Whitespace around it is ignored, because an unescaped `+` sign arrives as a space.
fn number(value: &mut Option<f64>, text: &str) -> Result<(), EventError> {
    let parsed = text.trim().parse().map_err(|_| EventError::Value(truncated(text)))?;
    match value.replace(parsed) {
        None => Ok(()),
        Some(_) => Err(EventError::Duplicate(VALUE.to_owned())),
    }
}

/// Decodes one name or value of the label `name`.
fn decode<'a>(encoded: &'a [u8], name: &[u8]) -> Result<Cow<'a, str>, EventError> {
    let plain: Cow<'a, [u8]> = match memchr::memchr(b'+', encoded) {
        None => percent_decode(encoded).into(),
        Some(_) => {
            let spaced: Vec<u8> = encoded.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
            Cow::Owned(Cow::from(percent_decode(&spaced)).into_owned())
        }
    };
    let text = match plain {
        Cow::Borrowed(plain) => std::str::from_utf8(plain).map(Cow::Borrowed).ok(),
        Cow::Owned(plain) => String::from_utf8(plain).map(Cow::Owned).ok(),
    };
    text.ok_or_else(|| EventError::NotUtf8(truncated(&String::from_utf8_lossy(name))))
}

#[cfg(test)]
mod tests;
