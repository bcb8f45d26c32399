//! The two ways to combine the texts of apps into one exposition: raw, byte for byte and without parsing, or merged by the catalog.
//!
//! All that differs between the two modes is in this file: [`UpdateParser`] works before the store's lock is taken, [`Combiner`] under it,
//! and [`Draft`] after it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::persistence::FamilyKey;
use super::raw;
use super::rendered::RenderedExposition;
use super::response_cache::Scope;
use super::{App, Mode, PutOptions, Refused, Text, parallel};
use crate::exposition::catalog::{self, Catalog, Conflict, Outcome, Plan, Rules, Selection};
use crate::exposition::gzip::CompressorPool;
use crate::exposition::negotiate::Escaping;
use crate::exposition::openmetrics2::UnstatedTypes;
use crate::exposition::render::{Chunk, OutputFormat};
use crate::exposition::{Exposition, MemoryMeter, detect};
use crate::model::{AppName, LabelPair, Origin, Syntax, Timestamp, Update};

/// The age of a timestamp beyond which Prometheus drops the sample: half of its head block's two hours.
const TOO_OLD: Duration = Duration::from_secs(3_600);

/// Parses updates before any lock is taken.
#[derive(Debug)]
pub(super) enum UpdateParser {
    /// Texts are stored as they came.
    Raw,
    /// Texts are parsed, and their merge by the rules in force is prepared.
    Merge(Mutex<Arc<Rules>>),
}

/// An update that is ready to be stored.
#[derive(Debug)]
pub(super) struct ParsedUpdate {
    pub(super) app: AppName,
    pub(super) text: Text,
    pub(super) labels: Arc<[LabelPair]>,
    pub(super) origin: Origin,
    pub(super) at: Timestamp,
    pub(super) expires: bool,
    pub(super) expire_after: Option<Duration>,
    /// See [`PutOptions::consistent`].
    pub(super) consistent: bool,
    /// See [`PutOptions::keeps_age`].
    pub(super) keeps_age: bool,
    pub(super) outdated: bool,
    /// The prepared change of the catalog; `None` in raw mode and once it was taken.
    update: Option<catalog::Update>,
}

impl UpdateParser {
    /// True if texts are parsed and merged.
    pub(super) const fn merges(&self) -> bool {
        matches!(self, Self::Merge(_))
    }

    /// Prepares later updates by other rules. Without effect in raw mode.
    pub(super) fn set_rules(&self, rules: &Arc<Rules>) {
        if let Self::Merge(current) = self {
            *current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(rules);
        }
    }

    /// Parses the text of an update, and prepares its merge. `before` is the text that the app has now, by which one with the same series is
    /// parsed sooner.
    pub(super) fn parse(&self, update: Update, options: PutOptions, before: Option<&Exposition>) -> ParsedUpdate {
        let Update {
            app,
            body,
            syntax,
            records,
            read,
            labels,
            origin,
            at,
        } = update;
        let syntax = syntax.unwrap_or_else(|| detect(&body));
        let (text, update) = match self {
            Self::Raw => (Text::Raw(body, syntax), None),
            Self::Merge(rules) => {
                let exposition = match (read, before) {
                    (Some(read), _) => *read,
                    (None, Some(before)) => Exposition::parse_update(body, syntax, before).with_records(records),
                    (None, None) => Exposition::parse(body, syntax).with_records(records),
                };
                let exposition = Arc::new(exposition);
                let rules = Arc::clone(&rules.lock().unwrap_or_else(PoisonError::into_inner));
                let update = catalog::Update::new(&rules, &app, &labels, Arc::clone(&exposition));
                (Text::Read(exposition), Some(update))
            }
        };
        let newest = text
            .exposition()
            .and_then(|read| read.newest_timestamp())
            .map(Timestamp::from_millis);
        let outdated = newest.is_some_and(|newest| at.since(newest) > TOO_OLD);
        ParsedUpdate {
            app,
            text,
            labels,
            origin,
            at,
            expires: options.expires,
            expire_after: options.expire_after,
            consistent: options.consistent,
            keeps_age: options.keeps_age,
            outdated,
            update,
        }
    }

