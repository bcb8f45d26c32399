use super::*;

#[test]
fn entries_are_small() {
    assert_eq!(size_of::<Option<FamilyEntry>>(), 12);
    assert_eq!(size_of::<super::super::app::AppFamily>(), 24);
    assert_eq!(size_of::<super::super::contributions::Contributions>(), 72);
    assert_eq!(size_of::<Option<SharedFamily>>(), 144);
}

#[test]
fn only_names_that_can_exist_are_looked_up() {
    let mut counts = SuffixCounts::default();
    counts.add(b"a_count_total");
    assert!(counts.may_end(Suffix::Count, Suffix::Total) && counts.may_end(Suffix::Bare, Suffix::Total));
    assert!(!counts.may_end(Suffix::Sum, Suffix::Total) && !counts.may_end(Suffix::Count, Suffix::Bare));
    counts.remove(b"a_count_total");
    assert!(!counts.may_end(Suffix::Bare, Suffix::Total));
}
