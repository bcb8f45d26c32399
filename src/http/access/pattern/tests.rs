use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, name: &str) -> bool {
    AppPattern::new(pattern).matches(name)
}

#[test]
fn a_star_stands_for_any_characters() {
    for (pattern, name) in [
        ("a", "a"),
        ("*", ""),
        ("*", "anything"),
        ("team-a-*", "team-a-"),
        ("team-a-*", "team-a-web/1"),
        ("*-db", "x-db"),
        ("a*b*c", "abbc"),
        ("a*b*c", "a-b-c"),
        ("a**", "ab"),
        ("é*", "é!"),
    ] {
        assert!(matches(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [
        ("a", "ab"),
        ("a", "A"),
        ("team-a-*", "team-a"),
        ("team-a-*", "xteam-a-b"),
        ("*-db", "x-db2"),
        ("a*b*c", "acb"),
        ("a*a", "a"),
        ("ab*ba", "aba"),
        ("", "a"),
    ] {
        assert!(!matches(pattern, name), "{pattern} {name}");
    }
}

/// The definition, without care for time.
fn by_definition(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|at| by_definition(rest, &name[at..])),
        Some((c, rest)) => name
            .split_first()
            .is_some_and(|(first, name)| first == c && by_definition(rest, name)),
    }
}

proptest! {
    #[test]
    fn it_matches_as_defined(pattern in "[abé*]{0,7}", name in "[abé]{0,9}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(matches(&pattern, &name), by_definition(&chars(&pattern), &chars(&name)));
    }
}
