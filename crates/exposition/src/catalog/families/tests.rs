use super::*;

#[test]
fn entries_are_small() {
    assert!(size_of::<Option<FamilyEntry>>() <= 16, "{}", size_of::<Option<FamilyEntry>>());
    assert!(size_of::<super::super::app::AppFamily>() <= 32);
    assert!(
        size_of::<super::super::entry::SharedFamily>() <= 216,
        "{}",
        size_of::<super::super::entry::SharedFamily>()
    );
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
