//! The families of all apps merged: contributions, types, help, duplicate series, conflicts, and the segments of responses.
//!
//! A state machine without lock, clock and I/O. Its tables are copy-on-write, so a clone is a cheap snapshot. A response is planned and
//! rendered on a snapshot, and an update that is too large to be applied at once is applied to a snapshot that then takes the place of the
//! original. Rendered segments are shared by all snapshots.
//!
//! The rules:
//! - Families are compared under their names in the text format (`text_family`).
//! - Where apps contradict each other about a family, its samples are exposed untyped, one family for each sample name (`conflicts`).
//! - The app that has had a family longest decides between counter, gauge and untyped; HELP is that of the first app by name (`ownership`).
//! - Series that two apps have get a disambiguating label, or the newest is exposed (`duplicates`).
//! - The form of a family under OpenMetrics depends on other families (`forms`); the text format never does.

mod app;
mod binding;
mod conflicts;
mod contributions;
mod cost;
mod duplicates;
mod entry;
mod families;
mod forms;
mod halves;
mod invalidation;
#[cfg(test)]
mod invariants;
mod messages;
mod ownership;
mod paged;
mod placement;
mod plan;
mod rules;
mod segment_items;
mod segments;
mod series;
mod sharded;
mod tail;
#[cfg(test)]
mod tests;
mod text_family;
mod update;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::app_name::AppName;
use crate::hash::name_hash;
use crate::index::Exposition;
use crate::memory::MemoryMeter;
use crate::render::{Chunk, OutputFormat};

use app::{App, AppId, MAX_REMEMBERED};
use entry::FamilyEntry;
use families::Families;
use paged::{Id, Slab};
use segments::{Group, Segment, SegmentList};
use sharded::ShardedTable;
use tail::Tails;

pub use conflicts::{Conflict, Conflicts, MAX_CONFLICTS_LISTED};
pub use plan::{Plan, PlannedSegment, RenderedSegments, Selection, render_single, unstated_types_of_single};
pub use rules::{Duplicates, Rules};
pub use update::{Outcome, Update};

/// An app without its families: its state, its name twice in tables, and the allocator's share.
const APP_BYTES: usize = 640;
/// A family of an app: its place in the app, its entry, and its slot in the table of keys, which is three quarters full on average.
const FAMILY_BYTES: usize = size_of::<app::AppFamily>() + size_of::<Option<FamilyEntry>>() + 16;
/// A shared family with two contributions: itself, and its place in a group.
const SHARED_BYTES: usize = size_of::<Option<entry::SharedFamily>>() + 8;
/// A contribution beyond two; pages of them are four fifths full on average.
const CONTRIBUTION_BYTES: usize = (size_of::<(AppId, contributions::Contribution)>()) * 5 / 4;

/// The families of all apps, merged. Cloning makes a snapshot for a few microseconds.
#[derive(Debug, Clone)]
pub struct Catalog {
    rules: Arc<Rules>,
    apps: Apps,
    families: Families,
    layout: Layout,
    /// The last version given out.
    version: u64,
    /// The number of updates so far.
    updates: u64,
    counts: TableSizes,
    /// Counts rendered text and its compressed forms.
    meter: MemoryMeter,
    /// The proxy's own families merged with the apps' families of the same names.
    tails: Arc<Tails>,
}

/// Sizes of the tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct TableSizes {
    /// Families of all apps.
    families: usize,
    /// Shared families.
    shared: usize,
    /// Contributions to shared entries.
    contributions: usize,
    /// About how many bytes the series indexes of shared entries take.
    series_bytes: usize,
}

/// The apps by id and by name.
#[derive(Debug, Clone, Default)]
struct Apps {
    slots: Slab<Arc<App>>,
    names: ShardedTable<AppId>,
    /// The apps with families that belong with the self metrics: a response lists these without looking at all apps.
    with_reserved: Arc<BTreeSet<AppId>>,
}

/// The segments of a response, in its order.
#[derive(Debug, Clone)]
struct Layout {
    /// The private families, app by app.
    private: SegmentList,
    /// Small shared families.
    groups: Slab<Arc<Group>>,
    /// Shared families with segments of their own.
    large: Arc<BTreeSet<Id<FamilyEntry>>>,
    /// The segments of these.
    lists: Slab<Arc<SegmentList>>,
}

