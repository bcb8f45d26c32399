use super::*;

fn hash(value: &u64) -> u64 {
    (value ^ (value >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[test]
fn values_come_and_go_and_a_clone_stays() {
    let mut table = ShardedTable::default();
    for value in 0..10_000_u64 {
        table.insert(hash(&value), value, hash);
    }
    let clone = table.clone();
    for value in 0..9_000_u64 {
        assert_eq!(table.remove(hash(&value), |it| *it == value, hash), Some(value));
        assert_eq!(table.remove(hash(&value), |it| *it == value, hash), None);
    }
    assert_eq!((table.len(), clone.len()), (1_000, 10_000));
    for value in 0..10_000_u64 {
        assert_eq!(table.find(hash(&value), |it| *it == value).is_some(), value >= 9_000);
        assert!(clone.find(hash(&value), |it| *it == value).is_some());
    }
    for value in 9_000..10_000_u64 {
        table.remove(hash(&value), |it| *it == value, hash);
    }
    assert_eq!((table.len(), table.iter().count()), (0, 0));
}