    /// A response without any app.
    pub(super) fn render_nothing(&self, variant: OutputFormat) -> RenderedExposition {
        match self {
            Self::Raw => RenderedExposition::raw(Vec::new()),
            Self::Merge(_) => RenderedExposition::merged(catalog::RenderedSegments::nothing(variant)),
        }
    }
}

impl ParsedUpdate {
    /// Families of the text that have the same name once escaped.
    pub(super) fn same_names(&self) -> Vec<Conflict> {
        self.update.as_ref().map_or_else(Vec::new, |update| update.same_names())
    }

    /// Checks what the merge of the update has found.
    ///
    /// # Errors
    /// If it must be consistent with other apps and is not.
    pub(super) fn check_outcome(&self, outcome: &Outcome) -> Result<(), Refused> {
        if self.consistent && (outcome.conflicts.total > 0 || outcome.duplicates > 0) {
            return Err(Refused::Inconsistent(Arc::new(outcome.conflicts.clone()), outcome.duplicates));
        }
        Ok(())
    }

    /// Takes out the prepared change of the catalog.
    pub(super) fn take_change(&mut self) -> Option<catalog::Update> {
        self.update.take()
    }
}

/// A change of the catalog. While a large change is applied to a copy, the others are recorded, and repeated on the copy.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// An app's families are replaced.
    Update {
        /// The families.
        update: catalog::Update,
        /// The families that carried a disambiguating label before a restart, for the first update after it.
        labelled: Vec<FamilyKey>,
    },
    /// An app is removed.
    Remove(AppName),
    /// An app without data gets back the labels that its families carried before a restart.
    RestoreLabels(AppName, Vec<FamilyKey>),
}

impl Change {
    /// The app that changes.
    pub(super) const fn app(&self) -> &AppName {
        match self {
            Self::Update { update, .. } => update.app(),
            Self::Remove(app) | Self::RestoreLabels(app, _) => app,
        }
    }

    /// The work of the change; see [`Catalog::cost`].
    pub(super) fn cost(&self, catalog: &Catalog) -> usize {
        match self {
            Self::Update { update, labelled } => catalog.cost(update) + labelled.len() / 8,
            Self::Remove(app) => catalog.cost_of_removal(app.as_str()),
            Self::RestoreLabels(_, labelled) => 1 + labelled.len() / 8,
        }
    }

    /// Changes the catalog, whatever the work.
    pub(super) fn apply(self, catalog: &mut Catalog) -> Outcome {
        self.apply_within(catalog, usize::MAX).unwrap_or_default()
    }

    /// Changes the catalog in one call.
    ///
    /// # Errors
    /// The change itself, if it is more work than `max_cost`. Nothing was changed.
    #[expect(clippy::result_large_err, reason = "the error is the input, given back unchanged")]
    fn apply_within(self, catalog: &mut Catalog, max_cost: usize) -> Result<Outcome, Self> {
        match self {
            Self::Update { update, labelled } => catalog
                .update_within(update, &labelled, max_cost)
                .map_err(|update| Self::Update { update, labelled }),
            Self::Remove(app) => catalog.remove_within(app.as_str(), max_cost).ok_or(Self::Remove(app)),
            Self::RestoreLabels(app, labelled) => {
                catalog.restore_labels(&app, labelled);
                Ok(Outcome::default())
            }
        }
    }
}

/// Changes to be repeated, in order. Only the last change of each app is kept, so there are no more than apps and removals of apps.
#[derive(Debug, Default)]
struct Replay {
    /// `None` where a later change has taken the place of an earlier one.
    changes: Vec<Option<Change>>,
    /// The update of each app among them.
    updates: HashMap<AppName, usize, foldhash::fast::RandomState>,
}

