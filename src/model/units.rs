//! Parsing and display of durations and sizes.

use std::time::Duration;

/// A unit and its value.
type Unit = (&'static str, u64);

const DURATIONS: &[Unit] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];
/// Kilo is 1000, as SI has it; kibi is 1024, as IEC 80000-13 has it. A bare `K` could be either and is refused.
const SIZES: &[Unit] = &[
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Reads `90s`, `1h30m`, `500ms`, `1.5h`; units in any order, whitespace between them allowed.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, tail) = split_number(rest)?;
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (_, worth) = DURATIONS.iter().find(|(name, _)| *name == &tail[..end])?;
        // Each part is rounded to the nanosecond by itself, so that milliseconds stay exact beside many days.
        sum = sum.checked_add(Duration::try_from_secs_f64(number * to_float(*worth) / 1_000.0).ok()?)?;
        rest = tail[end..].trim_start();
    }
    Some(sum)
}

/// Reads `16MiB`, `64 KB`, `1.5GiB`; letters in either case.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text.trim())?;
    let (_, worth) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let bytes = (number * to_float(*worth)).round();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the line checks that it fits")]
    (bytes < to_float(1 << 62)).then_some(bytes as u64)
}

/// A number without sign or exponent, and what follows it.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then(|| (number, text[end..].trim_start()))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "units are exact in a float, and what is added to them is rounded anyway"
)]
fn to_float(number: u64) -> f64 {
    number as f64
}

/// Shows a duration the way it may be written, such as `1h30m`; `0s` for none.
#[must_use]
pub fn show_duration(span: Duration) -> String {
    let Ok(mut millis) = u64::try_from(span.as_millis()) else {
        return format!("{span:?}");
    };
    if !span.subsec_nanos().is_multiple_of(1_000_000) {
        return format!("{span:?}");
    }
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (name, worth) in DURATIONS.iter().rev().filter(|(name, _)| *name != "w") {
        let count = millis / worth;
        if count > 0 {
            out.push_str(&format!("{count}{name}"));
        }
        millis %= worth;
    }
    out
}

/// Shows a size the way it may be written, in the largest binary unit that divides it, such as `16MiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let binary = SIZES.iter().rev().filter(|(name, _)| name.ends_with("iB"));
    let fits = binary
        .into_iter()
        .find(|(_, worth)| bytes >= *worth && bytes.is_multiple_of(*worth));
    match fits {
        Some((name, worth)) => format!("{}{name}", bytes / worth),
        None => format!("{bytes}B"),
    }
}

/// A size in memory; more than the machine can address means all of it.
#[must_use]
pub fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
