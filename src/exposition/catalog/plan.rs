//! Plans of answers: which segments, which of them are to be rendered first, and what goes after them.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::{Entry, Group, Home};
use super::jobs::Only;
use super::rules::{Duplicates, Rules};
use super::slab::Id;
use super::strip::{MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, Segment, Strip, TARGET_SEGMENT_BYTES};
use super::{App, Catalog};
use crate::exposition::Exposition;
use crate::exposition::body::Body;
use crate::exposition::gzip::{self, Piece};
use crate::exposition::negotiate::Escaping;
use crate::exposition::render::{Addition, Chunk, Item, Variant};
use crate::model::{AppName, Syntax};

/// Which applications an answer is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Selection<'a> {
    /// All of them.
    #[default]
    Everything,
    /// One, as it goes out among all others; one that is unknown has nothing to say.
    App(&'a str),
    /// None, for what the proxy itself has to say.
    Nothing,
}

/// What an answer consists of, with all that is needed to render what is not rendered yet. It needs no catalog any more.
#[derive(Debug)]
pub struct Plan {
    variant: Variant,
    slots: Vec<Slot>,
    jobs: Vec<Job>,
    guests: Vec<Guest>,
}

#[derive(Debug, Clone)]
enum Slot {
    Ready(Arc<Chunk>),
    /// A section of a job.
    Pending(usize, usize),
}

/// A segment to render.
#[derive(Debug)]
struct Job {
    seat: Seat,
    stamp: u64,
    sections: Vec<Vec<Item>>,
}

/// Where a segment is.
#[derive(Debug, Clone, Copy)]
enum Seat {
    /// Nowhere: this answer alone has it.
    Nowhere,
    Private(Id<App>),
    Group(Id<Group>),
    Wide(Id<Entry>, Id<App>),
}

/// An application's copies of the proxy's own families.
#[derive(Debug)]
struct Guest {
    name: AppName,
    exposition: Arc<Exposition>,
    additions: Arc<[Addition]>,
    families: Box<[u32]>,
}

/// What a segment has been rendered to.
#[derive(Debug)]
pub struct Finished {
    seat: Seat,
    stamp: u64,
    chunks: Vec<Arc<Chunk>>,
    /// Whether other escapings look the same.
    legacy: bool,
}

/// A rendered answer but for its tail, which is the proxy's own and differs each time.
#[derive(Debug)]
pub struct Exposed {
    variant: Variant,
    chunks: Vec<Arc<Chunk>>,
    guests: Vec<Guest>,
}

impl Catalog {
    /// Plans an answer. It is as the catalog is now, whatever changes before it is rendered.
    pub fn plan(&mut self, variant: Variant, selection: Selection<'_>) -> Plan {
        self.find_helpers();
        match selection {
            Selection::Everything => self.plan_everything(variant),
            Selection::App(name) => self.plan_app(variant, name),
            Selection::Nothing => Plan::new(variant),
        }
    }

    fn plan_everything(&mut self, variant: Variant) -> Plan {
        self.tidy();
        let mut plan = Plan::new(variant);
        for (from, to, segment) in self.private.segments() {
            plan.add(segment, Seat::Private(from), 1, || vec![self.private_items(from, to, variant)]);
        }
        for (id, group) in self.groups.iter() {
            plan.add(&group.segment, Seat::Group(id), 1, || {
                vec![self.group_items(&group.families, variant)]
            });
        }
        for &id in &self.wide {
            self.plan_wide(id, &mut plan);
        }
        plan.guests = self.apps.iter().filter_map(|(_, app)| app.guest(&self.rules)).collect();
        plan
    }

    /// A large family: where it goes out as several families, each of them must be whole, so all segments' first sections come first.
    fn plan_wide(&self, id: Id<Entry>, plan: &mut Plan) {
        let Some(Home::Own(strip)) = self.entries[id].shared().map(|shared| &shared.home) else {
            return;
        };
        let variant = plan.variant;
        let sections = self.sections(id, variant);
        let mut pending = vec![Vec::new(); sections.len()];
        for (from, to, segment) in strip.segments() {
            let items = |&suffix| {
                let mut items = Vec::new();
                self.section(id, Only::Range(from, to), variant, suffix, &mut items);
                items
            };
            let slots = plan.slots(segment, Seat::Wide(id, from), sections.len(), || {
                sections.iter().map(items).collect()
            });
            for (section, slot) in slots.into_iter().enumerate() {
                pending[section].push(slot);
            }
        }
        plan.slots.extend(pending.into_iter().flatten());
    }

