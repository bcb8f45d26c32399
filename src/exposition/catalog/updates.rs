//! Updates: what an application has now against what it had.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::duplicates::Source;
use super::entry::{Contribution, Contributions, Entry, Form, Group, Home, MAX_RANKS, Shared};
use super::parts::{Part, parts};
use super::rules::Duplicates;
use super::series::SeriesIndex;
use super::slab::Id;
use super::strip::{Segment, Strip, TARGET_SEGMENT_BYTES};
use super::{App, AppPart, Catalog, Changes};
use crate::exposition::render::Addition;
use crate::exposition::{Exposition, Kind};
use crate::model::{AppName, LabelPair, Syntax};

/// An update under way.
pub(super) struct Turn {
    /// Whose it is.
    pub(super) app: Id<App>,
    /// Its number.
    pub(super) update: u64,
    /// What the application had before.
    pub(super) before: Before,
    /// Keys of families whose claims on names have changed, or their right to them.
    pub(super) contested: BTreeSet<Arc<[u8]>>,
    /// Keys of families that may be something else under OpenMetrics now.
    pub(super) reshaped: BTreeSet<Arc<[u8]>>,
    /// Other applications for which something has changed.
    pub(super) affected: BTreeSet<Id<App>>,
}

/// What an application had before an update.
pub(super) struct Before {
    pub(super) exposition: Arc<Exposition>,
    pub(super) additions: Arc<[Addition]>,
    pub(super) parts: Box<[AppPart]>,
}

impl Catalog {
    /// Replaces all that an application said before. `labels` are added to every series that lacks them.
    pub fn replace(&mut self, name: &AppName, labels: &Arc<[LabelPair]>, exposition: Arc<Exposition>) -> Changes {
        let id = match self.names.get(name) {
            Some(&id) if self.says_the_same(id, labels, &exposition) => {
                return Changes {
                    clashes: self.clashes_of(id),
                    affected: Vec::new(),
                };
            }
            _ => self.id_of(name),
        };
        let additions = self.additions(name, labels);
        self.apps[id].labels = Arc::clone(labels);
        self.put(id, additions, exposition, None)
    }

    /// Forgets an application.
    pub fn remove(&mut self, name: &str) -> Changes {
        let Some(id) = self.names.remove(name) else {
            return Changes::default();
        };
        let nothing = Arc::new(Exposition::parse(bytes::Bytes::new(), Syntax::Text));
        let changes = self.put(id, Arc::new([]), nothing, None);
        self.apps.remove(id);
        changes
    }

    /// An update that changes nothing costs a comparison of the two texts; where the newest counts, being newest is a change.
    fn says_the_same(&self, id: Id<App>, labels: &Arc<[LabelPair]>, exposition: &Exposition) -> bool {
        let app = &self.apps[id];
        self.rules.duplicates == Duplicates::Label
            && app.exposition.syntax() == exposition.syntax()
            && app.exposition.body() == exposition.body()
            && app.labels == *labels
    }

