//! What a segment shows, as handles that need no catalog any more.

use std::borrow::Cow;
use std::sync::Arc;

use super::entry::{Contribution, Contributions, Entry, Form};
use super::slab::Id;
use super::{App, Catalog};
use crate::exposition::negotiate::Escaping;
use crate::exposition::render::{Addition, Header, Help, Item, Variant};
use crate::exposition::{Kind, Suffix};
use crate::model::Syntax;

/// Which applications an answer is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Only {
    /// Those from the first up to but without the second.
    Range(Id<App>, Option<Id<App>>),
    /// This one.
    App(Id<App>),
}

impl Only {
    pub(super) const ALL: Self = Self::Range(Id::FIRST, None);
}

/// Where a family goes out as one.
const WHOLE: [Option<Suffix>; 1] = [None];

/// Where a family is split: its sample names, one section each.
const SPLIT: [Option<Suffix>; 4] = [Some(Suffix::Bare), Some(Suffix::Bucket), Some(Suffix::Sum), Some(Suffix::Count)];

impl Catalog {
    /// What the applications of a range have for themselves.
    pub(super) fn private_items(&self, from: Id<App>, to: Option<Id<App>>, variant: Variant) -> Vec<Item> {
        let mut items = Vec::new();
        for (_, app) in self.apps.range(from, to) {
            for part in &app.parts {
                if matches!(self.entries[part.entry].contributions, Contributions::One(..)) {
                    self.whole_family(part.entry, Only::ALL, variant, &mut items);
                }
            }
        }
        items
    }

    /// A family in one piece.
    pub(super) fn whole_family(&self, id: Id<Entry>, only: Only, variant: Variant, items: &mut Vec<Item>) {
        for &suffix in self.sections(id, variant) {
            self.section(id, only, variant, suffix, items);
        }
    }

