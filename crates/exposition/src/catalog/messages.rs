//! The items of a segment as protobuf messages: which samples of which app, under which header.
//!
//! Unlike text, a body of messages may have several families of one name. So apps that contradict each other about a family each have a
//! message of their type, and derived contributions have none. Creation times go out inside the metrics that they belong to.

mod replaced;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::replaced::{RecordPart, has_samples};
use super::Catalog;
use super::app::{App, AppFamily, AppId};
use super::contributions::AppRange;
use super::entry::{FamilyEntry, FamilyRef, OpenMetricsForm, SharedFamily};
use super::paged::Id;
use super::text_family::{Shape, TextFamily};
use crate::family::{FamilyFlags, MetricType, Suffix};
use crate::identity::ExtraLabel;
use crate::index::Exposition;
use crate::negotiate::Escaping;
use crate::openmetrics2::UnstatedTypes;
use crate::render::{Header, Help, Item, OutputFormat, message_name_in};
use crate::syntax::Syntax;

/// The part of a response that a section of a large family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageSection {
    /// The metrics of its message of this type, without the header.
    Metrics(MetricType),
    /// The samples that its messages cannot carry, as messages of their own.
    Leftovers,
}

impl MessageSection {
    /// All sections, those of absent types too: a rendered segment keeps its sections by their places, and the types of other apps come and go
    /// without it.
    pub(super) const ALL: [Self; MetricType::ALL.len() + 1] = {
        let mut all = [Self::Leftovers; MetricType::ALL.len() + 1];
        let mut at = 0;
        while at < MetricType::ALL.len() {
            all[at] = Self::Metrics(MetricType::ALL[at]);
            at += 1;
        }
        all
    };
}

impl Catalog {
    /// The types of families that messages show as gauges, by their names in messages of this escaping. It looks at all families that came as
    /// OpenMetrics: meant for a snapshot.
    #[must_use]
    pub fn unstated_types(&self, escaping: Escaping) -> UnstatedTypes {
        let mut types = UnstatedTypes::new();
        let apps = self.apps.slots.iter().map(|(_, app)| app);
        for app in apps.filter(|app| app.exposition.syntax() == Syntax::OpenMetrics) {
            for family in app.families.iter() {
                let form = if family.shared {
                    self.shared(family.entry).map(|shared| shared.form)
                } else {
                    Some(family.form)
                };
                if let Some(OpenMetricsForm::Typed(kind @ (MetricType::Info | MetricType::StateSet | MetricType::GaugeHistogram))) = form {
                    let text = family.text();
                    types.insert(message_name_in(&text.name(&app.exposition), escaping).into(), kind);
                }
            }
        }
        types
    }

    /// The messages of the private families of the apps of a range.
    pub(super) fn private_messages(&self, from: AppId, to: Option<AppId>) -> Vec<Item> {
        let mut items = Vec::new();
        for (id, app) in self.apps.slots.range(from, to).filter(|(_, app)| app.private_bytes > 0) {
            for family in app.families.iter().filter(|family| !family.shared) {
                self.private_message(id, app, family, &mut items);
            }
        }
        items
    }

    /// The messages of all families of one app.
    pub(super) fn app_messages(&self, id: AppId, variant: OutputFormat) -> Vec<Item> {
        let (app, mut items) = (&self.apps.slots[id], Vec::new());
        for family in app.families.iter() {
            if family.shared {
                self.shared_messages(family.entry, AppRange::App(id), variant, &mut items);
            } else {
                self.private_message(id, app, family, &mut items);
            }
        }
        items
    }

    fn private_message(&self, id: AppId, app: &Arc<App>, family: &AppFamily, items: &mut Vec<Item>) {
        let text = family.text();
        let Some(names) = message_names(&app.exposition, &text) else {
            return;
        };
        let extra_labels = if family.labelled {
            Some(self.with_label(app, 0))
        } else {
            app.given_labels()
        };
        for kind in own_kinds(app, &text, text.kind) {
            let item = item(app, &text, names, kind, extra_labels.clone());
            let mut own = if has_records(&app.exposition, &text) {
                self.record_items(family.entry, id, &text, &[], item)
            } else {
                vec![item]
            };
            let source = &app.exposition.families()[text.family as usize];
            own[0].header = Some(Box::new(Header {
                name: message_name(app, &text, kind),
                kind,
                help: source.help().map(|help| Help {
                    text: app.exposition.body().slice(help.range()),
                    syntax: app.exposition.syntax(),
                }),
                unit: source.unit().map(|unit| app.exposition.body().slice(unit.range())),
            }));
            items.append(&mut own);
        }
    }

