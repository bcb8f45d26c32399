//! The state behind the lock: plain data, changed by whole assignments after all checks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::answers::Aspect;
use super::events::{Moment, Steady};
use super::recall::{FamilyKey, Standing, Touched};
use super::{App, Limits, Mode, Receipt, Refused, Text};
use crate::exposition::catalog::{Catalog, Changes};
use crate::exposition::render::{Chunk, Variant};
use crate::exposition::{Exposition, detect};
use crate::model::{AppName, LabelPair, Origin, Syntax, Timestamp, Update};

/// The latest of every application.
#[derive(Debug)]
pub(super) struct Latest {
    pub(super) limits: Limits,
    /// By order of first sight. Bounded by [`Limits::max_apps`].
    apps: BTreeMap<u64, Arc<App>>,
    /// The order of each name. As many as `apps`.
    orders: HashMap<AppName, u64, foldhash::fast::RandomState>,
    /// What all texts make together; `None` where they are not read.
    catalog: Option<Catalog>,
    /// The order that the next newcomer gets.
    next_order: u64,
    /// The sum of the texts' lengths. Bounded by [`Limits::max_bytes`].
    bytes: u64,
    /// The sum of the texts' series.
    series: u64,
    /// Changes with every change of what is exposed.
    generation: u64,
    /// Tells how old updates are, whatever happens to the time of day.
    pub(super) clock: Steady,
    /// No application that expires was updated before this moment, so nothing needs to be looked for until it is old enough.
    oldest: Moment,
    /// What somebody has to hear of who keeps it across a restart; `None` where nobody does.
    pub(super) touched: Option<Touched>,
    /// The places of those that were here before a restart and have not come again. Bounded by what was kept then.
    pub(super) reserved: HashMap<AppName, Standing, foldhash::fast::RandomState>,
}

/// An update whose text has been read where texts are read.
pub(super) struct Prepared {
    pub(super) app: AppName,
    pub(super) text: Text,
    pub(super) labels: Arc<[LabelPair]>,
    pub(super) origin: Origin,
    pub(super) at: Timestamp,
    pub(super) expires: bool,
    pub(super) outdated: bool,
}

/// The age of a timestamp beyond which Prometheus drops the sample: half of its head block's two hours.
const TOO_OLD: Duration = Duration::from_secs(3_600);

impl Prepared {
    /// Reads an update's text, if texts are read. `expires` is for what is pushed, not for what is polled.
    pub(super) fn read(update: Update, expires: bool, reads: bool) -> Self {
        let Update {
            app,
            body,
            syntax,
            labels,
            origin,
            at,
        } = update;
        let syntax = syntax.unwrap_or_else(|| detect(&body));
        let text = if reads {
            Text::Read(Arc::new(Exposition::parse(body, syntax)))
        } else {
            Text::Raw(body, syntax)
        };
        let newest = text.exposition().and_then(|read| read.newest_timestamp());
        let outdated = newest.is_some_and(|newest| at.since(newest) > TOO_OLD);
        Self {
            app,
            text,
            labels,
            origin,
            at,
            expires,
            outdated,
        }
    }
}

