#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn aliases_fit_into_paths_and_the_targets_file() {
    for good in ["a", "host.example", "my host-1", "ö", &"x".repeat(255)] {
        assert_eq!(Alias::new(good).unwrap().as_str(), good);
    }
    for (bad, why) in [
        ("", AliasError::Empty),
        ("a:b", AliasError::Forbidden(':')),
        ("a/b", AliasError::Forbidden('/')),
        ("a\n", AliasError::Forbidden('\n')),
        ("..", AliasError::Dots),
        (&"x".repeat(256), AliasError::TooLong(256)),
    ] {
        assert_eq!(Alias::new(bad), Err(why));
    }
}

#[test]
fn the_refusal_of_a_wrong_secret_says_what_to_do_over_both_transports() {
    for text in ["Unauthorised", "Unauthorised: wrong shared secret"] {
        assert!(explain_refusal(text.to_owned()).contains("p2p.secret_file"), "{text}");
    }
    assert_eq!(explain_refusal("other".to_owned()), "other");
}