impl Replay {
    fn push(&mut self, mut change: Change) {
        if matches!(change, Change::RestoreLabels(..)) {
            self.changes.push(Some(change));
            return;
        }
        let before = self.updates.remove(change.app()).and_then(|before| self.changes[before].take());
        if let Change::Update { update, labelled } = &mut change {
            // The copy has not seen the earlier update, so this one restores the labels.
            if let Some(Change::Update { labelled: before, .. }) = before
                && labelled.is_empty()
            {
                *labelled = before;
            }
            self.updates.insert(update.app().clone(), self.changes.len());
        }
        self.changes.push(Some(change));
    }
}

/// Combines the texts of all apps. Changed under the store's lock.
#[derive(Debug)]
pub(super) enum Combiner {
    /// Texts stay as they are; there is nothing to keep. The meter counts them.
    Raw(MemoryMeter),
    /// Families are merged.
    Merge(Box<Merged>),
}

/// The catalog, and what happens while a copy of it is prepared to take its place.
#[derive(Debug)]
pub(super) struct Merged {
    catalog: Catalog,
    /// The changes since the copy was made; `None` while there is no copy.
    replay: Option<Replay>,
}

impl Combiner {
    pub(super) fn new(mode: Mode) -> Self {
        match mode {
            Mode::Raw => Self::Raw(MemoryMeter::default()),
            Mode::Merge(rules) => Self::Merge(Box::new(Merged {
                catalog: Catalog::new(rules),
                replay: None,
            })),
        }
    }

    /// A parser of the updates that this combiner takes.
    pub(super) fn parser(&self) -> UpdateParser {
        match self {
            Self::Raw(_) => UpdateParser::Raw,
            Self::Merge(merged) => UpdateParser::Merge(Mutex::new(Arc::clone(merged.catalog.rules()))),
        }
    }

    /// The meter of texts, and of their rendered and compressed forms.
    pub(super) const fn meter(&self) -> &MemoryMeter {
        match self {
            Self::Raw(meter) => meter,
            Self::Merge(merged) => merged.catalog.meter(),
        }
    }

    fn catalog(&self) -> Option<&Catalog> {
        match self {
            Self::Raw(_) => None,
            Self::Merge(merged) => Some(&merged.catalog),
        }
    }

    /// The bytes that the tables of families and series take, about.
    pub(super) fn footprint(&self) -> u64 {
        self.catalog().map_or(0, Catalog::footprint) as u64
    }

    /// The rendered segments, each once.
    pub(super) fn chunks(&self) -> Vec<Arc<Chunk>> {
        let mut chunks: Vec<_> = self.catalog().into_iter().flat_map(Catalog::chunks).collect();
        // What looks the same in two variants is kept in both.
        chunks.sort_unstable_by_key(Arc::as_ptr);
        chunks.dedup_by(|a, b| Arc::ptr_eq(a, b));
        chunks
    }

    /// Takes out the rendered segments of one variant.
    pub(super) fn evict(&self, variant: OutputFormat) -> Vec<Arc<Chunk>> {
        self.catalog().map_or_else(Vec::new, |catalog| catalog.evict(variant))
    }

    /// The families of an app that carry a disambiguating label.
    pub(super) fn labelled(&self, app: &AppName) -> Vec<FamilyKey> {
        self.catalog().map_or_else(Vec::new, |catalog| catalog.labelled(app.as_str()))
    }

