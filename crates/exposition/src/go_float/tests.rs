#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::go_float;

#[test]
fn floats_are_written_as_in_go() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (3.0, "3"),
        (100_000.0, "100000"),
        (1_000_000.0, "1e+06"),
        (1_764_437_212.123, "1.764437212123e+09"),
        (0.0001, "0.0001"),
        (0.000_012_5, "1.25e-05"),
        (-2.5e-300, "-2.5e-300"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
    ] {
        assert_eq!(go_float(value), expected);
    }
}

proptest! {
    #[test]
    fn a_float_is_read_back(value: f64) {
        let read: f64 = go_float(value).parse().unwrap();
        prop_assert!(read == value || value.is_nan());
    }
}
