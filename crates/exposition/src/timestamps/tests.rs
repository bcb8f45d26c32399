use super::*;

#[test]
fn both_units_are_understood() {
    assert_eq!(millis(b"1395066363000", Syntax::Text), Some(1_395_066_363_000));
    assert_eq!(millis(b"1520879607.789", Syntax::OpenMetrics), Some(1_520_879_607_789));
    assert_eq!(millis(b"-0.5", Syntax::OpenMetrics), Some(-500));
    assert_eq!(millis(b"1.5", Syntax::Text), None);
}
