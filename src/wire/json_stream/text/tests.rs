#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn unescaped(inside: &str) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let taken = unescape(inside.as_bytes(), &mut out);
    (out, taken)
}

#[test]
fn escapes_mean_what_rfc_8259_says() {
    assert_eq!(unescaped(r#"a\"\\\/\b\f\n\r\tz" tail"#), (b"a\"\\/\x08\x0c\n\r\tz".to_vec(), 19));
    assert_eq!(unescaped(r#"\u00e4\u20AC\ud83d\ude00""#).0, "ä€😀".as_bytes());
    assert_eq!(unescaped(r#"""#), (Vec::new(), 1));
}

#[test]
fn a_lone_surrogate_is_no_text() {
    for lone in [
        r#"\ud800""#,
        r#"\udc00""#,
        r#"\ud800x""#,
        r#"\ud800\ud800""#,
        r#"\ud83d\u0041""#,
        r#"\udbff\n""#,
    ] {
        let (out, taken) = unescaped(lone);
        assert!(str::from_utf8(&out).is_err(), "{lone}");
        assert_eq!(taken, lone.len(), "{lone}");
    }
    assert_eq!(unescaped(r#"\ud800\u0041""#).0.last(), Some(&b'A'));
}

proptest! {
    #[test]
    fn plain_stops_at_the_first_special_byte(bytes in prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'x')], 0..64)) {
        let slow = bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(bytes.len());
        prop_assert_eq!(plain(&bytes), slow);
    }

    #[test]
    fn any_text_survives_being_quoted(text in any::<String>()) {
        let quoted = serde_json::to_string(&text).unwrap();
        let (out, taken) = unescaped(&quoted[1..]);
        prop_assert_eq!(out, text.into_bytes());
        prop_assert_eq!(taken, quoted.len() - 1);
    }
}
