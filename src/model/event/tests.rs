#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn labels_are_sorted_escaped_and_read_back() {
    let set = LabelSet::new(pairs(&[("b", "x\\\"\n\u{1F600},y=\"z\""), ("a", "1"), ("le", "5")])).unwrap();
    assert_eq!(set.as_str(), "a=\"1\",b=\"x\\\\\\\"\\n\u{1F600},y=\\\"z\\\"\",le=\"5\"");
    let back: Vec<_> = set.iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(back, pairs(&[("a", "1"), ("b", "x\\\"\n\u{1F600},y=\"z\""), ("le", "5")]));
    assert_eq!(LabelSet::new(vec![]).unwrap().iter().count(), 0);
    assert_eq!(LabelSet::from_text(set.as_str()), Some(set));
    for text in [
        "a",
        "a=\"",
        "a=\"1\"x",
        "b=\"1\",a=\"2\"",
        "a=\"\\",
        "a=\"1\",",
        "a=\"1\",a=\"1\"",
        "1=\"x\"",
    ] {
        assert_eq!(LabelSet::from_text(text), None, "{text}");
    }
}

#[test]
fn what_is_no_label_is_named() {
    let fail = |given: &[(&str, &str)]| LabelSet::new(pairs(given)).unwrap_err();
    assert_eq!(fail(&[("bad-name", "1")]), EventError::Name("bad-name".into()));
    assert_eq!(fail(&[("1a", "1")]).label(), "1a");
    assert_eq!(fail(&[("", "1")]), EventError::Name(String::new()));
    assert_eq!(fail(&[("__name__", "1")]), EventError::Reserved("__name__".into()));
    assert_eq!(fail(&[("a", "1"), ("b", ""), ("a", "2")]), EventError::Duplicate("a".into()));
    assert_eq!(fail(&[("a", &"x".repeat(MAX_EVENT_BYTES))]), EventError::TooLong("a".into()));
    let many: Vec<_> = (0..=MAX_EVENT_LABELS).map(|n| (format!("l{n}"), "1".to_owned())).collect();
    assert_eq!(LabelSet::new(many).unwrap_err(), EventError::TooMany("l64".into()));
}

#[test]
fn identities_are_bounded() {
    assert!(ScraperId::new(&"x".repeat(255)).is_ok());
    assert_eq!(ScraperId::new(&"x".repeat(256)), Err(IdError::TooLong { bytes: 256, max: 255 }));
    assert_eq!(ScraperId::new(""), Err(IdError::Empty));
    assert_eq!(IdempotencyKey::new("a\nb"), Err(IdError::Control));
}
