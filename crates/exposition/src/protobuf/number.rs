//! Numbers as text that reads back as the same number.

/// Whole numbers below are written without an exponent, as other exporters do.
const MAX_PLAIN: f64 = 1e15;

/// The bytes of the longest whole number.
const MAX_DIGITS: usize = 20;

/// The two digits of each number below 100.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        #[expect(clippy::cast_possible_truncation, reason = "one digit each")]
        let pair = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        pairs[number] = pair;
        number += 1;
    }
    pairs
};

/// Writes a whole number.
#[inline]
pub(crate) fn put_whole(number: u64, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(digit @ 0..10) => out.push(b'0' + digit),
        Ok(pair @ 10..100) => out.extend_from_slice(&PAIRS[usize::from(pair)]),
        _ => match u16::try_from(number) {
            Ok(four @ 0..10_000) => put_up_to_four(four, out),
            _ => put_digits(number, 0, out),
        },
    }
}

/// Writes a number of three or four digits.
#[inline]
fn put_up_to_four(number: u16, out: &mut Vec<u8>) {
    let [thousands, hundreds] = PAIRS[usize::from(number / 100) % PAIRS.len()];
    let [tens, ones] = PAIRS[usize::from(number % 100)];
    if number >= 1_000 {
        out.extend_from_slice(&[thousands, hundreds, tens, ones]);
    } else {
        out.extend_from_slice(&[hundreds, tens, ones]);
    }
}

/// Writes a whole number with at least `least` digits.
fn put_digits(mut number: u64, least: usize, out: &mut Vec<u8>) {
    // As much again behind the digits: a copy of a fixed length needs no call.
    let mut digits = [b'0'; 2 * MAX_DIGITS];
    let mut at = MAX_DIGITS;
    while number >= 10 {
        at -= 2;
        let pair = PAIRS[usize::try_from(number % 100).unwrap_or_default()];
        digits[at..at + 2].copy_from_slice(&pair);
        number /= 100;
    }
    if number > 0 {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number).unwrap_or_default();
    }
    let at = at.min(MAX_DIGITS - least);
    let end = out.len() + MAX_DIGITS - at;
    if let Some((copied, _)) = digits[at..].split_first_chunk::<MAX_DIGITS>() {
        out.extend_from_slice(copied);
    }
    out.truncate(end);
}

/// Writes a double.
#[inline]
pub(crate) fn put_double(value: f64, out: &mut Vec<u8>) {
    let size = value.abs();
    if size < MAX_PLAIN {
        let number = whole(size);
        #[expect(clippy::cast_precision_loss, reason = "below the limit")]
        let back = number as f64;
        if back.to_bits() == size.to_bits() {
            if value.is_sign_negative() {
                out.push(b'-');
            }
            return put_whole(number, out);
        }
    }
    put_uncommon(value, out);
}

/// The whole part of a number that is not negative and below [`MAX_PLAIN`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "below the limit, without its sign"
)]
#[inline]
const fn whole(value: f64) -> u64 {
    value as u64
}

/// Writes a double that is no small whole number.
fn put_uncommon(value: f64, out: &mut Vec<u8>) {
    match value {
        _ if value.is_nan() => return out.extend_from_slice(b"NaN"),
        f64::INFINITY => return out.extend_from_slice(b"+Inf"),
        f64::NEG_INFINITY => return out.extend_from_slice(b"-Inf"),
        _ => {}
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let size = value.abs();
    if !put_short_decimal(size, out) {
        put_shortest(size, out);
    }
}

/// Powers of ten of the decimals that are tried.
const SHORT_POWERS: [f64; 6] = [1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

/// Writes a number of a few decimals, such as 0.25; false if it is none. A decimal number of up to 15 digits is the shortest one that reads
/// back as its double.
fn put_short_decimal(size: f64, out: &mut Vec<u8>) -> bool {
    const MAX_SIZE: f64 = 1e9;
    if size >= MAX_SIZE {
        return false;
    }
    for (digits, power) in (1..).zip(SHORT_POWERS) {
        // Both are exact: the rounded product is below 10^15, and so is the power. The quotient of exact doubles is that of the decimal number.
        // Rounded by a cast, because rounding calls a function: where it differs the quotient does too.
        let scaled = whole(size * power + 0.5);
        #[expect(clippy::cast_precision_loss, reason = "below the limit")]
        let quotient = scaled as f64 / power;
        #[expect(clippy::float_cmp, reason = "the text must read back as the same number")]
        if quotient == size {
            let power = whole(power);
            put_whole(scaled / power, out);
            out.push(b'.');
            put_digits(scaled % power, digits, out);
            return true;
        }
    }
    false
}

/// Writes the shortest digits that read back as a number above 0: plain from 1e-5 up to 1e21, else with an exponent.
fn put_shortest(size: f64, out: &mut Vec<u8>) {
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(size).as_bytes();
    // Digits with a point, and an exponent behind an `e`.
    let (number, exponent) = match shortest.iter().position(|byte| *byte == b'e') {
        Some(at) => (&shortest[..at], exponent_of(&shortest[at + 1..])),
        None => (shortest, 0),
    };
    let point = number.iter().position(|byte| *byte == b'.').unwrap_or(number.len());
    let mut digits = [0; MAX_DIGITS];
    let mut len = 0;
    let mut leading = 0;
    for byte in number.iter().filter(|byte| **byte != b'.') {
        if len == 0 && *byte == b'0' {
            leading += 1;
        } else if len < MAX_DIGITS {
            digits[len] = *byte;
            len += 1;
        }
    }
    while len > 1 && digits[len - 1] == b'0' {
        len -= 1;
    }
    let digits = &digits[..len];
    // The number is 0.DIGITS times ten to this power.
    let narrow = |len: usize| i32::try_from(len).unwrap_or_default();
    let power = exponent + narrow(point) - leading;
    let digit_count = narrow(len);
    if (1e-5..1e21).contains(&size) {
        if power <= 0 {
            out.extend_from_slice(b"0.");
            (power..0).for_each(|_| out.push(b'0'));
            out.extend_from_slice(digits);
        } else if power >= digit_count {
            out.extend_from_slice(digits);
            (digit_count..power).for_each(|_| out.push(b'0'));
        } else {
            let (whole, fraction) = digits.split_at(usize::try_from(power).unwrap_or_default());
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
        return;
    }
    let (first, rest) = digits.split_at(1);
    out.extend_from_slice(first);
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest);
    }
    out.push(b'e');
    if power < 1 {
        out.push(b'-');
    }
    put_whole(u64::from((power - 1).unsigned_abs()), out);
}

/// The number behind an `e`.
fn exponent_of(text: &[u8]) -> i32 {
    let (is_negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text),
    };
    let size = digits.iter().fold(0, |size, digit| size * 10 + i32::from(digit - b'0'));
    if is_negative { -size } else { size }
}

/// Writes the bound of a bucket or a quantile as OpenMetrics wants it: `1.0`, not `1`.
pub(crate) fn put_bound(value: f64, out: &mut Vec<u8>) {
    let start = out.len();
    put_double(value, out);
    if value.is_finite() && !out[start..].iter().any(|byte| matches!(byte, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

/// Writes seconds and nanoseconds as one number of seconds. Nanoseconds out of range are cut to it.
pub(crate) fn put_seconds(seconds: i64, nanos: i64, out: &mut Vec<u8>) {
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
pub(crate) fn put_millis(millis: i64, out: &mut Vec<u8>) {
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
    put_digits(fraction, digits, out);
    while out.len() > start && out.last() == Some(&b'0') {
        out.pop();
    }
}

#[cfg(test)]
mod tests;
