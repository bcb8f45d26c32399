use super::*;

#[test]
fn only_names_that_may_be_added_pass() {
    for good in ["a", "app", "_a", "A9_b"] {
        assert_eq!(check(good), Ok(()));
    }
    for bad in ["", "9a", "a-b", "ä", "__name__", "le", "quantile", "a b"] {
        assert!(check(bad).is_err(), "{bad}");
    }
}
