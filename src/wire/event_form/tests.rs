#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;

fn labels(query: &str, body: &str) -> String {
    parse(query.as_bytes(), body.as_bytes()).unwrap().labels.as_str().to_owned()
}

fn value(query: &str) -> f64 {
    parse(query.as_bytes(), b"").unwrap().value
}

fn fault(query: &str, body: &str) -> EventError {
    parse(query.as_bytes(), body.as_bytes()).unwrap_err()
}

#[test]
fn query_and_body_make_one_event() {
    assert_eq!(labels("b=2&a=1", "c=3"), "a=\"1\",b=\"2\",c=\"3\"");
    assert_eq!(labels("", ""), "");
    assert_eq!(
        labels("my+label=x+y%20z&other%20one=%C3%B6%22%5C%0A", ""),
        "my_label=\"x y z\",other_one=\"ö\\\"\\\\\\n\""
    );
    assert_eq!(labels("a=1=2&b=%zz", ""), "a=\"1=2\",b=\"%zz\"");
}

#[test]
fn an_empty_value_is_no_label() {
    assert_eq!(labels("a=&b&bad-name=&c=1&&=", "a=2"), "a=\"2\",c=\"1\"");
}

#[test]
fn the_value_is_a_number() {
    assert_eq!((value("a=1"), value("value=1.5"), value("value=-2e3")), (1.0, 1.5, -2000.0));
    assert_eq!((value("value=+7"), value("value=%2BInf")), (7.0, f64::INFINITY));
    assert!(value("value=NaN").is_nan());
    assert_eq!(fault("value=abc", ""), EventError::Value("abc".into()));
    assert_eq!(fault("value=", ""), EventError::Value(String::new()));
    assert_eq!(fault("value", ""), EventError::Value(String::new()));
    assert_eq!(fault("value=1", "value=1"), EventError::Duplicate("value".into()));
}

#[test]
fn the_label_to_blame_is_named() {
    assert_eq!(fault("bad-name=1", ""), EventError::Name("bad-name".into()));
    assert_eq!(fault("", "=1"), EventError::Name(String::new()));
    assert_eq!(fault("_+x=1", ""), EventError::Reserved("__x".into()));
    assert_eq!(fault("a+b=1", "a_b=2"), EventError::Duplicate("a_b".into()));
    assert_eq!(fault("a=%ff", ""), EventError::NotUtf8("a".into()));
    assert_eq!(fault("%ff=1", ""), EventError::NotUtf8("%ff".into()));
    assert_eq!(fault(&format!("a=1&b={}", "x".repeat(MAX_EVENT_BYTES)), "").label(), "b");
    let many: String = (0..=MAX_EVENT_LABELS).map(|n| format!("l{n}=1&")).collect();
    assert_eq!(fault(&many, ""), EventError::TooMany("l64".into()));
    assert_eq!(fault(&format!("{}-=1", "x".repeat(500)), "").label().len(), 80);
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

proptest! {
    #[test]
    fn any_text_survives(values in proptest::collection::btree_map("[a-zA-Z][a-z0-9_]{0,5}", ".{1,20}", 0..6), number: f64) {
        prop_assume!(!values.contains_key(VALUE));
        let form: String = values.iter().map(|(name, value)| format!("{name}={}&", encode(value))).collect();
        let event = parse(form.as_bytes(), format!("value={}", encode(&number.to_string())).as_bytes()).unwrap();
        let back: std::collections::BTreeMap<_, _> = event.labels.iter().map(|(name, value)| (name.to_owned(), value)).collect();
        prop_assert_eq!(back, values);
        prop_assert!(event.value.to_bits() == number.to_bits() || (event.value.is_nan() && number.is_nan()));
    }

    #[test]
    fn no_bytes_do_harm(query: Vec<u8>, body in "[a-c=&%+_ f0-9-]{0,60}") {
        if let Ok(event) = parse(&query, body.as_bytes()) {
            let again = LabelSet::new(event.labels.iter().map(|(name, value)| (name.to_owned(), value)).collect()).unwrap();
            prop_assert_eq!(again, event.labels);
        }
    }
}
