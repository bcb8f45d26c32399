//! Plans of responses: which segments, which of them are rendered first, and what follows them.

use std::sync::Arc;

use bytes::Bytes;

use super::app::App;
use super::contributions::AppRange;
use super::entry::{FamilyEntry, Placement, SharedFamily};
use super::messages::MessageSection;
use super::paged::Id;
use super::rules::Rules;
use super::segment_items::sections;
use super::segments::Segment;
use super::tail::Tails;
use super::update::no_labels;
use super::{Catalog, Group, Update};
use crate::app_name::AppName;
use crate::identity::ExtraLabel;
use crate::index::Exposition;
use crate::memory::MemoryMeter;
use crate::negotiate::Escaping;
use crate::openmetrics2::UnstatedTypes;
use crate::render::{Chunk, Item, OutputFormat, put_header};
use crate::syntax::Syntax;

/// The apps that a response is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Selection<'a> {
    /// All of them.
    #[default]
    Everything,
    /// One, as it is exposed among all others; an unknown one has no series.
    App(&'a str),
    /// None, for the self metrics alone.
    Nothing,
}

/// A response of one moment that is not rendered yet: a snapshot of the catalog, which later updates do not change.
#[derive(Debug)]
pub struct Plan {
    variant: OutputFormat,
    scope: Scope,
    catalog: Catalog,
}

#[derive(Debug, Clone, Copy)]
enum Scope {
    Everything,
    App(super::AppId),
    Nothing,
}

/// An app's copies of the proxy's own families.
#[derive(Debug)]
pub(super) struct ReservedFamilies {
    pub(super) name: AppName,
    pub(super) exposition: Arc<Exposition>,
    pub(super) extra_labels: Arc<[ExtraLabel]>,
    pub(super) families: Arc<[u32]>,
}

impl ReservedFamilies {
    /// True if these are the same families of the same update.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.exposition, &other.exposition) && self.extra_labels == other.extra_labels && self.families == other.families
    }
}

/// A rendered response but for its tail, which differs each time.
#[derive(Debug)]
pub struct RenderedSegments {
    variant: OutputFormat,
    chunks: Vec<Arc<Chunk>>,
    reserved: Vec<Arc<ReservedFamilies>>,
    /// The small catalog in which they are merged.
    tails: Arc<Tails>,
}

impl Catalog {
    /// Plans a response. The work is left to [`Plan::render`], which needs no catalog any more.
    pub fn plan(&mut self, variant: OutputFormat, selection: Selection<'_>) -> Plan {
        let scope = match selection {
            Selection::Everything => {
                self.rebalance();
                Scope::Everything
            }
            Selection::App(name) => self.apps.find(name).map_or(Scope::Nothing, Scope::App),
            Selection::Nothing => Scope::Nothing,
        };
        Plan {
            variant,
            scope,
            catalog: self.clone(),
        }
    }
}

impl App {
    fn reserved_families(&self, rules: &Rules) -> Option<ReservedFamilies> {
        if self.reserved.is_empty() {
            return None;
        }
        let label = ExtraLabel::new(rules.reserved_label(), self.name.as_str());
        let given = self.extra_labels.iter().filter(|it| it.name != label.name).cloned();
        Some(ReservedFamilies {
            name: self.name.clone(),
            exposition: Arc::clone(&self.exposition),
            extra_labels: given.chain([label.clone()]).collect(),
            families: Arc::clone(&self.reserved),
        })
    }
}

impl Plan {
    /// The version of the app that the plan is about; see [`Catalog::version`].
    #[must_use]
    pub fn version(&self) -> u64 {
        match self.scope {
            Scope::App(id) => self.catalog.version(self.catalog.apps.slots[id].name.as_str()),
            Scope::Everything | Scope::Nothing => 0,
        }
    }

    /// Renders the segments that are not rendered yet, and keeps them for other responses.
    #[must_use]
    pub fn render(self) -> RenderedSegments {
        let mut chunks = Vec::new();
        let mut reserved = Vec::new();
        let mut tails = Arc::default();
        match self.scope {
            Scope::Nothing => {}
            Scope::App(id) => {
                let items = if self.variant.protobuf {
                    self.catalog.app_messages(id, self.variant)
                } else {
                    self.catalog.app_items(id, self.variant)
                };
                chunks.push(Arc::new(Chunk::render(items, self.variant, &self.catalog.meter)));
                let families = self.catalog.apps.slots[id].reserved_families(&self.catalog.rules);
                reserved.extend(families.map(Arc::new));
            }
            Scope::Everything => {
                self.render_everything(&mut chunks);
                let apps = &self.catalog.apps;
                let with_reserved = apps.with_reserved.iter().map(|id| &apps.slots[*id]);
                let families = with_reserved.filter_map(|app| app.reserved_families(&self.catalog.rules));
                reserved.extend(families.map(Arc::new));
                tails = Arc::clone(&self.catalog.tails);
                if reserved.is_empty() {
                    tails.clear();
                }
            }
        }
        chunks.retain(|chunk| !chunk.is_empty());
        RenderedSegments {
            variant: self.variant,
            chunks,
            reserved,
            tails,
        }
    }