    fn plan_app(&self, variant: Variant, name: &str) -> Plan {
        let mut plan = Plan::new(variant);
        let Some(&id) = self.names.get(name) else { return plan };
        let mut items = Vec::new();
        for part in &self.apps[id].parts {
            self.whole_family(part.entry, Only::App(id), variant, &mut items);
        }
        plan.slots.push(Slot::Pending(0, 0));
        plan.jobs.push(Job {
            seat: Seat::Nowhere,
            stamp: 0,
            sections: vec![items],
        });
        plan.guests = self.apps[id].guest(&self.rules).into_iter().collect();
        plan
    }

    fn group_items(&self, families: &[Id<Entry>], variant: Variant) -> Vec<Item> {
        let mut items = Vec::new();
        for &id in families {
            self.whole_family(id, Only::ALL, variant, &mut items);
        }
        items
    }

    /// Keeps what has been rendered, where it has not changed since.
    pub fn install(&mut self, variant: Variant, finished: Vec<Finished>) {
        for it in finished {
            let Some(segment) = self.segment(it.seat) else { continue };
            if it.legacy {
                for escaping in [Escaping::Underscores, Escaping::AllowUtf8] {
                    segment.install(Variant { escaping, ..variant }, it.stamp, it.chunks.clone());
                }
            } else {
                segment.install(variant, it.stamp, it.chunks);
            }
        }
    }

    fn segment(&mut self, seat: Seat) -> Option<&mut Segment> {
        match seat {
            Seat::Nowhere => None,
            Seat::Private(start) => self.private.segment_at(start),
            Seat::Group(id) => self.groups.get_mut(id).map(|group| &mut group.segment),
            Seat::Wide(id, start) => self.entries.get_mut(id)?.strip_mut()?.segment_at(start),
        }
    }

    /// Splits and joins segments that have changed, so that all have a good size.
    fn tidy(&mut self) {
        let (apps, stamps) = (&self.apps, &mut self.stamps);
        let sizes = |from, to| apps.range(from, to).map(|(id, app)| (id, app.private_bytes)).collect();
        self.private.tidy(stamps, sizes);
        self.tidy_groups();
        for id in self.wide.clone() {
            self.tidy_wide(id);
        }
    }

    fn tidy_groups(&mut self) {
        let changed: Vec<_> = self
            .groups
            .iter()
            .filter(|(_, group)| !group.segment.sized)
            .map(|(id, _)| id)
            .collect();
        for id in changed {
            let bytes_of = |entry: &Id<Entry>| self.entries[*entry].shared().map_or(0, |shared| shared.bytes);
            let bytes = self.groups[id].families.iter().map(bytes_of).sum();
            let segment = &mut self.groups[id].segment;
            (segment.sized, segment.bytes) = (true, bytes);
            if bytes > MAX_SEGMENT_BYTES {
                self.spread(id);
            } else if bytes < MIN_SEGMENT_BYTES {
                self.gather(id);
            }
        }
    }

    /// A group that has grown too large: its large families get segments of their own, the others are distributed.
    fn spread(&mut self, id: Id<Group>) {
        let Some(group) = self.groups.remove(id) else { return };
        for family in group.families {
            let Some(shared) = self.entries[family].shared() else { continue };
            if shared.bytes > TARGET_SEGMENT_BYTES / 2 && shared.quoted == 0 {
                let strip = Strip::new(&mut self.stamps);
                self.rehome(family, Home::Own(strip));
                self.wide.insert(family);
            } else {
                let group = self.group_for(family, shared.bytes);
                self.rehome(family, Home::Group(group));
            }
        }
    }

