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