    fn additions(&self, name: &AppName, labels: &[LabelPair]) -> Arc<[Addition]> {
        let given = labels
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(label, value)| Addition::new(label, value));
        let own_label = self
            .rules
            .app_label
            .iter()
            .filter(|own| !labels.iter().any(|(label, value)| label == *own && !value.is_empty()));
        given.chain(own_label.map(|own| Addition::new(own, name.as_str()))).collect()
    }

    /// Makes an application say something; of all families of the text, or of some.
    pub(super) fn put(&mut self, id: Id<App>, additions: Arc<[Addition]>, exposition: Arc<Exposition>, only: Option<&[u32]>) -> Changes {
        self.updates += 1;
        let update = self.updates;
        let sorted = self.sort(&exposition, only);
        let app = &mut self.apps[id];
        app.update = update;
        (app.reserved, app.doubles) = (sorted.reserved, sorted.doubles);
        let before = Before {
            exposition: std::mem::replace(&mut app.exposition, Arc::clone(&exposition)),
            additions: std::mem::replace(&mut app.additions, additions),
            parts: std::mem::take(&mut app.parts),
        };
        let (contested, reshaped, affected) = Default::default();
        let mut turn = Turn {
            app: id,
            update,
            before,
            contested,
            reshaped,
            affected,
        };
        let parts: Box<[AppPart]> = (0..)
            .zip(&sorted.parts)
            .map(|(at, part)| self.contribute(at, *part, &mut turn))
            .collect();
        for old in turn.before.parts.clone() {
            if self.entries[old.entry]
                .get(id)
                .is_some_and(|contribution| contribution.update != update)
            {
                self.detach(old.entry, &mut turn);
            }
        }
        self.apps[id].parts = parts;
        self.label_rest(&mut turn);
        self.private.mark(id, &mut self.stamps);
        self.apps[id].stamp = self.stamps.next();
        self.settle(&mut turn);
        self.apps[id].private_bytes = self.private_bytes(id);
        turn.affected.remove(&id);
        let affected = turn
            .affected
            .into_iter()
            .filter_map(|it| self.apps.get(it))
            .map(|app| app.name.clone())
            .collect();
        Changes {
            clashes: self.clashes_of(id),
            affected,
        }
    }

    fn private_bytes(&self, id: Id<App>) -> usize {
        let parts = self.apps[id].parts.iter().map(|part| &self.entries[part.entry].contributions);
        parts
            .map(|it| {
                if let Contributions::One(_, contribution) = it {
                    contribution.bytes as usize
                } else {
                    0
                }
            })
            .sum()
    }

    /// Sorts out which families of a text go where.
    pub(super) fn sort(&self, exposition: &Exposition, only: Option<&[u32]>) -> Sorted {
        let mut parts = parts(exposition);
        if let Some(only) = only {
            parts.retain(|part| only.contains(&part.family));
        }
        let (mut reserved, mut doubles) = (Vec::new(), Vec::new());
        if !self.rules.reserved.is_empty() {
            let is_reserved = |part: &&Part| self.rules.is_reserved(&part.key(exposition));
            reserved.extend(parts.iter().filter(is_reserved).map(|part| part.family));
            reserved.dedup();
            parts.retain(|part| reserved.binary_search(&part.family).is_err());
        }
        // Names as written differ within a text; names that were put together or escaped need not.
        if exposition.syntax() == Syntax::OpenMetrics || parts.iter().any(|part| part.quoted) {
            let mut keys = HashSet::new();
            doubles.extend(
                parts
                    .iter()
                    .filter(|part| !keys.insert(part.key(exposition)))
                    .map(|part| part.family),
            );
            doubles.dedup();
            parts.retain(|part| doubles.binary_search(&part.family).is_err());
        }
        Sorted {
            parts,
            reserved: reserved.into(),
            doubles: doubles.into(),
        }
    }

    fn contribute(&mut self, at: usize, part: Part, turn: &mut Turn) -> AppPart {
        let exposition = Arc::clone(&self.apps[turn.app].exposition);
        let key = part.key(&exposition);
        // Most updates have the same families in the same order as the one before.
        let same_place = turn
            .before
            .parts
            .get(at)
            .map(|old| old.entry)
            .filter(|&entry| *self.entries[entry].key == *key);
        let entry = match same_place.or_else(|| self.keys.get(&*key).copied()) {
            None => self.found(&key, part, turn),
            Some(entry) if self.entries[entry].get(turn.app).is_some() => self.renew(entry, part, turn),
            Some(entry) => self.attach(entry, part, turn),
        };
        AppPart {
            entry,
            family: part.family,
        }
    }

    fn contribution(&self, key: &[u8], part: Part, turn: &Turn) -> Contribution {
        let app = &self.apps[turn.app];
        Contribution {
            since: turn.update,
            part,
            update: turn.update,
            bytes: size_of(&app.exposition, part),
            digest: 0,
            duplicates: 0,
            labelled: app.labelled.contains(key),
            taken: 0,
        }
    }

    /// The first application to have a family.
    fn found(&mut self, key: &[u8], part: Part, turn: &mut Turn) -> Id<Entry> {
        let key: Arc<[u8]> = key.into();
        let contribution = self.contribution(&key, part, turn);
        let has_help = self.apps[turn.app].help(part.family).is_some();
        let entry = Entry {
            key: Arc::clone(&key),
            senior: turn.app,
            typer: (part.kind != Kind::Unknown).then_some(turn.app),
            helper: has_help.then_some(turn.app),
            shape: contribution.shape(),
            kind: part.kind,
            blocked_by: None,
            form: Form::Plain(Kind::Unknown),
            stamp: 0,
            contributions: Contributions::One(turn.app, contribution),
        };
        let id = self.entries.insert(entry);
        self.keys.insert(Arc::clone(&key), id);
        turn.contested.insert(Arc::clone(&key));
        turn.reshaped.insert(key);
        id
    }

    /// An application that has a family again.
    fn renew(&mut self, id: Id<Entry>, part: Part, turn: &mut Turn) -> Id<Entry> {
        let bytes = size_of(&self.apps[turn.app].exposition, part);
        let entry = &mut self.entries[id];
        let contribution = entry.get_mut(turn.app).expect("the caller has seen it");
        let old = std::mem::replace(
            contribution,
            Contribution {
                part,
                update: turn.update,
                bytes,
                ..contribution.clone()
            },
        );
        if old.shape() != contribution.shape() {
            // As another thing altogether it is a latecomer.
            contribution.since = turn.update;
        }
        if let Some(shared) = entry.shared_mut() {
            shared.count_in(&part, bytes);
            shared.count_out(&old.part, old.bytes);
        }
        self.reconsider(id, &old, turn);
        self.settle_home(id);
        self.reindex(id, turn.app, Some(Source::before(turn, old.part)), turn);
        if old.part.names == part.names {
            self.mark(id, turn.app)
        } else {
            self.mark_membership(id, turn.app)
        }
        id
    }

    /// An application that comes to have a family which others have.
    fn attach(&mut self, id: Id<Entry>, part: Part, turn: &mut Turn) -> Id<Entry> {
        let key = Arc::clone(&self.entries[id].key);
        let contribution = self.contribution(&key, part, turn);
        self.share(id, turn);
        let has_help = self.apps[turn.app].help(part.family).is_some();
        let entry = &mut self.entries[id];
        let kept = entry.keeps(&contribution);
        let odd = entry
            .get(entry.senior)
            .is_some_and(|senior| entry.is_odd(&contribution, senior.part.role));
        let typed = kept && part.kind != Kind::Unknown && entry.typer.is_none();
        if typed {
            (entry.typer, entry.kind) = (Some(turn.app), part.kind);
        }
        let helps = kept && has_help && self.comes_first(id, turn.app);
        let entry = &mut self.entries[id];
        if helps {
            entry.helper = Some(turn.app);
        }
        let shared = entry.shared_mut().expect("it has just been shared");
        shared.count_in(&part, contribution.bytes);
        shared.odd += u32::from(odd);
        shared.labelled += u32::from(contribution.labelled);
        shared.of.insert(turn.app, contribution);
        if typed {
            self.mark_all(id);
        } else if helps || part.united {
            self.mark_header(id);
        }
        if typed || odd {
            turn.reshaped.insert(key);
        }
        self.reindex(id, turn.app, None, turn);
        self.settle_home(id);
        self.mark_membership(id, turn.app);
        id
    }

    /// Makes room for a second contributor.
    fn share(&mut self, id: Id<Entry>, turn: &mut Turn) {
        let Contributions::One(owner, contribution) = &self.entries[id].contributions else {
            return;
        };
        let (owner, contribution) = (*owner, contribution.clone());
        let home = Home::Group(self.group_for(id, contribution.bytes as usize));
        let mut shared = Shared {
            of: BTreeMap::new(),
            series: SeriesIndex::default(),
            labelled: u32::from(contribution.labelled),
            taken: [0; MAX_RANKS],
            odd: u32::from(!contribution.part.fit),
            quoted: 0,
            united: 0,
            bytes: 0,
            elders: Vec::new(),
            rank: 0,
            home,
        };
        shared.count_in(&contribution.part, contribution.bytes);
        let bytes = contribution.bytes as usize;
        shared.of.insert(owner, contribution);
        self.entries[id].contributions = Contributions::Many(Box::new(shared));
        let app = &mut self.apps[owner];
        app.private_bytes = app.private_bytes.saturating_sub(bytes);
        self.private.mark(owner, &mut self.stamps);
        self.reindex(id, owner, None, turn);
        // What a state set is under OpenMetrics depends on being alone.
        turn.reshaped.insert(Arc::clone(&self.entries[id].key));
    }

    /// A group with room for a family of so many bytes.
    pub(super) fn group_for(&mut self, id: Id<Entry>, bytes: usize) -> Id<Group> {
        let last = self
            .groups
            .last()
            .filter(|(_, group)| group.segment.bytes + bytes <= TARGET_SEGMENT_BYTES)
            .map(|(id, _)| id);
        let group = last.unwrap_or_else(|| {
            self.groups.insert(Group {
                families: Vec::new(),
                segment: Segment::new(self.stamps.next()),
            })
        });
        self.groups[group].families.push(id);
        self.groups[group].segment.bytes += bytes;
        self.groups[group].segment.mark(self.stamps.next());
        group
    }

    /// A family with quoted names must be in one segment: its names may differ, and each name's samples belong together.
    fn settle_home(&mut self, id: Id<Entry>) {
        let Some(Shared {
            quoted: 1..,
            home: Home::Own(_),
            bytes,
            ..
        }) = self.entries[id].shared()
        else {
            return;
        };
        let group = self.group_for(id, *bytes);
        self.wide.remove(&id);
        if let Some(shared) = self.entries[id].shared_mut() {
            shared.home = Home::Group(group);
        }
    }

    /// An application that no longer has a family.
    fn detach(&mut self, id: Id<Entry>, turn: &mut Turn) {
        self.mark_membership(id, turn.app);
        let key = Arc::clone(&self.entries[id].key);
        turn.reshaped.insert(Arc::clone(&key));
        if let Some(part) = self.entries[id].get(turn.app).map(|contribution| contribution.part) {
            self.release_series(id, Source::before(turn, part), turn);
            if part.united {
                self.mark_header(id);
            }
        }
        let entry = &mut self.entries[id];
        let senior_role = entry.get(entry.senior).map(|senior| senior.part.role);
        let was_odd = entry
            .get(turn.app)
            .zip(senior_role)
            .is_some_and(|(it, role)| entry.is_odd(it, role));
        let elects = [Some(entry.senior), entry.typer, entry.helper].contains(&Some(turn.app));
        let last = match &mut entry.contributions {
            Contributions::One(..) => true,
            Contributions::Many(shared) => {
                if let Some(gone) = shared.of.remove(&turn.app) {
                    shared.count_out(&gone.part, gone.bytes);
                    shared.odd -= u32::from(was_odd);
                    shared.labelled -= u32::from(gone.labelled);
                    shared.untake(gone.taken);
                }
                shared.of.is_empty()
            }
        };
        if last {
            self.dissolve(id);
            turn.contested.insert(key);
        } else if elects {
            self.succeed(id, senior_role, turn);
        }
    }

    /// Nobody has the family any more.
    fn dissolve(&mut self, id: Id<Entry>) {
        let Some(entry) = self.entries.remove(id) else { return };
        self.keys.remove(&entry.key);
        self.wide.remove(&id);
        if let Contributions::Many(shared) = entry.contributions
            && let Home::Group(group) = shared.home
        {
            let members = &mut self.groups[group];
            members.families.retain(|member| *member != id);
            if members.families.is_empty() {
                self.groups.remove(group);
            }
        }
    }
}

