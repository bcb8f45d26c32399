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
    if let Some(millis) = exact::<3>(seconds).and_then(|millis| i64::try_from(millis).ok()) {
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

/// A decimal number without exponent as a whole number of its unit at the last of `DIGITS` digits behind the point: 3 for milliseconds of
/// seconds, 9 for nanoseconds. Digits beyond are cut off.
pub(crate) fn exact<const DIGITS: usize>(seconds: &[u8]) -> Option<i128> {
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
    let padded = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(DIGITS);
    let mut number = 0_i128;
    for digit in whole.iter().copied().chain(padded) {
        number = number.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests;