    /// A snapshot by which apps can be described without the lock.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot(self.catalog().cloned())
    }

    /// The text of an app without data.
    pub(super) fn empty_text(&self) -> Text {
        match self {
            Self::Raw(_) => Text::Raw(Bytes::new(), Syntax::Text),
            Self::Merge(_) => Text::Read(Arc::new(Exposition::parse(Bytes::new(), Syntax::Text))),
        }
    }

    /// Replaces the families of an app, in one call into the catalog.
    ///
    /// # Errors
    /// The change, if it is more work than `max_cost`. Nothing was changed.
    #[expect(clippy::result_large_err, reason = "the error is the input, given back unchanged")]
    pub(super) fn update_within(
        &mut self,
        update: Option<catalog::Update>,
        labelled: Vec<FamilyKey>,
        max_cost: usize,
    ) -> Result<Outcome, Change> {
        match update {
            Some(update) => self.apply_within(Change::Update { update, labelled }, max_cost),
            None => Ok(Outcome::default()),
        }
    }

    /// Removes the families of an app that stays known, in one call into the catalog.
    ///
    /// # Errors
    /// As for [`Combiner::update_within`].
    #[expect(clippy::result_large_err, reason = "the error is the input, given back unchanged")]
    pub(super) fn clear_within(&mut self, app: &App, text: &Text, max_cost: usize) -> Result<Outcome, Change> {
        let update = match (&*self, text) {
            (Self::Merge(merged), Text::Read(nothing)) => Some(catalog::Update::new(
                merged.catalog.rules(),
                &app.name,
                &app.labels,
                Arc::clone(nothing),
            )),
            _ => None,
        };
        self.update_within(update, Vec::new(), max_cost)
    }

    /// Removes an app, in one call into the catalog.
    ///
    /// # Errors
    /// As for [`Combiner::update_within`].
    #[expect(clippy::result_large_err, reason = "the error is the input, given back unchanged")]
    pub(super) fn remove_within(&mut self, app: &AppName, max_cost: usize) -> Result<Outcome, Change> {
        self.apply_within(Change::Remove(app.clone()), max_cost)
    }

    /// Gives an app without data the labels back that its families carried before a restart.
    pub(super) fn restore_labels(&mut self, app: &AppName, labelled: Vec<FamilyKey>) {
        if !labelled.is_empty() {
            let restored = self.apply_within(Change::RestoreLabels(app.clone(), labelled), usize::MAX);
            drop(restored);
        }
    }

    #[expect(clippy::result_large_err, reason = "the error is the input, given back unchanged")]
    fn apply_within(&mut self, change: Change, max_cost: usize) -> Result<Outcome, Change> {
        let Self::Merge(merged) = self else { return Ok(Outcome::default()) };
        let recorded = merged.replay.is_some().then(|| change.clone());
        let outcome = change.apply_within(&mut merged.catalog, max_cost)?;
        if let Some((replay, change)) = merged.replay.as_mut().zip(recorded) {
            replay.push(change);
        }
        Ok(outcome)
    }

    /// A copy of the catalog that is to take its place, from now on with a record of further changes; `None` in raw mode.
    pub(super) fn begin_copy(&mut self) -> Option<Catalog> {
        let Self::Merge(merged) = self else { return None };
        merged.replay = Some(Replay::default());
        Some(merged.catalog.clone())
    }

    /// The changes since the copy was made, or since the last call.
    pub(super) fn take_replay(&mut self) -> Vec<Change> {
        let Self::Merge(merged) = self else { return Vec::new() };
        let replay = merged.replay.replace(Replay::default()).unwrap_or_default();
        replay.changes.into_iter().flatten().collect()
    }

    /// Puts the copy in the catalog's place; returns the catalog before, to be dropped without the lock.
    pub(super) fn end_copy(&mut self, copy: Catalog) -> Option<Catalog> {
        let Self::Merge(merged) = self else { return None };
        merged.replay = None;
        Some(std::mem::replace(&mut merged.catalog, copy))
    }

    /// Ends the record of changes; the catalog stays.
    pub(super) fn drop_copy(&mut self) {
        if let Self::Merge(merged) = self {
            merged.replay = None;
        }
    }

    /// A draft of the response with all apps.
    pub(super) fn draft_everything<'a>(&mut self, variant: OutputFormat, apps: impl Iterator<Item = &'a Arc<App>>) -> Draft {
        match self {
            Self::Raw(_) => Draft::Raw(apps.map(|app| app.text.body().clone()).collect()),
            Self::Merge(merged) => Draft::Merged(Box::new(merged.catalog.plan(variant, Selection::Everything))),
        }
    }

    /// A draft of the response with one app, and the scope that it has: raw texts go out as they were pushed.
    pub(super) fn draft_app(&mut self, variant: OutputFormat, scope: Scope, app: &App) -> (Scope, Draft) {
        match (&app.text, self) {
            (Text::Read(_), Self::Merge(merged)) if scope == Scope::Merged => {
                let plan = merged.catalog.plan(variant, Selection::App(app.name.as_str()));
                (scope, Draft::Merged(Box::new(plan)))
            }
            (Text::Read(exposition), _) => (scope, Draft::AsPushed(Arc::clone(exposition))),
            (Text::Raw(body, _), _) => (Scope::AsPushed, Draft::Raw(vec![body.clone()])),
        }
    }
}