/// The families of a text, by where they go.
pub(super) struct Sorted {
    pub(super) parts: Vec<Part>,
    pub(super) reserved: Box<[u32]>,
    pub(super) doubles: Box<[u32]>,
}

impl App {
    pub(super) fn new(name: AppName, own: bool) -> Self {
        Self {
            name,
            own,
            exposition: Arc::new(Exposition::parse(bytes::Bytes::new(), Syntax::Text)),
            labels: Arc::new([]),
            additions: Arc::new([]),
            parts: Box::default(),
            reserved: Box::default(),
            doubles: Box::default(),
            private_bytes: 0,
            update: 0,
            stamp: 0,
            labelled: HashSet::new(),
        }
    }

    pub(super) fn help(&self, family: u32) -> Option<&[u8]> {
        help_of(&self.exposition, family)
    }

    /// The help and the unit of a part.
    pub(super) fn words(&self, part: Part) -> Words<'_> {
        words_of(&self.exposition, part)
    }
}

fn help_of(exposition: &Exposition, family: u32) -> Option<&[u8]> {
    exposition.families()[family as usize].help.map(|help| exposition.text(help))
}

/// Help and unit.
type Words<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn words_of(exposition: &Exposition, part: Part) -> Words<'_> {
    let unit = exposition.families()[part.family as usize].unit;
    (help_of(exposition, part.family), unit.map(|unit| exposition.text(unit)))
}

