use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #[test]
    fn a_slab_is_a_map_and_a_clone_stays_as_it_was(steps in proptest::collection::vec((any::<bool>(), 0_u32..3_000), 0..2_000)) {
        let (mut slab, mut model, mut next) = (Slab::default(), BTreeMap::new(), 0);
        let snapshot = |slab: &Slab<u32>| slab.iter().map(|(id, value)| (id.0, *value)).collect::<Vec<_>>();
        let mut kept = None;
        for (insert, at) in steps {
            if insert {
                for _ in 0..at % 40 {
                    let id = slab.insert(next);
                    prop_assert_eq!(model.insert(id.0, next), None);
                    next += 1;
                }
            } else if let Some((&id, _)) = model.range(at % 700..).next() {
                prop_assert_eq!(slab.remove(Id::nth(id)), model.remove(&id));
            }
            if at == 7 {
                kept = Some((slab.clone(), snapshot(&slab)));
            }
            prop_assert_eq!(slab.last().map(|(id, _)| id.0), model.keys().next_back().copied());
            prop_assert_eq!(slab.before(Id::nth(at)).map(|(id, _)| id.0), model.range(..at).next_back().map(|(id, _)| *id));
        }
        prop_assert_eq!(slab.len(), model.len());
        prop_assert_eq!(snapshot(&slab), model.into_iter().collect::<Vec<_>>());
        if let Some((clone, expected)) = kept {
            prop_assert_eq!(snapshot(&clone), expected);
        }
    }
}

#[test]
fn a_paged_vec_keeps_its_order() {
    let mut values: PagedVec<usize> = (0..2_000).collect();
    let before = values.clone();
    *values.get_mut(1_500).expect("there are 2,000") = 7;
    assert_eq!((values[1_500], before[1_500], values.len()), (7, 1_500, 2_000));
    assert_eq!(before.iter().copied().collect::<Vec<_>>(), (0..2_000).collect::<Vec<_>>());
    assert_eq!(values.get(2_000), None);
}
