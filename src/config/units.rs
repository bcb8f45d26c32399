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
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
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
pub(super) fn parse_size(text: &str) -> Option<u64> {
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
pub(super) fn show_duration(span: Duration) -> String {
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
pub(super) fn show_size(bytes: u64) -> String {
    let binary = SIZES.iter().rev().filter(|(name, _)| name.ends_with("iB"));
    let fits = binary
        .into_iter()
        .find(|(_, worth)| bytes >= *worth && bytes.is_multiple_of(*worth));
    match fits {
        Some((name, worth)) => format!("{}{name}", bytes / worth),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        let millis = |text| parse_duration(text).map(|span| span.as_millis());
        assert_eq!(millis("90s"), Some(90_000));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis(" 1h 30m "), Some(5_400_000));
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("1.5h"), Some(5_400_000));
        assert_eq!(millis("2d"), Some(172_800_000));
        assert_eq!(millis("1w"), Some(604_800_000));
        assert_eq!(millis("102d12h47m15s63ms"), Some(8_858_835_063));
        for bad in [
            "",
            "s",
            "5",
            "5 parsecs",
            "-5s",
            "5s-",
            "1e3s",
            "1.2.3s",
            "5S",
            "∞s",
            &"9".repeat(400),
        ] {
            assert_eq!(millis(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_tell_kilo_from_kibi() {
        assert_eq!(parse_size("16MiB"), Some(16 << 20));
        assert_eq!(parse_size("64KB"), Some(64_000));
        assert_eq!(parse_size("64 kb"), Some(64_000));
        assert_eq!(parse_size("4GiB"), Some(4 << 30));
        assert_eq!(parse_size("1.5GiB"), Some(3 << 29));
        assert_eq!(parse_size("7B"), Some(7));
        for bad in ["", "16", "16M", "16K", "MiB", "-1MiB", "1MiB2KiB", "99999999999TiB", "1 e3B"] {
            assert_eq!(parse_size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn shown_as_a_person_would_write_it() {
        assert_eq!(show_duration(Duration::from_secs(90)), "1m30s");
        assert_eq!(show_duration(Duration::ZERO), "0s");
        assert_eq!(show_duration(Duration::from_micros(1_500)), "1.5ms");
        assert_eq!(show_size(16 << 20), "16MiB");
        assert_eq!(show_size(1_000), "1000B");
        assert_eq!(show_size(0), "0B");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0_u64..10_000_000_000, bytes in 0_u64..(1 << 50)) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(span)).map(|s| s.as_millis()), Some(u128::from(millis)));
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