impl Before {
    /// The help and the unit of a part.
    pub(super) fn words(&self, part: Part) -> Words<'_> {
        words_of(&self.exposition, part)
    }
}

/// About how many bytes a part makes: its lines, and some for the header.
fn size_of(exposition: &Exposition, part: Part) -> u32 {
    const HEADER: usize = 100;
    let family = &exposition.families()[part.family as usize];
    let bytes: usize = exposition.run_spans(family).iter().map(|span| span.len() + 1).sum();
    u32::try_from(bytes + HEADER).unwrap_or(u32::MAX)
}

impl Shared {
    fn count_in(&mut self, part: &Part, bytes: u32) {
        self.quoted += u32::from(part.quoted);
        self.united += u32::from(part.united);
        self.bytes += bytes as usize;
    }

    fn count_out(&mut self, part: &Part, bytes: u32) {
        self.quoted -= u32::from(part.quoted);
        self.united -= u32::from(part.united);
        self.bytes -= bytes as usize;
    }

    /// Notes that one contribution has labels of these ranks.
    pub(super) fn take(&mut self, ranks: u8) {
        self.taken
            .iter_mut()
            .enumerate()
            .for_each(|(rank, count)| *count += u32::from(ranks >> rank & 1));
    }

    /// Notes that one contribution has labels of these ranks no more.
    pub(super) fn untake(&mut self, ranks: u8) {
        self.taken
            .iter_mut()
            .enumerate()
            .for_each(|(rank, count)| *count -= u32::from(ranks >> rank & 1));
    }
}

impl Entry {
    pub(super) fn strip(&self) -> Option<&Strip> {
        match &self.shared()?.home {
            Home::Own(strip) => Some(strip),
            Home::Group(_) => None,
        }
    }

    pub(super) fn strip_mut(&mut self) -> Option<&mut Strip> {
        match &mut self.shared_mut()?.home {
            Home::Own(strip) => Some(strip),
            Home::Group(_) => None,
        }
    }
}
