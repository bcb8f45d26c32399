//! Names outside the legacy character set: detection, and escaping for scrapers that do not accept UTF-8 names.
//!
//! The rule is the `underscores` scheme of Prometheus's document on escaping schemes: each character that is not allowed at its
//! position in a legacy name becomes one underscore.

use std::borrow::Cow;

/// Returns true if `name` matches `[a-zA-Z_:][a-zA-Z0-9_:]*`, so that it needs no quotes.
#[must_use]
pub fn is_legacy_metric_name(name: &[u8]) -> bool {
    !name.is_empty() && !name[0].is_ascii_digit() && name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Returns true if `name` matches `[a-zA-Z_][a-zA-Z0-9_]*`, so that it needs no quotes.
#[must_use]
pub fn is_legacy_label_name(name: &[u8]) -> bool {
    !name.is_empty() && !name[0].is_ascii_digit() && name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Escapes a metric name by the underscores scheme.
#[must_use]
pub fn metric_name(name: &str) -> Cow<'_, str> {
    if is_legacy_metric_name(name.as_bytes()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(escaped(name, true))
    }
}

/// Escapes a label name by the underscores scheme; unlike in a metric name a colon is replaced too.
#[must_use]
pub fn label_name(name: &str) -> Cow<'_, str> {
    if is_legacy_label_name(name.as_bytes()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(escaped(name, false))
    }
}

fn escaped(name: &str, colon: bool) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let fits = |at: usize, c: char| match c {
        'a'..='z' | 'A'..='Z' | '_' => true,
        '0'..='9' => at > 0,
        ':' => colon,
        _ => false,
    };
    name.char_indices().map(|(at, c)| if fits(at, c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rule_by_example() {
        assert_eq!(metric_name("metric.name/with/slashes"), "metric_name_with_slashes");
        assert_eq!(metric_name("1st"), "_st");
        assert_eq!(metric_name("größe"), "gr__e");
        assert_eq!(metric_name("a:b"), "a:b");
        assert_eq!(label_name("a:b.c"), "a_b_c");
        assert_eq!(label_name("0"), "_");
        assert_eq!(metric_name(""), "_");
    }

    proptest! {
        #[test]
        fn whatever_comes_out_needs_no_quotes(name in ".{0,20}") {
            prop_assert!(is_legacy_metric_name(metric_name(&name).as_bytes()));
            prop_assert!(is_legacy_label_name(label_name(&name).as_bytes()));
        }

        #[test]
        fn legacy_names_stay(name in "[a-zA-Z_][a-zA-Z0-9_]{0,20}") {
            prop_assert!(matches!(metric_name(&name), Cow::Borrowed(_)));
            prop_assert!(matches!(label_name(&name), Cow::Borrowed(_)));
        }
    }
}