    /// A group that has shrunk joins the one before it, if there is room.
    fn gather(&mut self, id: Id<Group>) {
        let bytes = self.groups[id].segment.bytes;
        let before = self
            .groups
            .range(Id::FIRST, Some(id))
            .last()
            .filter(|(_, it)| it.segment.bytes + bytes <= TARGET_SEGMENT_BYTES);
        let Some(target) = before.map(|(id, _)| id) else { return };
        let Some(group) = self.groups.remove(id) else { return };
        for &family in &group.families {
            self.rehome(family, Home::Group(target));
        }
        let target = &mut self.groups[target];
        target.families.extend(group.families);
        target.segment.bytes += bytes;
        target.segment.mark(self.stamps.next());
    }

    fn rehome(&mut self, family: Id<Entry>, home: Home) {
        if let Some(shared) = self.entries[family].shared_mut() {
            shared.home = home;
        }
    }

    fn tidy_wide(&mut self, id: Id<Entry>) {
        let Some(shared) = self.entries[id].shared_mut() else { return };
        let Home::Own(strip) = &mut shared.home else { return };
        let of = &shared.of;
        strip.tidy(&mut self.stamps, |from, to| {
            let range = of.range(from..).take_while(|(app, _)| to.is_none_or(|to| **app < to));
            range.map(|(app, contribution)| (*app, contribution.bytes as usize)).collect()
        });
        let bytes = strip.bytes();
        if bytes < MIN_SEGMENT_BYTES {
            let group = self.group_for(id, bytes);
            self.rehome(id, Home::Group(group));
            self.wide.remove(&id);
        }
    }
}

impl App {
    fn guest(&self, rules: &Rules) -> Option<Guest> {
        if self.reserved.is_empty() {
            return None;
        }
        let telling = Addition::new(rules.telling_reserved(), self.name.as_str());
        let additions = self
            .additions
            .iter()
            .filter(|it| it.name != telling.name)
            .cloned()
            .chain([telling.clone()])
            .collect();
        Some(Guest {
            name: self.name.clone(),
            exposition: Arc::clone(&self.exposition),
            additions,
            families: self.reserved.clone(),
        })
    }
}

impl Plan {
    const fn new(variant: Variant) -> Self {
        Self {
            variant,
            slots: Vec::new(),
            jobs: Vec::new(),
            guests: Vec::new(),
        }
    }

    fn add(&mut self, segment: &Segment, seat: Seat, sections: usize, items: impl FnOnce() -> Vec<Vec<Item>>) {
        let slots = self.slots(segment, seat, sections, items);
        self.slots.extend(slots);
    }

    fn slots(&mut self, segment: &Segment, seat: Seat, sections: usize, items: impl FnOnce() -> Vec<Vec<Item>>) -> Vec<Slot> {
        if let Some(chunks) = segment.chunks(self.variant).filter(|chunks| chunks.len() == sections) {
            return chunks.iter().cloned().map(Slot::Ready).collect();
        }
        self.jobs.push(Job {
            seat,
            stamp: segment.stamp,
            sections: items(),
        });
        let job = self.jobs.len() - 1;
        (0..sections).map(|section| Slot::Pending(job, section)).collect()
    }

    /// How many segments are to be rendered.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.jobs.len()
    }

    /// Renders what is not rendered yet. The finished segments are for [`Catalog::install`], so that others need not do it again.
    #[must_use]
    pub fn render(self) -> (Exposed, Vec<Finished>) {
        let variant = self.variant;
        let finished: Vec<_> = self.jobs.into_iter().map(|job| job.run(variant)).collect();
        let chunks = self.slots.into_iter().map(|slot| match slot {
            Slot::Ready(chunk) => chunk,
            Slot::Pending(job, section) => Arc::clone(&finished[job].chunks[section]),
        });
        let chunks = chunks.filter(|chunk| !chunk.is_empty()).collect();
        (
            Exposed {
                variant,
                chunks,
                guests: self.guests,
            },
            finished,
        )
    }
}

impl Job {
    fn run(self, variant: Variant) -> Finished {
        let legacy = self.sections.iter().flatten().all(Item::is_legacy);
        let chunks = self
            .sections
            .into_iter()
            .map(|items| Arc::new(Chunk::render(items, variant)))
            .collect();
        Finished {
            seat: self.seat,
            stamp: self.stamp,
            chunks,
            legacy,
        }
    }
}