impl Latest {
    pub(super) fn new(limits: Limits, mode: Mode) -> Self {
        let catalog = match mode {
            Mode::Raw => None,
            Mode::Merge(rules) => Some(Catalog::new(rules)),
        };
        Self {
            limits,
            apps: BTreeMap::new(),
            orders: HashMap::default(),
            catalog,
            next_order: 0,
            bytes: 0,
            series: 0,
            generation: 0,
            clock: Steady::new(),
            oldest: Moment::FIRST,
            touched: None,
            reserved: HashMap::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.apps.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn series(&self) -> u64 {
        self.series
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn catalog(&mut self) -> Option<&mut Catalog> {
        self.catalog.as_mut()
    }

    /// A number that is another one whenever what is shown of an application is.
    pub(super) fn version(&self, app: &App, aspect: Aspect) -> u64 {
        match (&self.catalog, aspect) {
            (Some(catalog), Aspect::Merged) => catalog.version(app.name.as_str()),
            _ => app.changed,
        }
    }

    /// The rendered segments, each once.
    pub(super) fn chunks(&self) -> Vec<Arc<Chunk>> {
        let mut chunks: Vec<_> = self.catalog.iter().flat_map(Catalog::chunks).cloned().collect();
        // What looks the same in two variants is kept in both.
        chunks.sort_unstable_by_key(Arc::as_ptr);
        chunks.dedup_by(|a, b| Arc::ptr_eq(a, b));
        chunks
    }

    /// Takes out the rendered segments of one variant.
    pub(super) fn forget(&mut self, variant: Variant) -> Vec<Arc<Chunk>> {
        self.catalog.as_mut().map_or_else(Vec::new, |catalog| catalog.forget(variant))
    }

    /// All applications in the order of first sight.
    pub(super) fn apps(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.get(self.orders.get(name)?)
    }

    /// Refuses a text that contradicts what other applications have.
    pub(super) fn check(&self, app: &AppName, exposition: &Exposition) -> Result<(), Refused> {
        let clashes = self
            .catalog
            .as_ref()
            .map_or_else(Vec::new, |catalog| catalog.check_push(app.as_str(), exposition));
        if clashes.is_empty() {
            Ok(())
        } else {
            Err(Refused::Clashing(clashes))
        }
    }

    /// Replaces all that the application had.
    pub(super) fn put(&mut self, update: Prepared) -> Result<Receipt, Refused> {
        let refreshed = self.clock.at(update.at);
        self.put_at(update, refreshed)
    }

    /// As [`Latest::put`], with the moment at which the update came.
    pub(super) fn put_at(&mut self, update: Prepared, refreshed: Moment) -> Result<Receipt, Refused> {
        let Prepared {
            app: name,
            text,
            labels,
            origin,
            at,
            expires,
            outdated,
        } = update;
        let old = self.get(name.as_str()).cloned();
        let freed = old.as_ref().map_or(0, |app| app.text.body().len() as u64);
        let added = text.body().len() as u64;
        if added > freed && self.bytes - freed + added > self.limits.max_bytes {
            return Err(Refused::Full {
                max_bytes: self.limits.max_bytes,
            });
        }
        let (order, first_seen) = self.place(old.as_deref(), &name, at)?;
        self.oldest = self.oldest.min(refreshed);
        let changes = self.merge(&name, &labels, &text);
        let text = self.merged_text(&name, text);
        let app = App {
            name: name.clone(),
            order,
            changed: 0,
            origin,
            text,
            labels,
            first_seen,
            updated: Some(at),
            refreshed,
            fault: None,
            clashes: changes.clashes.into(),
            duplicates: self.duplicates(&name),
            outdated,
            withdrawn: false,
            expires,
        };
        let complaint = app.complaint();
        let is_new = complaint.is_some() && old.as_ref().is_none_or(|old| old.complaint() != complaint);
        self.insert(app);
        self.follow_up(&changes.affected);
        Ok(Receipt {
            replaced: old.is_some(),
            bytes: added,
            complaint,
            is_new,
        })
    }

    /// Puts a text into the catalog.
    fn merge(&mut self, name: &AppName, labels: &Arc<[LabelPair]>, text: &Text) -> Changes {
        match (&mut self.catalog, text) {
            (Some(catalog), Text::Read(exposition)) => catalog.replace(name, labels, Arc::clone(exposition)),
            _ => Changes::default(),
        }
    }

    /// The text as the catalog has it: one that says the same as the one before is not kept beside it.
    fn merged_text(&self, name: &AppName, text: Text) -> Text {
        let kept = self.catalog.as_ref().and_then(|catalog| catalog.exposition(name.as_str()));
        kept.map_or(text, |kept| Text::Read(Arc::clone(kept)))
    }

    fn duplicates(&self, name: &AppName) -> u64 {
        self.catalog.as_ref().map_or(0, |catalog| catalog.duplicate_series(name.as_str()))
    }

    /// Puts an entry in place of an earlier one and keeps the sums right.
    fn insert(&mut self, mut app: App) {
        self.bytes += app.text.body().len() as u64;
        self.series += app.series().unwrap_or(0);
        self.generation += 1;
        app.changed = self.generation;
        if let Some(touched) = &mut self.touched {
            touched.touch(app.order);
        }
        if let Some(old) = self.apps.insert(app.order, Arc::new(app)) {
            self.bytes -= old.text.body().len() as u64;
            self.series -= old.series().unwrap_or(0);
        }
    }

    /// Notes what a change of one application means for others.
    fn follow_up(&mut self, affected: &[AppName]) {
        for name in affected {
            let Some(catalog) = &self.catalog else { return };
            let (clashes, duplicates) = (catalog.clashes(name.as_str()).into(), catalog.duplicate_series(name.as_str()));
            self.amend(name, |app| (app.clashes, app.duplicates) = (clashes, duplicates));
        }
    }

    /// Lists an application of which nothing has been heard yet.
    pub(super) fn announce(&mut self, name: AppName, origin: Origin, at: Timestamp) -> Result<(), Refused> {
        if self.get(name.as_str()).is_some() {
            return Ok(());
        }
        let (order, first_seen) = self.place(None, &name, at)?;
        let app = App {
            name,
            order,
            changed: 0,
            origin,
            text: self.nothing(),
            labels: [].into(),
            first_seen,
            updated: None,
            refreshed: self.clock.at(at),
            fault: None,
            clashes: [].into(),
            duplicates: 0,
            outdated: false,
            withdrawn: false,
            expires: false,
        };
        self.insert(app);
        Ok(())
    }

    /// An empty text.
    fn nothing(&self) -> Text {
        match self.catalog {
            None => Text::Raw(Bytes::new(), Syntax::Text),
            Some(_) => Text::Read(Arc::new(Exposition::parse(Bytes::new(), Syntax::Text))),
        }
    }

    /// The place of an application in the order, a new one for a newcomer if there is room.
    fn place(&mut self, old: Option<&App>, name: &AppName, at: Timestamp) -> Result<(u64, Timestamp), Refused> {
        if let Some(old) = old {
            return Ok((old.order, old.first_seen));
        }
        if self.apps.len() >= self.limits.max_apps {
            return Err(Refused::TooManyApps {
                max_apps: self.limits.max_apps,
            });
        }
        let (order, first_seen) = match self.reserved.remove(name) {
            Some(standing) => {
                if let Some(catalog) = &mut self.catalog {
                    catalog.recall_labels(name, standing.labelled);
                }
                (standing.order, standing.first_seen)
            }
            None => (self.next_order, at),
        };
        self.skip_orders(order);
        self.orders.insert(name.clone(), order);
        Ok((order, first_seen))
    }

    /// Gives no place up to this one to anybody else.
    pub(super) fn skip_orders(&mut self, taken: u64) {
        self.next_order = self.next_order.max(taken + 1);
    }

    /// The place that the next newcomer gets.
    pub(super) fn next_order(&self) -> u64 {
        self.next_order
    }

    pub(super) fn by_order(&self, order: u64) -> Option<&Arc<App>> {
        self.apps.get(&order)
    }

    /// The families of an application that are labelled to tell them from others'.
    pub(super) fn labelled(&self, name: &AppName) -> Vec<FamilyKey> {
        self.catalog
            .as_ref()
            .map_or_else(Vec::new, |catalog| catalog.labelled(name.as_str()))
    }

    /// Changes what is said about an application, not its data.
    pub(super) fn amend(&mut self, name: &AppName, change: impl FnOnce(&mut App)) -> bool {
        let Some(app) = self.orders.get(name).and_then(|order| self.apps.get_mut(order)) else {
            return false;
        };
        change(Arc::make_mut(app));
        if let Some(touched) = &mut self.touched {
            touched.touch(app.order);
        }
        self.generation += 1;
        true
    }

    /// Takes an application's data out of the exposition; it stays listed, and labels that tell it from others stay its.
    pub(super) fn withdraw(&mut self, name: &AppName) -> bool {
        let Some(old) = self.get(name.as_str()).cloned() else {
            return false;
        };
        let text = self.nothing();
        let changes = self.merge(name, &old.labels, &text);
        self.insert(App {
            text,
            clashes: [].into(),
            duplicates: 0,
            outdated: false,
            withdrawn: true,
            ..App::clone(&old)
        });
        self.follow_up(&changes.affected);
        true
    }

    /// Forgets an application.
    pub(super) fn remove(&mut self, name: &AppName) -> bool {
        let Some(order) = self.orders.remove(name) else { return false };
        if let Some(app) = self.apps.remove(&order) {
            self.bytes -= app.text.body().len() as u64;
            self.series -= app.series().unwrap_or(0);
        }
        self.generation += 1;
        if let Some(touched) = &mut self.touched {
            touched.remove(order);
        }
        if let Some(catalog) = &mut self.catalog {
            let changes = catalog.remove(name.as_str());
            self.follow_up(&changes.affected);
        }
        true
    }

    /// Forgets applications that are too old at `now`, no more than `most`, and names them.
    pub(super) fn expire(&mut self, now: Timestamp, most: usize) -> Vec<AppName> {
        // Looked at each time, because the clock takes a large step for one that was set.
        let now = self.clock.at(now);
        self.note_step();
        let Some(expire_after) = self.limits.expire_after else {
            return Vec::new();
        };
        if now.since(self.oldest) < expire_after {
            return Vec::new();
        }
        let (mut gone, mut oldest) = (Vec::new(), now);
        for app in self.apps.values().filter(|app| app.expires) {
            if now.since(app.refreshed) < expire_after {
                oldest = oldest.min(app.refreshed);
            } else if gone.len() < most {
                gone.push(app.name.clone());
            } else {
                // There are more, to be looked for again.
                oldest = self.oldest;
                break;
            }
        }
        self.oldest = oldest;
        for name in &gone {
            self.remove(name);
        }
        gone
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.oldest = Moment::FIRST;
    }

    /// Puts all texts together anew, by other rules. Texts that were not read stay so: that takes a restart.
    pub(super) fn set_mode(&mut self, mode: Mode) {
        let (Mode::Merge(rules), Some(catalog)) = (mode, &mut self.catalog) else {
            return;
        };
        catalog.start_over(rules);
        let apps: Vec<_> = self.apps.values().cloned().collect();
        for app in &apps {
            self.merge(&app.name, &app.labels, &app.text);
        }
        let names: Vec<_> = apps.iter().map(|app| app.name.clone()).collect();
        self.follow_up(&names);
        self.generation += 1;
    }
}