    /// The messages of a shared family, as far as some apps contribute to it.
    pub(super) fn shared_messages(&self, id: Id<FamilyEntry>, only: AppRange, variant: OutputFormat, items: &mut Vec<Item>) {
        let Some(shared) = self.shared(id) else { return };
        let tells_apart = variant.escaping == Escaping::AllowUtf8 && shared.counts().quoted > 0;
        for kind in self.message_kinds(shared, only) {
            let mut named: Vec<_> = self.metrics_of(id, shared, only, kind).collect();
            if tells_apart {
                // Names that only UTF-8 aware scrapers can tell apart: the metrics of each belong together.
                named.sort_by(|a, b| a.0.cmp(&b.0));
            }
            let mut last: Option<Box<[u8]>> = None;
            for (name, mut item) in named {
                if last.as_ref().is_none_or(|last| tells_apart && *last != name) {
                    item.header = Some(Box::new(self.message_header(shared, kind, name.clone())));
                    last = Some(name);
                }
                items.push(item);
            }
        }
    }

    /// The sections of some apps' part of a large family, each at its place in [`MessageSection::ALL`].
    pub(super) fn message_sections(&self, id: Id<FamilyEntry>, shared: &SharedFamily, range: AppRange) -> Vec<Vec<Item>> {
        let kinds = self.message_kinds(shared, range);
        let items = |kind| self.metrics_of(id, shared, range, kind).map(|(_, item)| item);
        let section = |section: MessageSection| match section {
            MessageSection::Metrics(kind) if kinds.contains(&kind) => items(kind).collect(),
            MessageSection::Metrics(_) => Vec::new(),
            MessageSection::Leftovers => {
                let all = kinds.iter().flat_map(|kind| items(*kind));
                all.map(|item| Item {
                    only_leftovers: true,
                    ..item
                })
                .collect()
            }
        };
        MessageSection::ALL.into_iter().map(section).collect()
    }

    /// The header of a large family's message.
    pub(super) fn large_header(&self, id: Id<FamilyEntry>, shared: &SharedFamily, kind: MetricType) -> Option<Header> {
        let (name, _) = self.metrics_of(id, shared, AppRange::ALL, kind).next()?;
        Some(self.message_header(shared, kind, name))
    }

    fn message_header(&self, shared: &SharedFamily, kind: MetricType, name: Box<[u8]>) -> Header {
        let of = |app: AppId| {
            let family = shared.contributions.get(app)?.text().family;
            let exposition = &self.apps.slots[app].exposition;
            Some((exposition, &exposition.families()[family as usize]))
        };
        let help = self.help_owner(shared).and_then(of).and_then(|(exposition, family)| {
            Some(Help {
                text: exposition.body().slice(family.help()?.range()),
                syntax: exposition.syntax(),
            })
        });
        let unit = shared.unit_owner().and_then(of);
        let unit = unit.and_then(|(exposition, family)| Some(exposition.body().slice(family.unit()?.range())));
        Header { name, kind, help, unit }
    }

    /// The types of a shared family's messages, in order. All contributions are looked at only where some have records of other types.
    fn message_kinds(&self, shared: &SharedFamily, only: AppRange) -> Vec<MetricType> {
        let counts = shared.counts();
        if counts.other_records == 0 && !shared.in_conflict {
            return vec![shared.kind()];
        }
        if counts.other_records == 0 {
            return MetricType::ALL.into_iter().filter(|kind| counts.has_kind(*kind)).collect();
        }
        let mut kinds = BTreeSet::new();
        for (app, contribution) in shared.contributions.among(only).filter(|(_, it)| !it.derived) {
            let text = contribution.text();
            let app = &self.apps.slots[app];
            kinds.extend(own_kinds(app, &text, plain_kind(shared, &text)).map(|kind| kind as usize));
        }
        kinds.into_iter().map(|kind| MetricType::ALL[kind]).collect()
    }

