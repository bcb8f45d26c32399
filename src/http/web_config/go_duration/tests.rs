use super::*;

#[test]
fn durations_are_those_of_go() {
    for (text, nanoseconds) in [
        ("0", Some(0)),
        ("1s", Some(1_000_000_000)),
        ("-1.5ms", Some(-1_500_000)),
        ("1h30m0.5s", Some(5_400_500_000_000)),
        (".5us", Some(500)),
        ("1.\u{b5}s", Some(1_000)),
        ("1d", None),
        ("1", None),
        ("s", None),
        (".s", None),
        ("", None),
        ("-", None),
        ("1s ", None),
        ("9999999999h", None),
    ] {
        assert_eq!(parse(text), nanoseconds, "{text:?}");
    }
}
