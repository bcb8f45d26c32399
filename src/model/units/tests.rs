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
