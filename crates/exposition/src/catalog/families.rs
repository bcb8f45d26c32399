//! All families by key.

use std::borrow::Cow;
use std::sync::Arc;

use super::app::{App, AppId};
use super::entry::{FamilyEntry, FamilyRef, Key, Placement, SharedFamily};
use super::paged::{Id, Slab};
use super::sharded::ShardedTable;
use crate::family::Suffix;
use crate::hash::name_hash;

/// Suffixes and [`Suffix::Bare`].
const SUFFIXES: usize = Suffix::NAMED.len() + 1;

/// Suffixes by which a histogram or summary owns sample names.
pub(super) const SAMPLE_SUFFIXES: [Suffix; 3] = [Suffix::Bucket, Suffix::Sum, Suffix::Count];

/// Shared families a page: copying a page takes some microseconds.
const SHARED_SLOTS: usize = 128;

/// The families of all apps, found by their keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Families {
    entries: Slab<FamilyEntry>,
    shared: Slab<SharedFamily, SHARED_SLOTS>,
    /// Ids with a part of the hashes of their keys; the keys themselves are in the entries or in the apps' texts.
    keys: ShardedTable<(u32, Id<FamilyEntry>)>,
    suffixes: SuffixCounts,
}

/// The number of keys by the last two suffixes of each, so that names which cannot exist are not looked up.
#[derive(Debug, Clone, Copy, Default)]
struct SuffixCounts {
    /// By the last suffix.
    last: [u32; SUFFIXES],
    /// By the last but one and the last.
    pairs: [[u32; SUFFIXES]; SUFFIXES],
}

impl SuffixCounts {
    fn of(key: &[u8]) -> (usize, usize) {
        let Some((base, last)) = Suffix::split(key) else { return (0, 0) };
        (Suffix::split(base).map_or(0, |(_, suffix)| suffix as usize), last as usize)
    }

    fn add(&mut self, key: &[u8]) {
        let (before, last) = Self::of(key);
        self.last[last] += 1;
        self.pairs[before][last] += 1;
    }

    fn remove(&mut self, key: &[u8]) {
        let (before, last) = Self::of(key);
        self.last[last] -= 1;
        self.pairs[before][last] -= 1;
    }

    /// True if a key can end with both suffixes.
    const fn may_end(&self, claim: Suffix, part: Suffix) -> bool {
        match (claim, part) {
            (Suffix::Bare, Suffix::Bare) => true,
            (suffix, Suffix::Bare) | (Suffix::Bare, suffix) => self.last[suffix as usize] > 0,
            (claim, part) => self.pairs[claim as usize][part as usize] > 0,
        }
    }
}