impl Exposed {
    /// What no applications have to say.
    #[must_use]
    pub const fn nothing(variant: Variant) -> Self {
        Self {
            variant,
            chunks: Vec::new(),
            guests: Vec::new(),
        }
    }

    /// What it depends on.
    #[must_use]
    pub const fn variant(&self) -> Variant {
        self.variant
    }

    /// The rendered parts, in order; whoever compresses in the background finds here what is not compressed yet.
    #[must_use]
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// Whether applications say something under the proxy's own names.
    #[must_use]
    pub const fn has_guests(&self) -> bool {
        !self.guests.is_empty()
    }

    /// The answer, plain. `own` is what the proxy says of itself, in the text format; none leaves it out, but not what applications
    /// say of themselves under the same names.
    #[must_use]
    pub fn body(&self, own: Option<&Arc<Exposition>>) -> Body {
        let mut body = Body::default();
        for chunk in &self.chunks {
            body.extend(chunk.text().iter().cloned());
        }
        body.extend(self.tail(own));
        body
    }

    /// The answer as one gzip member. Parts that are not compressed yet go out as stored blocks.
    #[must_use]
    pub fn gzip_body(&self, own: Option<&Arc<Exposition>>) -> Body {
        let mut pieces: Vec<Piece> = self.chunks.iter().flat_map(|chunk| chunk.pieces()).collect();
        pieces.push(Piece::stored(&self.tail(own)));
        Body::new(gzip::join(&pieces))
    }

    /// What comes after the segments: the proxy's own families together with what applications have of them, and the end mark.
    #[must_use]
    pub fn tail(&self, own: Option<&Arc<Exposition>>) -> Vec<Bytes> {
        let mut tail = if own.is_some() || !self.guests.is_empty() {
            self.merged_tail(own)
        } else {
            Vec::new()
        };
        if self.variant.syntax == Syntax::OpenMetrics {
            tail.push(Bytes::from_static(b"# EOF\n"));
        }
        tail
    }

    /// As [`Exposed::tail`], with what the proxy says of itself as it was written. It is only read where that is needed: for
    /// OpenMetrics, and where applications have something to say under the same names.
    #[must_use]
    pub fn tail_with(&self, own: Vec<Bytes>) -> Vec<Bytes> {
        if self.guests.is_empty() && self.variant.syntax == Syntax::Text {
            return own;
        }
        let own = (!own.is_empty()).then(|| Arc::new(Exposition::parse_own(own.concat().into())));
        self.tail(own.as_ref())
    }

    /// A small catalog in which the proxy itself came first, so that its types stand.
    fn merged_tail(&self, own: Option<&Arc<Exposition>>) -> Vec<Bytes> {
        let mut catalog = Catalog::new(Rules::new(None, Duplicates::Label, &[]));
        if let Some(own) = own {
            let name = AppName::new("exporter-proxy").expect("a short name of printable characters");
            let id = catalog.apps.insert(App::new(name, true));
            catalog.put(id, Arc::new([]), Arc::clone(own), None);
        }
        for guest in &self.guests {
            let id = catalog.apps.insert(App::new(guest.name.clone(), false));
            catalog.put(
                id,
                Arc::clone(&guest.additions),
                Arc::clone(&guest.exposition),
                Some(&guest.families),
            );
        }
        let (exposed, _) = catalog.plan(self.variant, Selection::Everything).render();
        exposed.chunks.iter().flat_map(|chunk| chunk.text().to_vec()).collect()
    }
}

/// What one application has handed in, rendered as if there were no other, without added labels.
#[must_use]
pub fn alone(exposition: &Arc<Exposition>, variant: Variant) -> Exposed {
    let mut catalog = Catalog::new(Rules::new(None, Duplicates::Label, &[]));
    let name = AppName::new("alone").expect("a short name of printable characters");
    let id = catalog.apps.insert(App::new(name, false));
    catalog.put(id, Arc::new([]), Arc::clone(exposition), None);
    catalog.plan(variant, Selection::Everything).render().0
}
