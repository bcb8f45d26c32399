//! The invariants of the catalog, checked after every step of the model tests.

use std::collections::BTreeMap;

use super::Catalog;
use super::entry::{FamilyEntry, FamilyRef, Key, Placement, SharedFamily};
use super::messages::message_names;

impl Catalog {
    /// Panics where a table contradicts another one.
    pub(crate) fn check_invariants(&self) {
        self.check_apps();
        for (id, entry) in self.families.iter() {
            let key = self.families.key(&self.apps.slots, id);
            assert_eq!(self.find(&key), Some(id), "{} is found by its key", String::from_utf8_lossy(&key));
            assert_eq!(
                entry.in_conflict(),
                self.is_contradicted(id),
                "conflict of {}",
                String::from_utf8_lossy(&key)
            );
            if let FamilyRef::Private { app, at } = entry {
                let family = &self.apps.slots[app].families[at as usize];
                assert!(
                    family.entry == id && !family.shared,
                    "a private entry and its family name each other"
                );
            }
            if let FamilyRef::Shared(shared) = entry {
                self.check_key(id, shared);
                shared.contributions.check_invariants();
                self.check_members(id, shared);
                self.check_placement(id, shared);
            }
        }
        let shared = || self.families.iter().filter_map(|(_, entry)| entry.shared());
        let counts = super::TableSizes {
            families: self.apps.slots.iter().map(|(_, app)| app.families.len()).sum(),
            shared: shared().count(),
            contributions: shared().map(|shared| shared.contributions.len()).sum(),
            series_bytes: shared().map(|shared| shared.series.bytes()).sum(),
        };
        assert_eq!(self.counts, counts);
        for (_, group) in self.layout.groups.iter() {
            let sizes = group.families.iter().filter_map(|id| self.shared(*id));
            assert_eq!(
                group.segment.bytes,
                sizes.map(|shared| shared.counts().bytes).sum::<usize>(),
                "the size of a group"
            );
        }
        let grouped: usize = self.layout.groups.iter().map(|(_, group)| group.families.len()).sum();
        let shared = self.families.iter().filter(|(_, entry)| entry.shared().is_some()).count();
        assert_eq!(grouped + self.layout.large.len(), shared, "each shared family has one place");
        assert_eq!(self.layout.lists.len(), self.layout.large.len(), "each large family has one list");
    }

    fn check_apps(&self) {
        let with_reserved = self.apps.slots.iter().filter(|(_, app)| !app.reserved.is_empty());
        assert!(
            with_reserved.map(|(id, _)| id).eq(self.apps.with_reserved.iter().copied()),
            "apps with reserved families are listed"
        );
        for (id, app) in self.apps.slots.iter() {
            if !app.own {
                assert!(
                    self.apps.find(app.name.as_str()).is_none_or(|found| found == id),
                    "an app is found by its name"
                );
            }
            let (mut duplicates, mut conflicts, mut private) = (0, 0, 0);
            for (at, family) in (0_u32..).zip(app.families.iter()) {
                match self.families.entry(family.entry) {
                    FamilyRef::Private { app: owner, at: place } => {
                        assert!(owner == id && place == at && !family.shared, "a private family is its app's");
                        private += family.text().size(&app.exposition) as usize;
                    }
                    FamilyRef::Shared(shared) => {
                        let mine = shared.contributions.get(id).expect("an app contributes to its families");
                        assert!(family.shared && mine.at == at && !mine.derived && mine.text() == family.text());
                        assert_eq!(mine.labelled, family.labelled && !app.own, "label of {}", app.name);
                        conflicts += u32::from(mine.counted_in_conflict);
                        duplicates += u64::from(mine.duplicates);
                    }
                }
            }
            if let Some(records) = app.exposition.records() {
                for record in records.families.iter() {
                    let of_record = app.families.iter().filter(|family| family.text().family == record.family);
                    let messages = of_record
                        .filter(|family| message_names(&app.exposition, &family.text()).is_some())
                        .count();
                    assert!(messages <= 1, "records go out once");
                    let is_left_out = app.reserved.contains(&record.family) || app.same_name.contains(&record.family);
                    assert!(messages == 1 || is_left_out, "records go out");
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

    fn check_key(&self, id: super::paged::Id<FamilyEntry>, shared: &SharedFamily) {
        if let Key::Declared { app, at } = shared.key {
            assert_eq!(
                self.apps.slots[app].families[at as usize].entry, id,
                "the key is that of a family of the entry"
            );
        }
    }

    fn check_members(&self, id: super::paged::Id<FamilyEntry>, shared: &SharedFamily) {
        assert!(!shared.contributions.is_empty(), "an entry goes with its last contribution");
        let mut holders: BTreeMap<u64, u32> = BTreeMap::new();
        for (app, it) in shared.contributions.iter() {
            let source = self.source(id, app).expect("a contribution has samples");
            source
                .identities()
                .into_iter()
                .for_each(|series| *holders.entry(series).or_default() += 1);
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
            assert_eq!(
                it.bytes,
                it.text().size(&self.apps.slots[app].exposition),
                "the size of a contribution"
            );
        }
    }

    fn check_placement(&self, id: super::paged::Id<FamilyEntry>, shared: &SharedFamily) {
        match &shared.placement {
            Placement::Group(group) => assert!(self.layout.groups[*group].families.binary_search(&id).is_ok()),
            Placement::Large(list) => {
                assert!(self.layout.large.contains(&id) && shared.counts().quoted == 0);
                assert!(self.layout.lists.get(*list).is_some(), "a large family has its segments");
            }
        }
    }
}