impl Catalog {
    /// An empty catalog.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let meter = MemoryMeter::default();
        Self {
            rules: Arc::new(rules),
            apps: Apps::default(),
            families: Families::default(),
            layout: Layout {
                private: SegmentList::new(),
                groups: Slab::default(),
                large: Arc::default(),
                lists: Slab::default(),
            },
            version: 0,
            updates: 0,
            counts: TableSizes::default(),
            tails: Arc::new(Tails::new(meter.clone())),
            meter,
        }
    }

    /// An empty catalog with other rules. Its versions continue those of this one.
    #[must_use]
    pub fn start_over(&self, rules: Rules) -> Self {
        Self {
            version: self.version,
            updates: self.updates,
            meter: self.meter.clone(),
            tails: Arc::new(Tails::new(self.meter.clone())),
            ..Self::new(rules)
        }
    }

    /// The bytes that the tables take, about.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let TableSizes {
            families,
            shared,
            contributions,
            series_bytes,
        } = self.counts;
        self.apps.slots.len() * APP_BYTES
            + families * FAMILY_BYTES
            + shared * SHARED_BYTES
            + contributions.saturating_sub(2 * shared) * CONTRIBUTION_BYTES
            + series_bytes
    }

    /// The meter of rendered text and its compressed forms.
    #[must_use]
    pub const fn meter(&self) -> &MemoryMeter {
        &self.meter
    }

    /// The rules.
    #[must_use]
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The number of an app's series that other apps have as well. A histogram or summary counts once for each group of series.
    #[must_use]
    pub fn duplicate_series(&self, app: &str) -> u64 {
        self.app(app).map_or(0, |(_, app)| app.duplicates)
    }

    /// The keys of an app's families that carry the disambiguating label, also those that it does not have at the moment.
    #[must_use]
    pub fn labelled(&self, app: &str) -> Vec<Arc<[u8]>> {
        let Some((_, app)) = self.app(app) else { return Vec::new() };
        let present = app.families.iter().filter(|family| family.labelled);
        let present = present.map(|family| family.text().key(&app.exposition).into_owned().into());
        present.chain(app.remembered.iter().map(|key| (&**key).into())).collect()
    }

    /// Labels families of an app from its first update on, as [`Catalog::labelled`] returned them before a restart.
    pub fn restore_labels(&mut self, app: &AppName, keys: impl IntoIterator<Item = Arc<[u8]>>) {
        let keys: BTreeSet<Box<[u8]>> = keys.into_iter().take(MAX_REMEMBERED).map(|key| (&*key).into()).collect();
        let is_new = self.app(app.as_str()).is_none_or(|(_, app)| app.update == 0);
        if is_new && !keys.is_empty() {
            let id = self.id_of(app);
            Arc::make_mut(&mut self.apps.slots[id]).remembered = Arc::new(keys);
        }
    }

    fn app(&self, name: &str) -> Option<(AppId, &Arc<App>)> {
        let id = self.apps.find(name)?;
        Some((id, &self.apps.slots[id]))
    }

    /// The app of this name, made if it is new.
    fn id_of(&mut self, name: &AppName) -> AppId {
        self.apps.find(name.as_str()).unwrap_or_else(|| {
            let id = self.apps.slots.insert(Arc::new(App::new(name.clone(), false)));
            let slots = &self.apps.slots;
            let hash = |id: &AppId| name_hash(slots[*id].name.as_str().as_bytes());
            self.apps.names.insert(hash(&id), id, hash);
            id
        })
    }

    /// The text of an app, if it is known.
    #[must_use]
    pub fn exposition(&self, app: &str) -> Option<&Arc<Exposition>> {
        self.app(app).map(|(_, app)| &app.exposition)
    }

    /// A number that grows whenever the exposed series or headers of an app change, also because of other apps. It stays while nothing
    /// changes, and is 0 for an unknown app. It looks at all shared families of the app: meant for a snapshot.
    #[must_use]
    pub fn version(&self, app: &str) -> u64 {
        let Some((_, app)) = self.app(app) else { return 0 };
        let shared = app.families.iter().filter(|family| family.shared);
        let versions = shared.map(|family| self.shared(family.entry).map_or(0, |shared| shared.version));
        let derived = self.derived_entries(app).into_iter().filter_map(|id| self.shared(id));
        versions.chain(derived.map(|shared| shared.version)).fold(app.version, u64::max)
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        let large = self.layout.lists.iter().map(|(_, list)| &**list);
        let lists = std::iter::once(&self.layout.private).chain(large);
        let groups = self.layout.groups.iter().map(|(_, group)| &group.segment);
        lists.flat_map(SegmentList::segments).map(|(.., segment)| segment).chain(groups)
    }

    /// The rendered segments.
    pub fn chunks(&self) -> impl Iterator<Item = Arc<Chunk>> {
        self.segments().flat_map(Segment::chunks)
    }

    /// Takes the rendered segments of one variant out; the next response renders them again.
    pub fn evict(&self, variant: OutputFormat) -> Vec<Arc<Chunk>> {
        let taken = self.segments().filter_map(|segment| segment.cache().take(variant));
        taken.flat_map(|chunks| chunks.to_vec()).collect()
    }

    fn shared(&self, id: Id<FamilyEntry>) -> Option<&entry::SharedFamily> {
        self.families.get(id)?.shared()
    }

    fn shared_mut(&mut self, id: Id<FamilyEntry>) -> Option<&mut entry::SharedFamily> {
        self.families.shared_mut(id)
    }

    fn app_mut(&mut self, id: AppId) -> &mut App {
        Arc::make_mut(&mut self.apps.slots[id])
    }

    fn find(&self, key: &[u8]) -> Option<Id<FamilyEntry>> {
        self.families.find(&self.apps.slots, key)
    }
}

impl Apps {
    fn find(&self, name: &str) -> Option<AppId> {
        let same = |id: &AppId| self.slots[*id].name.as_str() == name;
        self.names.find(name_hash(name.as_bytes()), same).copied()
    }

    /// Puts the new state of an app in place of the old one.
    fn replace(&mut self, id: AppId, app: App) {
        let has_reserved = !app.reserved.is_empty();
        if has_reserved != self.with_reserved.contains(&id) {
            let with_reserved = Arc::make_mut(&mut self.with_reserved);
            if has_reserved {
                with_reserved.insert(id)
            } else {
                with_reserved.remove(&id)
            };
        }
        self.slots[id] = Arc::new(app);
    }

    /// Removes an app without families.
    fn remove(&mut self, id: AppId) {
        let slots = &self.slots;
        let hash = |id: &AppId| name_hash(slots[*id].name.as_str().as_bytes());
        self.names.remove(hash(&id), |it| *it == id, hash);
        self.slots.remove(id);
    }
}
