#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn value(text: &str) -> Option<f64> {
    Number::whole(text.as_bytes()).map(|number| number.value)
}

#[test]
fn what_go_reads_is_read() {
    for text in [
        "0",
        "1",
        "-1",
        "+1",
        ".5",
        "5.",
        "-.5E-3",
        "1e5",
        "1E+5",
        "00012",
        "123456789012345678901234567890",
        "1e308",
        "1e-400",
    ] {
        assert_eq!(value(text), Some(text.parse().unwrap()), "{text}");
    }
    assert_eq!(value("0e999999999999999999999"), Some(0.0));
    assert_eq!(value("0.00000000000000000000000000000000000001e38"), Some(1.0));
    for text in ["inf", "Inf", "+INF", "infinity", "+Infinity"] {
        assert_eq!(value(text), Some(f64::INFINITY), "{text}");
    }
    assert_eq!(value("-inf"), Some(f64::NEG_INFINITY));
    assert!(value("NaN").unwrap().is_nan() && value("nAn").unwrap().is_nan());
}

#[test]
fn what_go_refuses_is_refused() {
    for text in [
        "", ".", "+", "-", "e5", "1e", "1e+", "+nan", "-nan", "0x10", "0x1p4", "1_000", "infi", "1e400", "-1e309", "1 ", "٣", "--1",
        "1.2.3",
    ] {
        assert_eq!(value(text), None, "{text}");
    }
    assert_eq!(value(&"9".repeat(400)), None);
}

proptest! {
    #[test]
    fn every_float_reads_as_the_standard_library_reads_it(value in any::<f64>().prop_filter("finite", |it| it.is_finite())) {
        for text in [format!("{value}"), format!("{value:e}"), format!("{value:.3}")] {
            prop_assert_eq!(self::value(&text), Some(text.parse().unwrap()), "{}", text);
        }
    }

    #[test]
    fn nothing_is_read_that_the_standard_library_refuses(text in "[-+]?[0-9.eEinfatyNI_x]{0,12}") {
        let ours = value(&text);
        let theirs = text.parse::<f64>().ok().filter(|it| it.is_finite() || text.to_ascii_lowercase().contains('n'));
        let signed_nan = text.len() == 4 && theirs.is_some_and(f64::is_nan);
        prop_assert_eq!(ours.map(f64::to_bits), theirs.filter(|_| !signed_nan).map(f64::to_bits), "{}", text);
    }
}
