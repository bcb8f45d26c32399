//! All applications' families in one: who has which, whose type and help count, which series two of them have, and the segments that
//! an answer is made of.
//!
//! A state machine without lock, clock and I/O. Updates cost what the update is long, whatever else is stored; they only mark segments.
//! [`Catalog::plan`] makes a list of what an answer consists of, with handles to all that is needed to render what has changed, so that
//! it can be rendered while others go on changing the catalog; [`Catalog::install`] keeps the results.
//!
//! The rules:
//! - Families are compared under their names in the text format (`parts`), and by all their sample names (`owners`).
//! - The application that has had a family longest decides on its shape and type; HELP is that of the first application by name
//!   (`succession`).
//! - Series that two applications have are told apart or the newest stands (`duplicates`).
//! - What a family is under OpenMetrics depends on its neighbours (`forms`); the text format never does.

mod clash;
mod duplicates;
mod entry;
mod forms;
mod jobs;
mod marks;
mod owners;
mod parts;
mod plan;
mod rules;
mod series;
mod slab;
mod strip;
mod succession;
#[cfg(test)]
mod tests;
mod updates;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Exposition;
use super::render::{Addition, Chunk, Variant};
use crate::model::{AppName, LabelPair};

use entry::{Entry, Group};
use slab::{Id, Slab};
use strip::{Segment, Stamps, Strip};

pub use clash::Clash;
pub use plan::{Exposed, Finished, Plan, Selection, alone};
pub use rules::{Duplicates, Rules};

/// How many names of labelled families are remembered for an application while it does not have them, so that they do not lose and
/// regain the label. Who has more than this come and go has no stable series anyway.
const MAX_REMEMBERED: usize = 4096;

/// What all applications say, merged.
#[derive(Debug)]
pub struct Catalog {
    rules: Rules,
    apps: Slab<App>,
    names: HashMap<AppName, Id<App>>,
    entries: Slab<Entry>,
    keys: HashMap<Arc<[u8]>, Id<Entry>, foldhash::fast::RandomState>,
    /// The families that one application alone has, application by application.
    private: Strip,
    /// Small shared families.
    groups: Slab<Group>,
    /// Large shared families.
    wide: BTreeSet<Id<Entry>>,
    /// Families whose HELP is looked for before the next answer. No more than there are families.
    headless: BTreeSet<Id<Entry>>,
    stamps: Stamps,
    /// Counts updates.
    updates: u64,
}

/// An application, and where its families are.
#[derive(Debug)]
struct App {
    name: AppName,
    /// Whether it is the proxy itself, whose series are never labelled and whose help comes first.
    own: bool,
    exposition: Arc<Exposition>,
    /// Labels that all of its series get.
    labels: Arc<[LabelPair]>,
    additions: Arc<[Addition]>,
    parts: Box<[AppPart]>,
    /// Families as written that belong with the proxy's own.
    reserved: Box<[u32]>,
    /// Families as written whose names others of the same text have.
    doubles: Box<[u32]>,
    /// About how many bytes its private families make.
    private_bytes: usize,
    /// The number of its last update.
    update: u64,
    /// When something changed last that it alone shows.
    stamp: u64,
    /// Keys of the families that are labelled, whether it has them at the moment or not.
    labelled: HashSet<Arc<[u8]>>,
}

/// A family of an application.
#[derive(Debug, Clone, Copy)]
struct AppPart {
    entry: Id<Entry>,
    family: u32,
}

/// What an update brought about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Where the application contradicts others now.
    pub clashes: Vec<Clash>,
    /// Other applications whose families go out otherwise than before: [`Catalog::clashes`] and [`Catalog::duplicate_series`] tell how.
    pub affected: Vec<AppName>,
}

