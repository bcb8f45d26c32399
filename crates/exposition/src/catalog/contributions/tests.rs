use super::*;
use crate::family::{FamilyFlags, Suffix};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn contribution(kind: MetricType, since: u64, labelled: bool) -> Contribution {
    Contribution {
        since: since.into(),
        at: 0,
        text: StoredTextFamily::from(TextFamily {
            family: 0,
            suffix: Suffix::Bare,
            names: FamilyFlags::BARE,
            kind,
            role: OpenMetricsRole { kind, primary: true },
            valid: labelled,
            quoted: false,
            has_unit: false,
            other_records: labelled,
        }),
        derived: false,
        bytes: 10,
        duplicates: 0,
        labelled,
        taken: u8::from(labelled),
        counted_in_conflict: false,
    }
}

proptest! {
    #[test]
    fn contributions_are_a_map_with_sums(
        steps in proptest::collection::vec((0_u32..400, 0_usize..3, any::<bool>(), 0..3), 0..600),
        apps in 1_u32..400,
    ) {
        let (mut contributions, mut model) = (Contributions::default(), BTreeMap::new());
        for (since, (app, kind, labelled, action)) in (0..).zip(steps) {
            let app = Id::nth(app % apps);
            let new = contribution(MetricType::ALL[kind], since, labelled);
            match (model.contains_key(&app), action) {
                (true, 0) => {
                    prop_assert!(contributions.remove(app).is_some());
                    model.remove(&app);
                }
                (true, _) => {
                    contributions.change(app, |it| *it = new.clone());
                    model.insert(app, new);
                }
                (false, _) => {
                    contributions.insert(app, new.clone());
                    model.insert(app, new);
                }
            }
            contributions.check_invariants();
        }
        let ages = |it: &mut dyn Iterator<Item = (AppId, &Contribution)>| it.map(|(app, it)| (app, it.since)).collect::<Vec<_>>();
        let all = ages(&mut model.iter().map(|(app, it)| (*app, it)));
        prop_assert_eq!(ages(&mut contributions.iter()), all.clone());
        let (from, to) = (Id::nth(apps / 3), Id::nth(apps / 2));
        let within: Vec<_> = all.into_iter().filter(|(app, _)| *app >= from && *app < to).collect();
        prop_assert_eq!(ages(&mut contributions.among(AppRange::Range(from, Some(to)))), within);
    }
}