    /// The contributions to a message of this type, each with the name of its family.
    fn metrics_of<'a>(
        &'a self,
        id: Id<FamilyEntry>,
        shared: &'a SharedFamily,
        only: AppRange,
        kind: MetricType,
    ) -> impl Iterator<Item = (Box<[u8]>, Item)> + 'a {
        let declared = shared.contributions.among(only).filter(|(_, it)| !it.derived);
        let items = declared.filter_map(move |(app, contribution)| {
            let (owner, text) = (&self.apps.slots[app], contribution.text());
            let names = message_names(&owner.exposition, &text)?;
            if !own_kinds(owner, &text, plain_kind(shared, &text)).any(|own| own == kind) {
                return None;
            }
            let derived: Vec<_> = self.derived_of(id, shared, &text).collect();
            let name = message_name(owner, &text, kind);
            let rank = derived
                .iter()
                .filter_map(|(_, id)| self.shared(*id))
                .map(|it| it.rank)
                .fold(shared.rank, u8::max);
            let labels = |rank| {
                if contribution.labelled {
                    Some(self.with_label(owner, rank))
                } else {
                    owner.given_labels()
                }
            };
            let mut item = item(owner, &text, names, kind, labels(rank));
            item.suppressed = self.suppressed(id, app);
            if has_records(&owner.exposition, &text) {
                let items = self.record_items(id, app, &text, &derived, item);
                return Some(items.into_iter().map(|item| (name.clone(), item)).collect());
            }
            let is_split = shared.in_conflict && text.shape() != Shape::Scalar;
            let differs = |id: Id<FamilyEntry>| {
                let is_suppressed = self.suppressed(id, app).is_some_and(|suppressed| !suppressed.is_empty());
                is_suppressed || contribution.labelled && self.shared(id).is_some_and(|it| it.rank != shared.rank)
            };
            // Those of the family's own name too: bare samples of a histogram, quantiles of a summary.
            if !is_split || !std::iter::once(id).chain(derived.iter().map(|(_, id)| *id)).any(differs) {
                return Some(vec![(name, item)]);
            }
            // Other apps have newer ones of some of its samples, or its sample names need different labels: each name stands alone.
            let known = derived
                .iter()
                .fold(FamilyFlags::NONE, |names, (suffix, _)| names | suffix.as_flag());
            let alone = |names: FamilyFlags, rank: u8, id: Id<FamilyEntry>| Item {
                names,
                grouping: MetricType::Unknown,
                untyped: true,
                extra_labels: labels(rank),
                suppressed: self.suppressed(id, app),
                ..item.clone()
            };
            // Creation times are then a family of their own, as in text.
            let created = names.intersection(FamilyFlags::CREATED).difference(text.names);
            let key = self.families.key(&self.apps.slots, id);
            let of_created = self.find(&[&*key, Suffix::Created.as_str().as_bytes()].concat());
            let of_created = of_created.filter(|_| !created.is_empty());
            let of_created = of_created.map(|id| (created, self.shared(id).map_or(0, |it| it.rank), id));
            let known = of_created.map_or(known, |_| known | created);
            let rest = alone(names.difference(known), shared.rank, id);
            let of_created = of_created.map(|(names, rank, id)| alone(names, rank, id));
            let of_names = derived.iter().map(|(suffix, id)| {
                let rank = self.shared(*id).map_or(rank, |it| it.rank);
                alone(suffix.as_flag(), rank, *id)
            });
            let items = std::iter::once(rest).chain(of_created).chain(of_names);
            Some(items.map(|item| (name.clone(), item)).collect())
        });
        items.flatten()
    }

    /// The items of an app's records of one type, where `item` has all of them.
    fn record_items(
        &self,
        id: Id<FamilyEntry>,
        app: AppId,
        text: &TextFamily,
        derived: &[(Suffix, Id<FamilyEntry>)],
        mut item: Item,
    ) -> Vec<Item> {
        // Compared as groups, which are those of the records.
        let are_groups = derived.is_empty() && !text.other_records;
        if are_groups || text.suffix != Suffix::Bare {
            return vec![item];
        }
        let entry_of = |suffix: Suffix| derived.iter().find(|(other, _)| *other == suffix).map_or(id, |(_, id)| *id);
        let own = text.names.suffixes().filter_map(|suffix| self.part(suffix, entry_of(suffix), app));
        let mut parts: Vec<RecordPart> = own.collect();
        if text.other_records {
            let key = self.families.key(&self.apps.slots, id);
            let is_other = |suffix: &Suffix| has_samples(item.kind, *suffix) && !text.names.contains(suffix.as_flag());
            let others = Suffix::NAMED.into_iter().filter(is_other);
            let others = others.filter_map(|suffix| self.part(suffix, self.find(&[&*key, suffix.as_str().as_bytes()].concat())?, app));
            parts.extend(others.filter(|part| part.family != text.family));
        }
        if parts.iter().any(|part| part.is_labelled) {
            let rank = parts.iter().map(|part| part.rank).fold(0, u8::max);
            item.extra_labels = Some(self.with_label(&self.apps.slots[app], rank));
        }
        item.suppressed = None;
        replaced::in_part(item, &parts)
    }

    /// The samples of an app that are exposed under this entry.
    fn part(&self, suffix: Suffix, id: Id<FamilyEntry>, app: AppId) -> Option<RecordPart> {
        match self.families.get(id)? {
            FamilyRef::Private { app: owner, at } => {
                let family = self.apps.slots[owner].families.get(at as usize).filter(|_| owner == app)?;
                Some(RecordPart {
                    suffix,
                    family: family.text().family,
                    grouping: family.text().kind,
                    is_labelled: family.labelled,
                    rank: 0,
                    left_out: None,
                })
            }
            FamilyRef::Shared(shared) => {
                let contribution = shared.contributions.get(app)?;
                let exposed = shared.exposed(contribution);
                Some(RecordPart {
                    suffix,
                    family: exposed.family,
                    grouping: exposed.kind,
                    is_labelled: contribution.labelled,
                    rank: shared.rank,
                    left_out: self.suppressed(id, app),
                })
            }
        }
    }

    /// The families of the sample names of a histogram or summary in conflict.
    fn derived_of(&self, id: Id<FamilyEntry>, shared: &SharedFamily, text: &TextFamily) -> impl Iterator<Item = (Suffix, Id<FamilyEntry>)> {
        let is_split = shared.in_conflict && text.shape() != Shape::Scalar;
        let key = is_split.then(|| self.families.key(&self.apps.slots, id).into_owned());
        let text = *text;
        key.into_iter().flat_map(move |key| {
            let find = |suffix: Suffix| Some((suffix, self.find(&[&*key, suffix.as_str().as_bytes()].concat())?));
            text.named_suffixes().filter_map(find).collect::<Vec<_>>()
        })
    }
}

