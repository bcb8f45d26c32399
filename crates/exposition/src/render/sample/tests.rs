use super::*;
use proptest::prelude::*;

fn written(by: fn(&[u8], &mut Vec<u8>), input: &str) -> String {
    let mut out = Vec::new();
    by(input.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn timestamps_change_their_unit() {
    for (millis, seconds) in [("1234", "1.234"), ("1000", "1"), ("5", "0.005"), ("0", "0"), ("120", "0.12")] {
        assert_eq!(written(seconds_of_millis, millis), seconds);
        assert_eq!(written(write_millis_of_seconds, seconds), millis);
    }
    assert_eq!(written(write_millis_of_seconds, "1.0005"), "1000");
    assert_eq!(written(write_millis_of_seconds, "1.5e3"), "1500000");
    assert_eq!(written(write_millis_of_seconds, ".5"), "500");
    assert_eq!(written(write_millis_of_seconds, "1e300"), i64::MAX.to_string());
}

#[test]
fn bounds_are_floats() {
    for (value, canonical) in [
        ("1", "1.0"),
        ("+5", "5.0"),
        ("Inf", "+Inf"),
        ("+inf", "+Inf"),
        ("-Inf", "-Inf"),
        ("0.5", "0.5"),
        ("1e3", "1e3"),
        ("-2", "-2.0"),
    ] {
        assert_eq!(&*canonical_float(value.as_bytes()), canonical.as_bytes());
    }
}

proptest! {
    #[test]
    fn millis_survive_the_way_to_seconds_and_back(millis in 0_i64..) {
        let millis = millis.to_string();
        prop_assert_eq!(written(write_millis_of_seconds, &written(seconds_of_millis, &millis)), millis);
    }
}
