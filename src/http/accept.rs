//! The media types that a client accepts, and paths with names in them.

use http::header::{ACCEPT, HeaderMap};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that a path has as they are (RFC 3986, 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns true if an `Accept` header names this media type. Ranges such as `*/*` name none: clients that take anything get the usual
/// format.
#[must_use]
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type)) && !parts.any(is_zero_weight)
    })
}

/// Returns true for a parameter that says "not acceptable" (RFC 9110, 12.4.2).
fn is_zero_weight(parameter: &str) -> bool {
    let weight = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse::<f32>() == Ok(0.0))
}

/// A name as a segment of a path.
#[must_use]
pub fn path_segment(name: &str) -> String {
    utf8_percent_encode(name, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests;