impl Catalog {
    /// An empty catalog.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self::with_stamps(rules, Stamps::default())
    }

    /// Makes an empty catalog of this one, with other rules. Versions and stamps go on from here, so that nothing that was rendered by the
    /// rules before is ever taken for what is to be shown now.
    pub fn start_over(&mut self, rules: Rules) {
        let stamps = std::mem::take(&mut self.stamps);
        *self = Self::with_stamps(rules, stamps);
    }

    fn with_stamps(rules: Rules, mut stamps: Stamps) -> Self {
        Self {
            rules,
            apps: Slab::default(),
            names: HashMap::new(),
            entries: Slab::default(),
            keys: HashMap::default(),
            private: Strip::new(&mut stamps),
            groups: Slab::default(),
            wide: BTreeSet::new(),
            headless: BTreeSet::new(),
            stamps,
            updates: 0,
        }
    }

    /// How many of an application's series other applications have as well. A histogram or summary counts once for each group of series.
    #[must_use]
    pub fn duplicate_series(&self, app: &str) -> u64 {
        let Some(&id) = self.names.get(app) else { return 0 };
        let contributions = self.apps[id].parts.iter().filter_map(|part| self.entries[part.entry].get(id));
        contributions.map(|it| u64::from(it.duplicates)).sum()
    }

    /// The keys of an application's families that are labelled to tell them from others', whether it has them at the moment or not.
    #[must_use]
    pub fn labelled(&self, app: &str) -> Vec<Arc<[u8]>> {
        let id = self.names.get(app);
        id.map_or_else(Vec::new, |&id| self.apps[id].labelled.iter().cloned().collect())
    }

    /// Labels families as [`Catalog::labelled`] told of an application in another life, from its next update on.
    pub fn recall_labels(&mut self, app: &AppName, keys: impl IntoIterator<Item = Arc<[u8]>>) {
        let mut keys = keys.into_iter().take(MAX_REMEMBERED).peekable();
        if keys.peek().is_some() {
            let id = self.id_of(app);
            self.apps[id].labelled.extend(keys);
        }
    }

    /// The application of this name, made if it is new.
    fn id_of(&mut self, name: &AppName) -> Id<App> {
        if let Some(&id) = self.names.get(name) {
            return id;
        }
        let id = self.apps.insert(App::new(name.clone(), false));
        self.names.insert(name.clone(), id);
        id
    }

    /// The text of an application, if it is known.
    #[must_use]
    pub fn exposition(&self, app: &str) -> Option<&Arc<Exposition>> {
        self.names.get(app).map(|&id| &self.apps[id].exposition)
    }

    /// A number that grows whenever what goes out of an application changes, whoever has changed it: others can take away the right
    /// to a name or a type, or make a label necessary. It stays while nothing changes, and is 0 for an application that is unknown.
    #[must_use]
    pub fn version(&self, app: &str) -> u64 {
        let Some(&id) = self.names.get(app) else { return 0 };
        let app = &self.apps[id];
        let families = app.parts.iter().map(|part| self.entries[part.entry].stamp);
        families.fold(app.stamp, u64::max)
    }

    /// The rendered segments, as far as they are up to date.
    pub fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        let wide = self.wide.iter().filter_map(|&id| self.entries[id].strip());
        let strips = std::iter::once(&self.private).chain(wide);
        let groups = self.groups.iter().map(|(_, group)| &group.segment);
        strips
            .flat_map(Strip::segments)
            .map(|(.., segment)| segment)
            .chain(groups)
            .flat_map(Segment::built)
    }

    /// Takes out the rendered segments of one variant; the next answer renders them again.
    pub fn forget(&mut self, variant: Variant) -> Vec<Arc<Chunk>> {
        let mut taken = Vec::new();
        self.private.segments_mut().for_each(|segment| taken.extend(segment.take(variant)));
        for group in self.groups.values_mut() {
            taken.extend(group.segment.take(variant));
        }
        for &id in &self.wide {
            if let Some(strip) = self.entries[id].strip_mut() {
                strip.segments_mut().for_each(|segment| taken.extend(segment.take(variant)));
            }
        }
        taken
    }

    fn entry_by_key(&self, key: &[u8]) -> Option<(Id<Entry>, &Entry)> {
        let id = *self.keys.get(key)?;
        Some((id, &self.entries[id]))
    }

    fn entry_by_parts(&self, base: &[u8], suffix: &str) -> Option<(Id<Entry>, &Entry)> {
        self.entry_by_key(&[base, suffix.as_bytes()].concat())
    }
}
