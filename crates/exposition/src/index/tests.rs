use super::*;

#[test]
fn the_newest_timestamp_is_found_in_both_units() {
    let newest = |text: &'static str, syntax| Exposition::parse(text.into(), syntax).newest_timestamp();
    assert_eq!(newest("a 1 1395066363000\nb 1\nc 2 -5\n", Syntax::Text), Some(1_395_066_363_000));
    assert_eq!(newest("a 1 1520879607.789\n# EOF\n", Syntax::OpenMetrics), Some(1_520_879_607_789));
    assert_eq!(newest("a 1\n", Syntax::Text), None);
}
