#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::{put_bound, put_double, put_millis, put_seconds, put_whole};

fn written(put: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    put(&mut out);
    String::from_utf8(out).unwrap()
}

/// A double as the standard library writes its shortest digits.
fn by_std(value: f64) -> String {
    let size = value.abs();
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ if size == 0.0 || (1e-5..1e21).contains(&size) => format!("{value}"),
        _ => format!("{value:e}"),
    }
}

proptest! {
    #[test]
    fn any_double_has_its_shortest_digits(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assert_eq!(written(|out| put_double(value, out)), by_std(value));
    }

    #[test]
    fn decimals_have_their_digits(number in -1_000_000_000_000_000_i64..1_000_000_000_000_000, point in 0..25) {
        let value: f64 = format!("{number}e-{point}").parse().unwrap();
        prop_assert_eq!(written(|out| put_double(value, out)), by_std(value));
    }

    #[test]
    fn neighbours_of_decimals_keep_their_last_digits(number in 0..1_000_000_u64, point in 0..7, ulps in 0..3_u64) {
        let value: f64 = format!("{number}e-{point}").parse().unwrap();
        let value = f64::from_bits(value.to_bits() + ulps);
        prop_assert_eq!(written(|out| put_double(value, out)), by_std(value));
    }

    #[test]
    fn whole_numbers_have_their_digits(number: u64, shift in 0..64_u32) {
        prop_assert_eq!(written(|out| put_whole(number >> shift, out)), (number >> shift).to_string());
    }

    #[test]
    fn times_read_back(seconds in -10_000_000_000_i64..10_000_000_000, nanos in 0..1_000_000_000_i64, millis: i64) {
        let read: f64 = written(|out| put_seconds(seconds, nanos, out)).parse().unwrap();
        prop_assert!((read - (seconds as f64 + nanos as f64 / 1e9)).abs() < 1e-5);
        let text = written(|out| put_millis(millis, out));
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let read = format!("{whole}{fraction:0<3}");
        prop_assert_eq!(read.parse::<i64>().unwrap(), millis);
    }
}

#[test]
fn bounds_have_a_point() {
    for (bound, text) in [
        (1.0, "1.0"),
        (0.005, "0.005"),
        (1e300, "1e300"),
        (-2.0, "-2.0"),
        (f64::INFINITY, "+Inf"),
        (1e16, "10000000000000000.0"),
    ] {
        assert_eq!(written(|out| put_bound(bound, out)), text);
    }
}
