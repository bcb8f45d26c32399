//! The invariants of the catalog, checked after every step of the model tests.

use std::collections::BTreeMap;

use super::Catalog;
use super::entry::{Entry, KINDS, MAX_RANKS, Placement, Shared, kind_index};
use super::text_family::OpenMetricsRole;
use crate::exposition::MetricType;

impl Catalog {
    /// Panics where a table contradicts another one.
    pub(crate) fn check_invariants(&self) {
        self.check_apps();
        for (id, entry) in self.families.entries.iter() {
            let key = self.families.key(&self.apps.slots, id);
            assert_eq!(self.find(&key), Some(id), "{} is found by its key", String::from_utf8_lossy(&key));
            assert_eq!(
                entry.in_conflict(),
                self.is_contradicted(id),
                "conflict of {}",
                String::from_utf8_lossy(&key)
            );
            if let Entry::Private { app, at } = entry {
                let family = &self.apps.slots[*app].families[*at as usize];
                assert!(
                    family.entry == id && !family.shared,
                    "a private entry and its family name each other"
                );
            }
            if let Entry::Shared(shared) = entry {
                self.check_counts(shared);
                self.check_members(id, shared);
                self.check_placement(id, shared);
            }
        }
        let shared = || self.families.entries.iter().filter_map(|(_, entry)| entry.shared());
        let counts = super::Counts {
            families: self.apps.slots.iter().map(|(_, app)| app.families.len()).sum(),
            shared: shared().count(),
            contributions: shared().map(|shared| shared.contributions.len()).sum(),
            series: shared().map(|shared| shared.series.len()).sum(),
        };
        assert_eq!(self.counts, counts);
        for (_, group) in self.layout.groups.iter() {
            let sizes = group.families.iter().filter_map(|id| self.shared(*id));
            assert_eq!(
                group.segment.bytes,
                sizes.map(|shared| shared.bytes).sum::<usize>(),
                "the size of a group"
            );
        }
        let grouped: usize = self.layout.groups.iter().map(|(_, group)| group.families.len()).sum();
        let shared = self.families.entries.iter().filter(|(_, entry)| entry.shared().is_some()).count();
        assert_eq!(grouped + self.layout.large.len(), shared, "each shared family has one place");
    }

    fn check_apps(&self) {
        for (id, app) in self.apps.slots.iter() {
            if !app.own {
                assert!(
                    self.apps.find(app.name.as_str()).is_none_or(|found| found == id),
                    "an app is found by its name"
                );
            }
            let (mut duplicates, mut conflicts, mut private) = (0, 0, 0);
            for (at, family) in (0_u32..).zip(app.families.iter()) {
                match &self.families.entries[family.entry] {
                    Entry::Private { app: owner, at: place } => {
                        assert!(*owner == id && *place == at && !family.shared, "a private family is its app's");
                        private += family.text.size(&app.exposition) as usize;
                    }
                    Entry::Shared(shared) => {
                        let mine = shared.contributions.get(id).expect("an app contributes to its families");
                        assert!(family.shared && mine.at == at && !mine.derived && mine.text == family.text);
                        assert_eq!(mine.labelled, family.labelled && !app.own, "label of {}", app.name);
                        conflicts += u32::from(mine.counted_in_conflict);
                        duplicates += u64::from(mine.duplicates);
                    }
                }
            }
            for derived in self.derived_entries(app) {
                let mine = self.shared(derived).and_then(|shared| shared.contributions.get(id));
                duplicates += u64::from(mine.expect("a family in conflict has derived contributions").duplicates);
            }
            assert_eq!(
                (app.duplicates, app.conflicts, app.private_bytes),
                (duplicates, conflicts, private),
                "sums of {}",
                app.name
            );
        }
    }

    fn check_counts(&self, shared: &Shared) {
        let (mut kinds, mut derived, mut taken) = ([0; KINDS], 0, [0; MAX_RANKS]);
        let mut roles: BTreeMap<(usize, bool), u32> = BTreeMap::new();
        let key = |role: OpenMetricsRole| (kind_index(role.kind), role.primary);
        for (_, it) in shared.contributions.iter() {
            if it.derived {
                derived += 1;
            } else {
                kinds[kind_index(it.text.kind)] += 1;
            }
            *roles.entry(key(it.text.role)).or_default() += 1;
            (0..MAX_RANKS).for_each(|rank| taken[rank] += u32::from(it.taken >> rank & 1));
        }
        assert_eq!((shared.kinds, shared.derived, shared.taken), (kinds, derived, taken));
        assert_eq!(
            shared
                .roles
                .iter()
                .map(|(role, count)| (key(*role), *count))
                .collect::<BTreeMap<_, _>>(),
            roles
        );
        let count = |wanted: fn(&super::entry::Contribution) -> bool| {
            u32::try_from(shared.contributions.iter().filter(|(_, it)| wanted(it)).count()).unwrap_or(0)
        };
        assert_eq!(shared.labelled, count(|it| it.labelled));
        assert_eq!(shared.quoted, count(|it| it.text.quoted));
        assert_eq!(shared.units, count(|it| it.text.has_unit));
        assert_eq!(shared.invalid, count(|it| !it.text.valid));
        assert_eq!(
            shared.bytes,
            shared.contributions.iter().map(|(_, it)| it.bytes as usize).sum::<usize>()
        );
        assert_eq!(shared.by_age.is_some(), shared.states_several_kinds());
        let stated = shared
            .contributions
            .iter()
            .filter(|(_, it)| !it.derived && it.text.kind != MetricType::Unknown);
        if let Some(by_age) = &shared.by_age {
            let ages: std::collections::BTreeSet<_> = stated.map(|(app, it)| (it.since, app)).collect();
            assert_eq!(*by_age, ages);
        }
    }

    fn check_members(&self, id: super::paged::Id<Entry>, shared: &Shared) {
        assert!(!shared.contributions.is_empty(), "an entry goes with its last contribution");
        assert!(shared.contributions.iter().is_sorted_by_key(|(app, _)| app));
        assert_eq!(shared.contributions.len(), shared.contributions.iter().count());
        let mut holders: BTreeMap<u64, u32> = BTreeMap::new();
        for (app, it) in shared.contributions.iter() {
            let source = self.source(id, app).expect("a contribution has samples");
            source
                .identities()
                .into_iter()
                .for_each(|series| *holders.entry(series).or_default() += 1);
            assert_ne!(it.digest, 0, "a contribution is indexed");
            if it.derived {
                let declared = &self.apps.slots[app].families[it.at as usize];
                assert!(self.shared(declared.entry).is_some_and(|shared| shared.in_conflict));
            }
        }
        assert_eq!(shared.series.len(), holders.len(), "the index has each series once");
        for (app, it) in shared.contributions.iter() {
            let source = self.source(id, app).expect("a contribution has samples");
            let duplicates = source.identities().iter().filter(|series| holders[series] > 1).count();
            assert_eq!(it.duplicates as usize, duplicates);
        }
    }

    fn check_placement(&self, id: super::paged::Id<Entry>, shared: &Shared) {
        match &shared.placement {
            Placement::Group(group) => assert!(self.layout.groups[*group].families.binary_search(&id).is_ok()),
            Placement::Large(_) => assert!(self.layout.large.contains(&id) && shared.quoted == 0),
        }
    }
}
