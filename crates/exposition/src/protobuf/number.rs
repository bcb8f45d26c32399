//! Numbers as text that reads back as the same number.

use std::io::Write;

/// Whole numbers below are written without an exponent, as other exporters do.
const MAX_PLAIN: f64 = 1e15;

/// The bytes of the longest whole number.
const MAX_DIGITS: usize = 20;

/// Writes a whole number.
pub(super) fn put_whole(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; MAX_DIGITS];
    let mut at = MAX_DIGITS;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes a double.
pub(super) fn put_double(value: f64, out: &mut Vec<u8>) {
    if value.trunc().to_bits() == value.to_bits() && value.abs() < MAX_PLAIN {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number below the limit, without its sign"
        )]
        return put_whole(value.abs() as u64, out);
    }
    put_uncommon(value, out);
}

/// Writes a double that is no small whole number.
fn put_uncommon(value: f64, out: &mut Vec<u8>) {
    let size = value.abs();
    // Writing to memory cannot fail.
    let _ = match value {
        _ if value.is_nan() => out.write_all(b"NaN"),
        f64::INFINITY => out.write_all(b"+Inf"),
        f64::NEG_INFINITY => out.write_all(b"-Inf"),
        _ if (1e-5..1e21).contains(&size) => write!(out, "{value}"),
        _ => write!(out, "{value:e}"),
    };
}

/// Writes the bound of a bucket or a quantile as OpenMetrics wants it: `1.0`, not `1`.
pub(super) fn put_bound(value: f64, out: &mut Vec<u8>) {
    let start = out.len();
    put_double(value, out);
    if value.is_finite() && !out[start..].iter().any(|byte| matches!(byte, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

/// Writes seconds and nanoseconds as one number of seconds. Nanoseconds out of range are cut to it.
pub(super) fn put_seconds(seconds: i64, nanos: i64, out: &mut Vec<u8>) {
    const SECOND: u64 = 1_000_000_000;
    let nanos = u64::try_from(nanos).unwrap_or_default().min(SECOND - 1);
    let (mut whole, mut fraction) = (seconds.unsigned_abs(), nanos);
    if seconds < 0 {
        out.push(b'-');
        // Nanoseconds count forward from the second.
        if nanos > 0 {
            (whole, fraction) = (whole - 1, SECOND - nanos);
        }
    }
    put_whole(whole, out);
    put_fraction(fraction, 9, out);
}

/// Writes a time in milliseconds in seconds.
pub(super) fn put_millis(millis: i64, out: &mut Vec<u8>) {
    if millis < 0 {
        out.push(b'-');
    }
    let millis = millis.unsigned_abs();
    put_whole(millis / 1_000, out);
    put_fraction(millis % 1_000, 3, out);
}

/// Writes a point and a fraction of `digits` digits, without zeros at the end; nothing for zero.
fn put_fraction(fraction: u64, digits: usize, out: &mut Vec<u8>) {
    if fraction == 0 {
        return;
    }
    out.push(b'.');
    let start = out.len();
    // Writing to memory cannot fail.
    let _ = write!(out, "{fraction:0digits$}");
    while out.len() > start && out.last() == Some(&b'0') {
        out.pop();
    }
}