/// The type of the message of a contribution without records.
fn plain_kind(shared: &SharedFamily, text: &TextFamily) -> MetricType {
    if shared.in_conflict { text.kind } else { shared.kind() }
}

/// The types of the messages of an app's family: those of its records, or `plain` without any.
fn own_kinds(app: &App, text: &TextFamily, plain: MetricType) -> impl Iterator<Item = MetricType> + use<> {
    let mut kinds = [false; MetricType::ALL.len()];
    let records = app.exposition.records().map_or(&[][..], |records| records.of(text.family));
    for record in records {
        kinds[record.kind.metric_type() as usize] = true;
    }
    if records.is_empty() {
        kinds[plain as usize] = true;
    }
    MetricType::ALL.into_iter().filter(move |kind| kinds[*kind as usize])
}

/// True if a family goes out as records.
fn has_records(exposition: &Exposition, text: &TextFamily) -> bool {
    exposition.records().is_some_and(|records| !records.of(text.family).is_empty())
}

/// The samples of a family's message; `None` if they go out inside the message of another family.
pub(super) fn message_names(exposition: &Exposition, text: &TextFamily) -> Option<FamilyFlags> {
    if exposition.records().is_some_and(|records| records.carries(text.family)) {
        return None;
    }
    let source = &exposition.families()[text.family as usize];
    let has = |names: FamilyFlags| source.flags.intersects(names);
    let main = match (exposition.syntax(), source.kind) {
        (Syntax::Text, _) => return Some(text.names),
        (Syntax::OpenMetrics, MetricType::Counter) if has(FamilyFlags::TOTAL) => FamilyFlags::TOTAL,
        (Syntax::OpenMetrics, MetricType::Histogram | MetricType::Summary) => Shape::from(source.kind).names(),
        (Syntax::OpenMetrics, MetricType::GaugeHistogram) => FamilyFlags::BUCKET,
        (Syntax::OpenMetrics, _) => FamilyFlags::BARE,
    };
    if has_records(exposition, text) {
        // The records have all of it, and go out once.
        return text.names.intersects(main).then(|| source.flags.names());
    }
    if !matches!(source.kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary) {
        Some(text.names)
    } else if text.names.intersects(main) {
        Some(text.names | source.flags.names().intersection(FamilyFlags::CREATED))
    } else if text.names == FamilyFlags::CREATED && has(main) {
        None
    } else {
        Some(text.names)
    }
}

/// The name of a family in its message.
fn message_name(app: &App, text: &TextFamily, kind: MetricType) -> Box<[u8]> {
    let exposition = &app.exposition;
    let source = &exposition.families()[text.family as usize];
    // Their samples are families of their own names, and their records are not.
    if kind == MetricType::GaugeHistogram || source.kind == MetricType::GaugeHistogram && has_records(exposition, text) {
        return exposition.text(source.name).into();
    }
    text.name(exposition).into()
}

fn item(app: &App, text: &TextFamily, names: FamilyFlags, kind: MetricType, extra_labels: Option<Arc<[ExtraLabel]>>) -> Item {
    Item {
        exposition: Arc::clone(&app.exposition),
        family: text.family,
        names,
        header: None,
        kind,
        grouping: text.kind,
        extra_labels,
        suppressed: None,
        only_leftovers: false,
        untyped: false,
    }
}

#[cfg(test)]
mod tests;
