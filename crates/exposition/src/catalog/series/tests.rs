use super::*;
use crate::catalog::paged::Id;
use proptest::prelude::*;

#[test]
fn holders_come_and_go() {
    let [a, b, c] = [0, 1, 2].map(Id::nth);
    for index in [SeriesIndex::default(), SeriesIndex::Hashed(Arc::default())] {
        let mut index = index;
        assert_eq!(index.claim(7, a), None);
        assert_eq!(index.claim(7, a), None);
        assert_eq!(index.claim(7, b), Some(a));
        assert_eq!(index.add_holder(7, b), Some(a));
        assert_eq!(index.add_holder(7, c), None);
        assert_eq!(index.holders(7), [a, b, c]);
        assert_eq!(index.release(7, a), (true, None));
        assert_eq!(index.claim(7, a), Some(b));
        assert_eq!(index.release(7, c), (true, Some(b)));
        assert!(index.holders(7).is_empty());
        assert_eq!(index.release(7, c), (false, None));
        assert_eq!(index.len(), 1);
        assert_eq!(index.release(7, b), (false, None));
        assert_eq!(index.claim(7, c), None);
    }
}

proptest! {
    #[test]
    fn a_list_that_grows_stays_what_it_was(steps in proptest::collection::vec((0_u64..12, 0_u32..5, any::<bool>()), 0..120)) {
        let (mut index, mut hashed) = (SeriesIndex::default(), SeriesIndex::Hashed(Arc::default()));
        for (series, app, comes) in steps {
            let app = Id::nth(app);
            let both = [&mut index, &mut hashed].map(|index| {
                if !comes {
                    return index.release(series, app);
                }
                let holder = index.claim(series, app);
                let shares = holder.is_some() && !index.holders(series).contains(&app);
                (holder.is_some(), if shares { index.add_holder(series, app) } else { None })
            });
            prop_assert_eq!(both[0].1, both[1].1);
            prop_assert_eq!(index.len(), hashed.len());
            prop_assert_eq!(index.holders(series), hashed.holders(series));
        }
    }
}
