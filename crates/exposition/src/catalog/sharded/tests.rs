use super::*;

fn hash(value: &u64) -> u64 {
    (value ^ (value >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[test]
fn values_come_and_go_and_a_clone_stays() {
    let mut table = ShardedTable::default();
    for value in 0..100_000_u64 {
        table.insert(hash(&value), value, hash);
    }
    let clone = table.clone();
    for value in 0..99_000_u64 {
        assert_eq!(table.remove(hash(&value), |it| *it == value, hash), Some(value));
        assert_eq!(table.remove(hash(&value), |it| *it == value, hash), None);
    }
    assert_eq!((table.len(), clone.len()), (1_000, 100_000));
    for value in 0..100_000_u64 {
        assert_eq!(table.find(hash(&value), |it| *it == value).is_some(), value >= 99_000);
        assert!(clone.find(hash(&value), |it| *it == value).is_some());
    }
    for value in 99_000..100_000_u64 {
        table.remove(hash(&value), |it| *it == value, hash);
    }
    assert_eq!((table.len(), table.iter().count()), (0, 0));
}

#[test]
fn a_change_copies_a_small_table_however_large_the_whole() {
    let mut table = ShardedTable::default();
    for value in 0..1_000_000_u64 {
        table.insert(hash(&value), value, hash);
    }
    let largest = |table: &ShardedTable<u64>| {
        let tables = table.shards.iter().flat_map(|shard| shard.tables.iter());
        tables.map(|table| table.len()).max()
    };
    assert!(largest(&table) < Some(2 * DIVIDE_AT), "{:?}", largest(&table));
    let shards = |table: &ShardedTable<u64>| table.shards.iter().map(|shard| shard.tables.len()).sum::<usize>();
    let most = shards(&table);
    for value in 0..990_000_u64 {
        table.remove(hash(&value), |it| *it == value, hash);
    }
    assert!(shards(&table) * 8 < most, "{} of {most} tables are left", shards(&table));
    assert!((990_000..1_000_000_u64).all(|value| table.find(hash(&value), |it| *it == value).is_some()));
}

proptest::proptest! {
    #[test]
    fn a_table_has_what_a_set_has(steps in proptest::collection::vec((0..12_000_u64, 0..200_u64, proptest::bool::weighted(0.8)), 0..60)) {
        let mut set = std::collections::BTreeSet::new();
        let mut table = ShardedTable::default();
        let mut clones = Vec::new();
        for (start, count, adds) in steps {
            for value in start..start + count {
                let found = table.find(hash(&value), |it| *it == value).is_some();
                proptest::prop_assert_eq!(found, set.contains(&value));
                if adds && !found {
                    table.insert(hash(&value), value, hash);
                    set.insert(value);
                } else if !adds {
                    proptest::prop_assert_eq!(table.remove(hash(&value), |it| *it == value, hash).is_some(), set.remove(&value));
                }
            }
            clones.push((table.clone(), set.clone()));
        }
        for (table, set) in clones {
            let values: std::collections::BTreeSet<u64> = table.iter().copied().collect();
            proptest::prop_assert_eq!(table.len(), set.len());
            proptest::prop_assert_eq!(values, set);
        }
    }
}