    /// The segments that are not rendered yet. Threads may share them, each calling [`Plan::render_segment`] for some, before
    /// [`Plan::render`] puts the response together.
    #[must_use]
    pub fn pending_segments(&self) -> Vec<PlannedSegment<'_>> {
        match self.scope {
            Scope::Everything => self.segments().into_iter().filter(|it| !it.is_rendered(self.variant)).collect(),
            Scope::App(_) | Scope::Nothing => Vec::new(),
        }
    }

    /// Renders a segment and keeps it for other responses, this one's among them.
    #[must_use = "the chunks may still have to be compressed"]
    pub fn render_segment(&self, segment: &PlannedSegment<'_>) -> Arc<Vec<Arc<Chunk>>> {
        self.rendered(segment)
    }

    /// All segments, in the order of the response.
    fn segments(&self) -> Vec<PlannedSegment<'_>> {
        let layout = &self.catalog.layout;
        let private = layout.private.segments();
        let mut segments: Vec<_> = private
            .map(|(from, to, segment)| PlannedSegment {
                segment,
                contents: Contents::Private(from, to),
            })
            .collect();
        segments.extend(layout.groups.iter().map(|(_, group)| PlannedSegment {
            segment: &group.segment,
            contents: Contents::Group(group),
        }));
        for &id in layout.large.iter() {
            let Some(shared) = self.catalog.shared(id) else { continue };
            let Placement::Large(list) = shared.placement else { continue };
            segments.extend(layout.lists[list].segments().map(|(from, to, segment)| PlannedSegment {
                segment,
                contents: Contents::Large(id, shared, AppRange::Range(from, to)),
            }));
        }
        segments
    }

    fn render_everything(&self, chunks: &mut Vec<Arc<Chunk>>) {
        let segments = self.segments();
        for family in segments.chunk_by(|one, other| one.large_family().is_some_and(|id| other.large_family() == Some(id))) {
            let rendered: Vec<_> = family.iter().map(|segment| self.rendered(segment)).collect();
            if let (Some(id), true) = (family[0].large_family(), self.variant.protobuf) {
                self.frame_large_family(id, &rendered, chunks);
                continue;
            }
            // A large family that goes out as several families: each of them must be whole, so all segments' first sections come first.
            let sections = rendered.first().map_or(0, |sections| sections.len());
            for section in 0..sections {
                chunks.extend(rendered.iter().map(|segment| Arc::clone(&segment[section])));
            }
        }
    }

    /// Puts the segments of a large family together to one message of each type, each behind its length.
    fn frame_large_family(&self, id: Id<FamilyEntry>, rendered: &[Arc<Vec<Arc<Chunk>>>], chunks: &mut Vec<Arc<Chunk>>) {
        let Some(shared) = self.catalog.shared(id) else { return };
        for (at, section) in MessageSection::ALL.into_iter().enumerate() {
            let parts = || {
                rendered
                    .iter()
                    .filter_map(|segment| segment.get(at))
                    .filter(|chunk| !chunk.is_empty())
            };
            if let MessageSection::Metrics(kind) = section {
                let len: u64 = parts().map(|chunk| chunk.len()).sum();
                if len == 0 {
                    continue;
                }
                let Some(header) = self.catalog.large_header(id, shared, kind) else {
                    continue;
                };
                let mut head = Vec::new();
                put_header(&header, self.variant, usize::try_from(len).unwrap_or(usize::MAX), &mut head);
                chunks.push(Arc::new(Chunk::new(vec![head.into()])));
            }
            chunks.extend(parts().cloned());
        }
    }

    /// The rendered form of a segment, from its cache or rendered now: one chunk for each section.
    fn rendered(&self, planned: &PlannedSegment<'_>) -> Arc<Vec<Arc<Chunk>>> {
        let (catalog, variant) = (&self.catalog, self.variant);
        let render = |sections, items: &dyn Fn() -> Vec<Vec<Item>>| rendered(planned.segment, variant, &catalog.meter, sections, items);
        match planned.contents {
            Contents::Private(from, to) if variant.protobuf => render(1, &|| vec![catalog.private_messages(from, to)]),
            Contents::Private(from, to) => render(1, &|| vec![catalog.private_items(from, to, variant)]),
            Contents::Group(group) => render(1, &|| {
                let mut items = Vec::new();
                for &id in &group.families {
                    if variant.protobuf {
                        catalog.shared_messages(id, AppRange::ALL, variant, &mut items);
                    } else {
                        catalog.shared_family(id, AppRange::ALL, variant, &mut items);
                    }
                }
                vec![items]
            }),
            Contents::Large(id, shared, range) if variant.protobuf => {
                render(MessageSection::ALL.len(), &|| catalog.message_sections(id, shared, range))
            }
            Contents::Large(id, shared, range) => {
                let sections = sections(shared.form, variant);
                let items = |&suffix: &_| {
                    let mut items = Vec::new();
                    catalog.section(id, shared, range, variant, suffix, &mut items);
                    items
                };
                render(sections.len(), &|| sections.iter().map(items).collect())
            }
        }
    }
}

