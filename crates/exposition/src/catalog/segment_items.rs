//! The items of a segment: which samples of which app, under which header.

use std::borrow::Cow;
use std::sync::Arc;

use super::Catalog;
use super::app::{App, AppFamily, AppId};
use super::contributions::{AppRange, Contribution};
use super::entry::{FamilyEntry, OpenMetricsForm, SharedFamily};
use super::paged::Id;
use super::text_family::TextFamily;
use crate::family::{FamilyFlags, MetricType, Suffix};
use crate::identity::ExtraLabel;
use crate::negotiate::Escaping;
use crate::render::{Header, Help, Item, OutputFormat};
use crate::syntax::Syntax;

/// The only section of a family that goes out as one.
const WHOLE: [Option<Suffix>; 1] = [None];

/// The sections of a family that goes out as several, one for each sample name.
const SPLIT: [Option<Suffix>; 4] = [Some(Suffix::Bare), Some(Suffix::Bucket), Some(Suffix::Sum), Some(Suffix::Count)];

/// The type and form of a family as exposed.
#[derive(Clone, Copy)]
struct Exposure {
    kind: MetricType,
    form: OpenMetricsForm,
}

impl Catalog {
    /// The private families of the apps of a range.
    pub(super) fn private_items(&self, from: AppId, to: Option<AppId>, variant: OutputFormat) -> Vec<Item> {
        let mut items = Vec::new();
        for (_, app) in self.apps.slots.range(from, to).filter(|(_, app)| app.private_bytes > 0) {
            for family in app.families.iter().filter(|family| !family.shared) {
                self.private_family(app, family, variant, &mut items);
            }
        }
        items
    }

    /// All families of one app.
    pub(super) fn app_items(&self, id: AppId, variant: OutputFormat) -> Vec<Item> {
        let (app, mut items) = (&self.apps.slots[id], Vec::new());
        for family in app.families.iter() {
            if family.shared {
                self.shared_family(family.entry, AppRange::App(id), variant, &mut items);
            } else {
                self.private_family(app, family, variant, &mut items);
            }
        }
        for entry in self.derived_entries(app) {
            self.shared_family(entry, AppRange::App(id), variant, &mut items);
        }
        items
    }

    fn private_family(&self, app: &Arc<App>, family: &AppFamily, variant: OutputFormat, items: &mut Vec<Item>) {
        let exposure = Exposure {
            kind: family.text().kind,
            form: family.form,
        };
        for &suffix in sections(family.form, variant) {
            let extra_labels = if family.labelled {
                Some(self.with_label(app, 0))
            } else {
                app.given_labels()
            };
            let Some(mut item) = item(app, &family.text(), exposure, variant, suffix, extra_labels) else {
                continue;
            };
            let help = app.exposition.families()[family.text().family as usize].help().map(|help| Help {
                text: app.exposition.body().slice(help.range()),
                syntax: app.exposition.syntax(),
            });
            let unit = unit_of(app, &family.text()).filter(|_| states_unit(variant, suffix));
            item.header = Some(Box::new(Header {
                name: header_name(app, &family.text(), exposure, variant, suffix),
                kind: header_kind(exposure, variant),
                help,
                unit,
            }));
            items.push(item);
        }
    }

    /// A shared family in one piece.
    pub(super) fn shared_family(&self, id: Id<FamilyEntry>, only: AppRange, variant: OutputFormat, items: &mut Vec<Item>) {
        let Some(shared) = self.shared(id) else { return };
        for &suffix in sections(shared.form, variant) {
            self.section(id, shared, only, variant, suffix, items);
        }
    }

    /// A section of a shared family.
    pub(super) fn section(
        &self,
        id: Id<FamilyEntry>,
        shared: &SharedFamily,
        only: AppRange,
        variant: OutputFormat,
        suffix: Option<Suffix>,
        items: &mut Vec<Item>,
    ) {
        let exposure = Exposure {
            kind: shared.kind(),
            form: shared.form,
        };
        let mut of_section = shared.contributions.among(only).filter_map(|(app, contribution)| {
            let (owner, text) = (&self.apps.slots[app], shared.exposed(contribution));
            let extra_labels = self.extra_labels_of(shared, owner, contribution);
            let mut item = item(owner, &text, exposure, variant, suffix, extra_labels)?;
            item.suppressed = self.suppressed(id, app);
            Some((owner, text, item))
        });
        let header = |name| Some(Box::new(self.header(shared, exposure, name, variant, suffix)));
        let tells_apart = variant.escaping == Escaping::AllowUtf8 && shared.counts().quoted > 0;
        if tells_apart {
            // Names that only UTF-8 aware scrapers can tell apart: the samples of each belong together.
            let named = of_section.map(|(app, text, item)| (header_name(app, &text, exposure, variant, suffix), item));
            let mut named: Vec<_> = named.collect();
            named.sort_by(|a, b| a.0.cmp(&b.0));
            for group in named.chunk_by_mut(|one, other| one.0 == other.0) {
                let (name, first) = &mut group[0];
                first.header = header(name.clone());
            }
            items.extend(named.into_iter().map(|(_, item)| item));
            return;
        }
        let begins = match only {
            AppRange::App(_) => true,
            AppRange::Range(from, _) => {
                first_exposed(shared, exposure, variant, suffix, &self.apps.slots).is_none_or(|first| from <= first)
            }
        };
        if begins && let Some((app, text, mut item)) = of_section.next() {
            item.header = header(header_name(app, &text, exposure, variant, suffix));
            items.push(item);
        }
        items.extend(of_section.map(|(.., item)| item));
    }