/// The part of a key's hash that the table keeps.
#[allow(clippy::cast_possible_truncation, reason = "half of the hash is kept")]
fn fragment(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// The table's own hash, from what it keeps of a key's.
fn table_hash(fragment: u32) -> u64 {
    let hash = u64::from(fragment).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

impl Families {
    /// The key of an entry.
    pub(super) fn key<'a>(&'a self, apps: &'a Slab<Arc<App>>, id: Id<FamilyEntry>) -> Cow<'a, [u8]> {
        match self.key_place(id) {
            Ok((app, at)) => {
                let app = &apps[app];
                app.families[at as usize].text().key(&app.exposition)
            }
            Err(key) => Cow::Borrowed(key),
        }
    }

    /// The place of the family that has the key of an entry, or else the key.
    fn key_place(&self, id: Id<FamilyEntry>) -> Result<(AppId, u32), &[u8]> {
        match self.entry(id) {
            FamilyRef::Private { app, at } => Ok((app, at)),
            FamilyRef::Shared(shared) => match &shared.key {
                Key::Declared { app, at } => Ok((*app, *at)),
                Key::Owned(key) => Err(key),
            },
        }
    }

    fn has_key(&self, apps: &Slab<Arc<App>>, id: Id<FamilyEntry>, key: &[u8]) -> bool {
        match self.key_place(id) {
            Ok((app, at)) => {
                let app = &apps[app];
                app.families[at as usize].text().has_key(&app.exposition, key)
            }
            Err(own) => *own == *key,
        }
    }

    /// The number of entries.
    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// All entries.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id<FamilyEntry>, FamilyRef<'_>)> {
        self.entries.iter().map(|(id, _)| (id, self.entry(id)))
    }

    /// An entry that may be gone.
    pub(super) fn get(&self, id: Id<FamilyEntry>) -> Option<FamilyRef<'_>> {
        Some(match *self.entries.get(id)? {
            FamilyEntry::Private { app, at } => FamilyRef::Private { app, at },
            FamilyEntry::Shared(shared) => FamilyRef::Shared(&self.shared[shared]),
        })
    }

    /// An entry that is there.
    pub(super) fn entry(&self, id: Id<FamilyEntry>) -> FamilyRef<'_> {
        self.get(id).expect("an id is dropped together with its entry")
    }

    /// The shared family of an entry that may be gone, to change it.
    pub(super) fn shared_mut(&mut self, id: Id<FamilyEntry>) -> Option<&mut SharedFamily> {
        match *self.entries.get(id)? {
            FamilyEntry::Private { .. } => None,
            FamilyEntry::Shared(shared) => self.shared.get_mut(shared),
        }
    }

    /// Makes a private family a shared one without contributions.
    pub(super) fn share(&mut self, id: Id<FamilyEntry>, placement: Placement) {
        if let FamilyEntry::Private { app, at } = self.entries[id] {
            let shared = self.shared.insert(SharedFamily::new(Key::Declared { app, at }, placement));
            self.entries[id] = FamilyEntry::Shared(shared);
        }
    }

    /// Notes the new place of an app's family before the app is replaced, where the key of an entry is there.
    pub(super) fn renumber(&mut self, id: Id<FamilyEntry>, app: AppId, at: u32) {
        // A page is not copied where the place is the same as before.
        if self.key_place(id).is_ok_and(|(owner, old)| owner == app && old != at) {
            match self.shared_mut(id) {
                Some(shared) => shared.key = Key::Declared { app, at },
                None => self.entries[id] = FamilyEntry::Private { app, at },
            }
        }
    }

    /// Finds another place for the key of a shared family before the app is replaced that no longer has the family.
    pub(super) fn leave_key(&mut self, id: Id<FamilyEntry>, app: AppId, key: &[u8]) {
        if self.key_place(id).is_ok_and(|(owner, _)| owner == app)
            && let Some(shared) = self.shared_mut(id)
        {
            // Two are enough to find one for most families, and looking at all takes a while.
            let mut others = shared
                .contributions
                .iter()
                .take(2)
                .filter(|(other, it)| *other != app && !it.derived);
            shared.key = match others.next() {
                Some((app, it)) => Key::Declared { app, at: it.at },
                None => Key::Owned(key.into()),
            };
        }
    }

    /// The entry with this key.
    pub(super) fn find(&self, apps: &Slab<Arc<App>>, key: &[u8]) -> Option<Id<FamilyEntry>> {
        self.find_hashed(apps, name_hash(key), key)
    }

    /// The entry with this key and its hash.
    pub(super) fn find_hashed(&self, apps: &Slab<Arc<App>>, hash: u64, key: &[u8]) -> Option<Id<FamilyEntry>> {
        let kept = fragment(hash);
        let same = |(other, id): &(u32, Id<FamilyEntry>)| *other == kept && self.has_key(apps, *id, key);
        self.keys.find(table_hash(kept), same).map(|(_, id)| *id)
    }

    /// The entry with the key `base` and two suffixes.
    pub(super) fn find_suffixed(&self, apps: &Slab<Arc<App>>, base: &[u8], claim: Suffix, part: Suffix) -> Option<Id<FamilyEntry>> {
        if !self.suffixes.may_end(claim, part) {
            return None;
        }
        let (claim, part) = (claim.as_str().as_bytes(), part.as_str().as_bytes());
        let mut short = [0; 192];
        let len = base.len() + claim.len() + part.len();
        if let Some(name) = short.get_mut(..len) {
            name[..base.len()].copy_from_slice(base);
            name[base.len()..len - part.len()].copy_from_slice(claim);
            name[len - part.len()..].copy_from_slice(part);
            return self.find(apps, name);
        }
        self.find(apps, &[base, claim, part].concat())
    }

    /// Adds a private family under a key that has none.
    pub(super) fn insert_private(&mut self, hash: u64, key: &[u8], app: AppId, at: u32) -> Id<FamilyEntry> {
        self.insert(hash, key, FamilyEntry::Private { app, at })
    }

    /// Adds a shared family without contributions under a key that has none.
    pub(super) fn insert_shared(&mut self, key: &[u8], placement: Placement) -> Id<FamilyEntry> {
        let shared = self.shared.insert(SharedFamily::new(Key::Owned(key.into()), placement));
        self.insert(name_hash(key), key, FamilyEntry::Shared(shared))
    }

    fn insert(&mut self, hash: u64, key: &[u8], entry: FamilyEntry) -> Id<FamilyEntry> {
        let id = self.entries.insert(entry);
        let kept = fragment(hash);
        self.keys.insert(table_hash(kept), (kept, id), |(kept, _)| table_hash(*kept));
        self.suffixes.add(key);
        id
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, id: Id<FamilyEntry>, key: &[u8]) {
        let kept = fragment(name_hash(key));
        self.keys
            .remove(table_hash(kept), |(_, other)| *other == id, |(kept, _)| table_hash(*kept));
        self.suffixes.remove(key);
        if let Some(FamilyEntry::Shared(shared)) = self.entries.remove(id) {
            self.shared.remove(shared);
        }
    }

    /// Calls `found` with each entry that can be in conflict because of a family of this key: those of which it could be a sample name,
    /// and those that could be its sample names.
    pub(super) fn related_names(&self, apps: &Slab<Arc<App>>, key: &[u8], mut found: impl FnMut(Id<FamilyEntry>)) {
        if let Some((base, Suffix::Bucket | Suffix::Sum | Suffix::Count)) = Suffix::split(key)
            && let Some(id) = self.find(apps, base)
        {
            found(id);
        }
        for suffix in SAMPLE_SUFFIXES {
            if let Some(id) = self.find_suffixed(apps, key, suffix, Suffix::Bare) {
                found(id);
            }
        }
    }

    /// Calls `found` with each entry that can have another form under OpenMetrics because of a family of this key: those that share a base
    /// name with it, or claim its base name.
    pub(super) fn dependents(&self, apps: &Slab<Arc<App>>, key: &[u8], mut found: impl FnMut(Id<FamilyEntry>)) {
        const PARTS: [Suffix; 7] = [
            Suffix::Bare,
            Suffix::Total,
            Suffix::Created,
            Suffix::Info,
            Suffix::Bucket,
            Suffix::GCount,
            Suffix::GSum,
        ];
        const CLAIMS: [Suffix; 7] = [
            Suffix::Bare,
            Suffix::Created,
            Suffix::Bucket,
            Suffix::Sum,
            Suffix::Count,
            Suffix::GCount,
            Suffix::GSum,
        ];
        let stripped = Suffix::split(key)
            .filter(|(_, suffix)| PARTS.contains(suffix))
            .map(|(base, _)| base);
        for base in std::iter::once(key).chain(stripped) {
            for claim in CLAIMS {
                for part in PARTS {
                    if let Some(id) = self.find_suffixed(apps, base, claim, part) {
                        found(id);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