/// The state of the catalog at one moment.
#[derive(Debug)]
pub(super) struct Snapshot(Option<Catalog>);

impl Snapshot {
    /// The types that messages do not state; see [`Catalog::unstated_types`].
    pub(super) fn unstated_types(&self, escaping: Escaping) -> UnstatedTypes {
        self.0
            .as_ref()
            .map_or_else(UnstatedTypes::new, |catalog| catalog.unstated_types(escaping))
    }

    /// An app together with its conflicts and duplicate series; at most `most` conflicts are listed.
    pub(super) fn describe(&self, app: &Arc<App>, most: usize) -> Arc<App> {
        let Some(catalog) = &self.0 else { return Arc::clone(app) };
        let name = app.name.as_str();
        let (conflicts, duplicates) = (catalog.conflicts(name, most), catalog.duplicate_series(name));
        if *app.conflicts == conflicts && app.duplicates == duplicates {
            return Arc::clone(app);
        }
        Arc::new(App {
            conflicts: Arc::new(conflicts),
            duplicates,
            ..App::clone(app)
        })
    }
}

/// A response that is not rendered yet. Rendering needs no lock.
#[derive(Debug)]
pub(super) enum Draft {
    /// Merged families.
    Merged(Box<Plan>),
    /// The text of one app as it was pushed, parsed.
    AsPushed(Arc<Exposition>),
    /// Texts that were never parsed.
    Raw(Vec<Bytes>),
}

impl Draft {
    /// The version of a response about one app: a cached response of the same version is up to date.
    pub(super) fn version(&self, app: &App) -> u64 {
        match self {
            Self::Merged(plan) => plan.version(),
            Self::AsPushed(_) | Self::Raw(_) => app.changed,
        }
    }

    /// Renders the response, segments in parallel.
    pub(super) fn render(self, variant: OutputFormat) -> RenderedExposition {
        match self {
            Self::Merged(plan) => {
                parallel::for_each(&plan.pending_segments(), |segment| drop(plan.render_segment(segment)));
                RenderedExposition::merged(plan.render())
            }
            Self::AsPushed(exposition) => RenderedExposition::merged(catalog::render_single(&exposition, variant)),
            Self::Raw(bodies) => RenderedExposition::raw(raw::concatenate(&bodies)),
        }
    }

    /// As [`Draft::render`], for a response that goes out compressed: each segment is compressed while its text is in the CPU's cache, and the
    /// text is let go, so that not all of it is in memory at the same time.
    pub(super) fn render_compressed(self, variant: OutputFormat, compressors: &CompressorPool) -> RenderedExposition {
        match self {
            Self::Merged(plan) => {
                let compressed = Mutex::new(Vec::new());
                parallel::for_each(&plan.pending_segments(), |segment| {
                    let chunks = plan.render_segment(segment);
                    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                        compressors.with(|compressor| chunk.compress_once(compressor));
                        chunk.drop_text();
                        compressed.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(chunk));
                    }
                });
                let compressed = compressed.into_inner().unwrap_or_else(PoisonError::into_inner);
                RenderedExposition::merged(plan.render()).with_newly_compressed(compressed)
            }
            other => other.render(variant),
        }
    }
}