    fn extra_labels_of(&self, shared: &SharedFamily, app: &App, contribution: &Contribution) -> Option<Arc<[ExtraLabel]>> {
        if contribution.labelled {
            Some(self.with_label(app, shared.rank))
        } else {
            app.given_labels()
        }
    }

    /// The added labels of an app and its disambiguating label.
    pub(super) fn with_label(&self, app: &App, rank: u8) -> Arc<[ExtraLabel]> {
        let label = ExtraLabel::new(&self.rules.labels[usize::from(rank)], app.name.as_str());
        app.extra_labels.iter().cloned().chain([label]).collect()
    }

    fn header(&self, shared: &SharedFamily, exposure: Exposure, name: Box<[u8]>, variant: OutputFormat, suffix: Option<Suffix>) -> Header {
        let of = |app: AppId| {
            let family = shared.contributions.get(app)?.text().family;
            let exposition = &self.apps.slots[app].exposition;
            Some((exposition, &exposition.families()[family as usize]))
        };
        let help = self.help_owner(shared).and_then(of).and_then(|(exposition, family)| {
            let text = exposition.body().slice(family.help()?.range());
            Some(Help {
                text,
                syntax: exposition.syntax(),
            })
        });
        let unit = if states_unit(variant, suffix) { shared.unit_owner() } else { None };
        let unit = unit
            .and_then(of)
            .and_then(|(exposition, family)| Some(exposition.body().slice(family.unit()?.range())));
        Header {
            name,
            kind: header_kind(exposure, variant),
            help,
            unit,
        }
    }
}

/// The sections of a family: none where it is part of another one, several where it goes out as several families.
pub(super) const fn sections(form: OpenMetricsForm, variant: OutputFormat) -> &'static [Option<Suffix>] {
    match (variant.syntax, form) {
        (Syntax::OpenMetrics, OpenMetricsForm::Inside) => &[],
        (Syntax::OpenMetrics, OpenMetricsForm::Split) => &SPLIT,
        (Syntax::Text, _) | (Syntax::OpenMetrics, OpenMetricsForm::Typed(_) | OpenMetricsForm::Plain(_)) => &WHOLE,
    }
}

const fn states_unit(variant: OutputFormat, suffix: Option<Suffix>) -> bool {
    matches!(variant.syntax, Syntax::OpenMetrics) && suffix.is_none()
}

fn unit_of(app: &App, text: &TextFamily) -> Option<bytes::Bytes> {
    let unit = app.exposition.families()[text.family as usize].unit()?;
    text.has_unit.then(|| app.exposition.body().slice(unit.range()))
}

const fn header_kind(exposure: Exposure, variant: OutputFormat) -> MetricType {
    match (variant.syntax, exposure.form) {
        (Syntax::Text, _) => exposure.kind,
        (Syntax::OpenMetrics, OpenMetricsForm::Typed(kind) | OpenMetricsForm::Plain(kind)) => kind,
        (Syntax::OpenMetrics, OpenMetricsForm::Split | OpenMetricsForm::Inside) => MetricType::Unknown,
    }
}

/// The names of the samples of a contribution that belong to a section; nothing if it has none of them.
fn section_names(app: &App, text: &TextFamily, exposure: Exposure, variant: OutputFormat, suffix: Option<Suffix>) -> Option<FamilyFlags> {
    let source = &app.exposition.families()[text.family as usize];
    let names = match (variant.syntax, exposure.form, suffix) {
        (Syntax::OpenMetrics, OpenMetricsForm::Typed(_), _) => source.flags.names(),
        (_, _, Some(suffix)) => text.names.intersection(suffix.as_flag()),
        _ => text.names,
    };
    source.flags.intersects(names).then_some(names)
}

/// The first app with samples in a section.
fn first_exposed(
    shared: &SharedFamily,
    exposure: Exposure,
    variant: OutputFormat,
    suffix: Option<Suffix>,
    apps: &super::paged::Slab<Arc<App>>,
) -> Option<AppId> {
    let mut all = shared.contributions.iter();
    all.find(|(app, it)| section_names(&apps[*app], &shared.exposed(it), exposure, variant, suffix).is_some())
        .map(|(app, _)| app)
}

fn item(
    app: &App,
    text: &TextFamily,
    exposure: Exposure,
    variant: OutputFormat,
    suffix: Option<Suffix>,
    extra_labels: Option<Arc<[ExtraLabel]>>,
) -> Option<Item> {
    let names = section_names(app, text, exposure, variant, suffix)?;
    let kind = match (variant.syntax, exposure.form) {
        (Syntax::OpenMetrics, OpenMetricsForm::Typed(kind)) => kind,
        (Syntax::OpenMetrics, _) => MetricType::Unknown,
        (Syntax::Text, _) => exposure.kind,
    };
    Some(Item {
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
    })
}

/// The name of a family in the header before a contribution.
fn header_name(app: &App, text: &TextFamily, exposure: Exposure, variant: OutputFormat, suffix: Option<Suffix>) -> Box<[u8]> {
    let exposition = &app.exposition;
    let name: Cow<'_, [u8]> = match (variant.syntax, exposure.form) {
        (Syntax::OpenMetrics, OpenMetricsForm::Typed(kind)) => {
            let name = exposition.text(exposition.families()[text.family as usize].name);
            let base = if kind == MetricType::Counter && exposition.syntax() == Syntax::Text {
                name.strip_suffix(b"_total")
            } else {
                None
            };
            base.unwrap_or(name).into()
        }
        _ => text.name(exposition),
    };
    match suffix {
        Some(suffix) if suffix != Suffix::Bare => [&*name, suffix.as_str().as_bytes()].concat().into(),
        _ => name.into_owned().into(),
    }
}
