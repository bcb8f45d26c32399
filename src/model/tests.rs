use super::*;

#[test]
fn names_are_bounded_and_printable() {
    assert!(AppName::new("a b/ö").is_ok());
    assert_eq!(AppName::new(""), Err(AppNameError::Empty));
    assert!(AppName::new(&"x".repeat(255)).is_ok());
    assert_eq!(AppName::new(&"x".repeat(256)), Err(AppNameError::TooLong(256)));
    assert_eq!(AppName::new("ab\n"), Err(AppNameError::Control(10, 2)));
    assert_eq!(AppName::new("\u{85}"), Err(AppNameError::Control(0x85, 0)));
}

#[test]
fn a_content_type_names_a_syntax_or_none() {
    for (value, expected) in [
        (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Some(Syntax::OpenMetrics),
        ),
        ("Application/OpenMetrics-Text", Some(Syntax::OpenMetrics)),
        ("text/plain; charset=utf-8; Version=0.0.4", Some(Syntax::Text)),
        ("text/plain; charset=utf-8", Some(Syntax::Text)),
        (" TEXT/plain ", Some(Syntax::Text)),
        ("text/plain2", None),
        ("text/html", None),
        ("application/x-www-form-urlencoded", None),
        ("", None),
        (";;", None),
    ] {
        assert_eq!(Syntax::from_content_type(value), expected, "{value}");
    }
}

#[test]
fn a_set_of_topics_is_one() {
    let two: Topics = [Topic::Poll, Topic::Bitswap, Topic::Poll].into_iter().collect();
    assert_eq!(two.to_string(), "poll, bitswap");
    assert!(two.contains(Topic::Poll) && !two.contains(Topic::OneShot));
    assert!(Topics::ALL.includes(two) && !two.includes(Topics::ALL) && two.includes(Topics::default()));
    assert_eq!(two.intersection(Topics::only(Topic::Bitswap)), Topics::only(Topic::Bitswap));
    assert_eq!(two.union(Topics::ALL), Topic::ALL.into_iter().collect());
    assert!(Topics::default().is_empty() && !two.is_empty());
    assert!(Topic::ALL.iter().all(|topic| Topic::named(topic.as_str()) == Some(*topic)));
    assert_eq!(Topic::named("connection_event"), None);
}

#[test]
fn time_never_runs_backwards_in_an_age() {
    let (a, b) = (Timestamp::from_millis(1_000), Timestamp::from_millis(3_500));
    assert_eq!(b.since(a), Duration::from_millis(2_500));
    assert_eq!(a.since(b), Duration::ZERO);
}