    /// The sections of a family, none where it does not go out by itself: more than one where it goes out as several families.
    pub(super) fn sections(&self, id: Id<Entry>, variant: Variant) -> &'static [Option<Suffix>] {
        let entry = &self.entries[id];
        match (variant.syntax, entry.form) {
            _ if !entry.is_active() => &[],
            (Syntax::OpenMetrics, Form::Inside) => &[],
            (Syntax::OpenMetrics, Form::Split) => &SPLIT,
            (Syntax::Text, _) | (Syntax::OpenMetrics, Form::Typed(_) | Form::Plain(_)) => &WHOLE,
        }
    }

    /// A section of a family.
    pub(super) fn section(&self, id: Id<Entry>, only: Only, variant: Variant, suffix: Option<Suffix>, items: &mut Vec<Item>) {
        let entry = &self.entries[id];
        let of_section = entry
            .among(only)
            .filter(|(_, it)| entry.keeps(it))
            .filter_map(|(app, contribution)| {
                let item = self.item(id, app, contribution, variant, suffix)?;
                Some((app, contribution, item))
            });
        let begins = match only {
            Only::App(_) => true,
            Only::Range(from, _) => self.first_contributor(id, suffix).is_none_or(|first| from <= first),
        };
        let name = |app, contribution: &Contribution| self.header_name(contribution, app, variant, id, suffix);
        let header = |name| Some(Box::new(self.header(id, name, variant, suffix)));
        let tells_apart = variant.escaping == Escaping::AllowUtf8 && entry.shared().is_some_and(|shared| shared.quoted > 0);
        if tells_apart {
            // Names that only UTF-8 aware scrapers can tell apart: each one's samples belong together.
            let mut named: Vec<_> = of_section.map(|(app, it, item)| (name(app, it), item)).collect();
            named.sort_by(|a, b| a.0.cmp(&b.0));
            for group in named.chunk_by_mut(|one, other| one.0 == other.0) {
                let (name, first) = &mut group[0];
                first.header = header(name.clone());
            }
            items.extend(named.into_iter().map(|(_, item)| item));
        } else {
            let mut is_first = begins;
            items.extend(of_section.map(|(app, contribution, mut item)| {
                if std::mem::take(&mut is_first) {
                    item.header = header(name(app, contribution));
                }
                item
            }));
        }
    }

    /// The application whose samples come first.
    fn first_contributor(&self, id: Id<Entry>, suffix: Option<Suffix>) -> Option<Id<App>> {
        let entry = &self.entries[id];
        let has = |it: &Contribution| suffix.is_none_or(|suffix| it.part.names.contains(suffix.as_trait()));
        entry.iter().find(|(_, it)| entry.keeps(it) && has(it)).map(|(app, _)| app)
    }

    fn item(&self, id: Id<Entry>, app: Id<App>, contribution: &Contribution, variant: Variant, suffix: Option<Suffix>) -> Option<Item> {
        let (entry, owner) = (&self.entries[id], &self.apps[app]);
        let source = &owner.exposition.families()[contribution.part.family as usize];
        let names = match (variant.syntax, entry.form, suffix) {
            (Syntax::OpenMetrics, Form::Typed(_), _) => source.traits.names(),
            (_, _, Some(suffix)) => contribution.part.names.intersection(suffix.as_trait()),
            _ => contribution.part.names,
        };
        if !source.traits.intersects(names) {
            return None;
        }
        let kind = match (variant.syntax, entry.form) {
            (Syntax::OpenMetrics, Form::Typed(kind)) => kind,
            (Syntax::OpenMetrics, _) => Kind::Unknown,
            (Syntax::Text, _) => entry.kind,
        };
        Some(Item {
            exposition: Arc::clone(&owner.exposition),
            family: contribution.part.family,
            names,
            header: None,
            kind,
            additions: self.all_additions(entry, owner, contribution),
            hidden: self.hidden(id, app),
        })
    }

    fn all_additions(&self, entry: &Entry, owner: &App, contribution: &Contribution) -> Arc<[Addition]> {
        if !contribution.labelled {
            return Arc::clone(&owner.additions);
        }
        let telling = Addition::new(&self.rules.telling[usize::from(entry.rank())], owner.name.as_str());
        owner.additions.iter().cloned().chain([telling]).collect()
    }

    /// What the family is called in the header for a contribution.
    fn header_name(&self, contribution: &Contribution, app: Id<App>, variant: Variant, id: Id<Entry>, suffix: Option<Suffix>) -> Box<[u8]> {
        let exposition = &self.apps[app].exposition;
        let name: Cow<'_, [u8]> = match (variant.syntax, self.entries[id].form) {
            (Syntax::OpenMetrics, Form::Typed(kind)) => {
                let name = exposition.text(exposition.families()[contribution.part.family as usize].name);
                let base = if kind == Kind::Counter && exposition.syntax() == Syntax::Text {
                    name.strip_suffix(b"_total")
                } else {
                    None
                };
                base.unwrap_or(name).into()
            }
            _ => contribution.part.name(exposition),
        };
        match suffix {
            Some(suffix) => [&*name, suffix.as_str().as_bytes()].concat().into(),
            None => name.into_owned().into(),
        }
    }

    fn header(&self, id: Id<Entry>, name: Box<[u8]>, variant: Variant, suffix: Option<Suffix>) -> Header {
        let entry = &self.entries[id];
        let kind = match (variant.syntax, entry.form) {
            (Syntax::Text, _) => entry.kind,
            (Syntax::OpenMetrics, Form::Typed(kind) | Form::Plain(kind)) => kind,
            (Syntax::OpenMetrics, Form::Split | Form::Inside) => Kind::Unknown,
        };
        let of = |app: Id<App>| {
            let family = entry.get(app)?.part.family;
            let exposition = &self.apps[app].exposition;
            Some((exposition, &exposition.families()[family as usize]))
        };
        let help = entry.helper.and_then(of).and_then(|(exposition, family)| {
            let text = exposition.body().slice(family.help?.range());
            Some(Help {
                text,
                syntax: exposition.syntax(),
            })
        });
        let states_unit = variant.syntax == Syntax::OpenMetrics && suffix.is_none();
        let unit = if states_unit { entry.uniter() } else { None };
        let unit = unit
            .and_then(of)
            .and_then(|(exposition, family)| Some(exposition.body().slice(family.unit?.range())));
        Header { name, kind, help, unit }
    }
}
