use super::*;

#[test]
fn what_went_in_is_found_and_nothing_else() {
    let mut table = HashTable::default();
    table.reset(0);
    let hash = |n: u32| u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for n in 0..10_000 {
        assert_eq!(table.find_or_insert(hash(n), n, |it| it == n), None);
    }
    for n in 0..20_000 {
        assert_eq!(table.find(hash(n), |it| it == n), (n < 10_000).then_some(n));
    }
    table.reset(0);
    assert_eq!(table.find(hash(1), |_| true), None);
}

#[test]
fn equal_hashes_are_told_apart() {
    let mut table = HashTable::default();
    table.reset(0);
    for n in 0..100 {
        assert_eq!(table.find_or_insert(7, n, |it| it == n), None);
    }
    assert_eq!(table.find_or_insert(7, 200, |it| it == 42), Some(42));
}
