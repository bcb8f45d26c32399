//! Timestamps of samples: milliseconds in the text format, seconds in OpenMetrics.

use crate::syntax::Syntax;

/// Converts a checked timestamp to milliseconds, the unit of Prometheus.
pub(crate) fn millis(written: &[u8], syntax: Syntax) -> Option<i64> {
    match syntax {
        Syntax::Text => std::str::from_utf8(written).ok()?.parse().ok(),
        Syntax::OpenMetrics => Some(millis_of_seconds(written)),
    }
}

/// Converts a timestamp in seconds to milliseconds.
pub(crate) fn millis_of_seconds(seconds: &[u8]) -> i64 {
    if let Some(millis) = exact_millis(seconds) {
        return millis;
    }
    let float: f64 = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "saturates, and a time beyond 64 bits of milliseconds is no time"
    )]
    let millis = (float * 1000.0).round() as i64;
    millis
}

/// Exact milliseconds of a decimal number without exponent.
fn exact_millis(seconds: &[u8]) -> Option<i64> {
    let (negative, digits) = match seconds {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let dot = memchr::memchr(b'.', digits).unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..dot], digits.get(dot + 1..).unwrap_or_default());
    if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let padded = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(3);
    let mut millis = 0_i64;
    for digit in whole.iter().copied().chain(padded) {
        millis = millis.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(if negative { -millis } else { millis })
}

#[cfg(test)]
mod tests;