/// A segment of a [`Plan`].
#[derive(Debug, Clone, Copy)]
pub struct PlannedSegment<'a> {
    segment: &'a Segment,
    contents: Contents<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Contents<'a> {
    /// Families that no other app has, of the apps from the first up to but without the second.
    Private(super::AppId, Option<super::AppId>),
    /// Small shared families.
    Group(&'a Group),
    /// Some apps' part of a large shared family.
    Large(Id<FamilyEntry>, &'a SharedFamily, AppRange),
}

impl PlannedSegment<'_> {
    fn is_rendered(&self, variant: OutputFormat) -> bool {
        self.segment.cache().get(variant).is_some()
    }

    /// The large family that it is a part of.
    const fn large_family(&self) -> Option<Id<FamilyEntry>> {
        match self.contents {
            Contents::Large(id, ..) => Some(id),
            Contents::Private(..) | Contents::Group(_) => None,
        }
    }
}

/// The rendered form of a segment, from its cache or rendered now.
fn rendered(
    segment: &Segment,
    variant: OutputFormat,
    meter: &MemoryMeter,
    sections: usize,
    items: impl FnOnce() -> Vec<Vec<Item>>,
) -> Arc<Vec<Arc<Chunk>>> {
    if let Some(chunks) = segment.cache().get(variant).filter(|chunks| chunks.len() == sections) {
        return chunks;
    }
    let sections = items();
    let is_legacy = sections.iter().flatten().all(Item::is_legacy);
    let chunks = sections.into_iter().map(|items| Arc::new(Chunk::render(items, variant, meter)));
    let chunks = Arc::new(chunks.collect());
    if is_legacy {
        // Both escapings look the same.
        for escaping in [Escaping::Underscores, Escaping::AllowUtf8] {
            segment.cache().set(OutputFormat { escaping, ..variant }, &chunks);
        }
    } else {
        segment.cache().set(variant, &chunks);
    }
    chunks
}

impl RenderedSegments {
    /// The response about no app.
    #[must_use]
    pub fn nothing(variant: OutputFormat) -> Self {
        Self {
            variant,
            chunks: Vec::new(),
            reserved: Vec::new(),
            tails: Arc::default(),
        }
    }

    /// The variant that it is rendered in.
    #[must_use]
    pub const fn variant(&self) -> OutputFormat {
        self.variant
    }

    /// The rendered segments, in order, compressed or not.
    #[must_use]
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// True if apps have families of the proxy's own names.
    #[must_use]
    pub const fn has_reserved(&self) -> bool {
        !self.reserved.is_empty()
    }

    /// The part after the segments: the proxy's own families merged with the apps' families of the same names, and the end mark.
    #[must_use]
    pub fn tail(&self, own: Option<&Arc<Exposition>>) -> Vec<Arc<Chunk>> {
        let mut tail = if own.is_some() || !self.reserved.is_empty() {
            self.tails.plan(own, &self.reserved, self.variant).render().chunks
        } else {
            Vec::new()
        };
        if self.variant.syntax == Syntax::OpenMetrics {
            tail.push(Arc::new(Chunk::new(vec![Bytes::from_static(b"# EOF\n")])));
        }
        tail
    }

    /// [`RenderedSegments::tail`] from the text of the self metrics, which is parsed only where it must be: for other formats, and where apps
    /// have families of the same names.
    #[must_use]
    pub fn tail_with(&self, own: Vec<Bytes>) -> Vec<Arc<Chunk>> {
        if self.reserved.is_empty() && self.variant.syntax == Syntax::Text && !self.variant.protobuf {
            return vec![Arc::new(Chunk::new(own))];
        }
        let own = (!own.is_empty()).then(|| Arc::new(Exposition::parse_self_metrics(own.concat().into())));
        if self.reserved.is_empty() {
            // Nothing that would be worth keeping.
            let alone = Self {
                tails: Arc::default(),
                ..Self::nothing(self.variant)
            };
            return alone.tail(own.as_ref());
        }
        self.tail(own.as_ref())
    }
}

/// The text of one app, rendered as if there were no other, without added labels.
#[must_use]
pub fn render_single(exposition: &Arc<Exposition>, variant: OutputFormat) -> RenderedSegments {
    single(exposition).plan(variant, Selection::Everything).render()
}

/// [`Catalog::unstated_types`] of [`render_single`].
#[must_use]
pub fn unstated_types_of_single(exposition: &Arc<Exposition>, escaping: Escaping) -> UnstatedTypes {
    single(exposition).unstated_types(escaping)
}

/// The catalog of one app without added labels.
fn single(exposition: &Arc<Exposition>) -> Catalog {
    let mut catalog = Catalog::new(Rules::default());
    let name = AppName::new("single").expect("a short name of printable characters");
    let update = Update::with(catalog.rules(), &name, &no_labels(), Arc::new([]), Arc::clone(exposition), None);
    catalog.add(false, update);
    catalog
}
