//! Self metrics about each app. Their size grows with the number of apps, so they are cached in blocks, and an update renders one block.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::exposition::render::Chunk;
use crate::store::{App, View};
use crate::telemetry::{PREFIX, header, push_label, sample};

/// Applications of a block, by their order: some 25 kB, which is what a push of one of them costs a scraper that takes gzip.
const BLOCK: u64 = 256;

/// The families with one sample for each application.
#[derive(Debug, Default)]
pub struct AppMetrics(Mutex<CachedRows>);

/// The last rendered rows, and the generation of the store that they show.
#[derive(Debug, Default)]
struct CachedRows {
    generation: Option<u64>,
    /// The update time of each app, in the order of apps.
    updates: Vec<Block>,
    /// The header of that family.
    head: Option<Arc<Chunk>>,
    /// The families that only applications with faults are in.
    faults: Option<Arc<Chunk>>,
}

#[derive(Debug)]
struct Block {
    stamp: Stamp,
    chunk: Arc<Chunk>,
}

/// The version of a block. An update raises `newest`, a removal lowers `count`, so no two states of a block have the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    number: u64,
    count: usize,
    newest: u64,
}

impl AppMetrics {
    /// Returns true if the cached text is current.
    #[must_use]
    pub fn is_ready(&self, view: &View) -> bool {
        let generation = view.generation();
        // The holder of the lock is rendering.
        self.0.try_lock().is_ok_and(|kept| kept.generation == Some(generation))
    }

    /// The families, in every format the same.
    #[must_use]
    pub fn chunks(&self, view: &View) -> Vec<Arc<Chunk>> {
        let kept = self.kept(view);
        let updates = kept.updates.iter().map(|block| &block.chunk).filter(|chunk| !chunk.is_empty());
        let mut chunks: Vec<_> = updates.cloned().collect();
        if let Some(head) = kept.head.as_ref().filter(|_| !chunks.is_empty()) {
            chunks.insert(0, Arc::clone(head));
        }
        chunks.extend(kept.faults.iter().cloned());
        chunks
    }

    /// The families as one text.
    #[must_use]
    pub fn text(&self, view: &View) -> Bytes {
        let chunks = self.chunks(view);
        let slices: Vec<Bytes> = chunks.iter().flat_map(|chunk| chunk.text().to_vec()).collect();
        slices.concat().into()
    }

    fn kept(&self, view: &View) -> MutexGuard<'_, CachedRows> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = view.generation();
        if kept.generation != Some(generation) {
            kept.follow(&view.apps());
            kept.generation = Some(generation);
        }
        kept
    }
}

impl CachedRows {
    /// Renders the changed blocks.
    fn follow(&mut self, apps: &[Arc<App>]) {
        let mut before = std::mem::take(&mut self.updates).into_iter().peekable();
        for members in apps.chunk_by(|one, other| one.order / BLOCK == other.order / BLOCK) {
            let stamp = Stamp::of(members);
            while before.next_if(|block| block.stamp.number < stamp.number).is_some() {}
            let same = before.next_if(|block| block.stamp == stamp);
            self.updates.push(same.unwrap_or_else(|| Block {
                stamp,
                chunk: chunk(updates(members)),
            }));
        }
        let head = || chunk(begin("app_last_update_timestamp_seconds", UPDATES_HELP));
        self.head.get_or_insert_with(head);
        self.faults = Some(faults(apps)).filter(|text| !text.is_empty()).map(chunk);
    }
}

impl Stamp {
    fn of(members: &[Arc<App>]) -> Self {
        Self {
            number: members.first().map_or(0, |app| app.order / BLOCK),
            count: members.len(),
            newest: members.iter().map(|app| app.changed).max().unwrap_or(0),
        }
    }
}

fn chunk(text: String) -> Arc<Chunk> {
    Arc::new(Chunk::new(vec![text.into_boxed_str().into_boxed_bytes().into()]))
}

const UPDATES_HELP: &str = "When the last update of an application arrived, in seconds since the Unix epoch.";

/// The header of a family of gauges.
fn begin(name: &str, help: &str) -> String {
    let mut out = String::new();
    header(&mut out, &format!("{PREFIX}{name}"), "gauge", help);
    out
}

/// The update times of these apps, without a header.
fn updates(apps: &[Arc<App>]) -> String {
    let name = format!("{PREFIX}app_last_update_timestamp_seconds");
    let (mut out, mut labels) = (String::new(), String::new());
    for app in apps {
        let Some(updated) = app.updated else { continue };
        labels.clear();
        push_label(&mut labels, "app", app.name.as_str());
        push_label(&mut labels, "source", &app.origin.source);
        let (seconds, millis) = (updated.as_millis().div_euclid(1_000), updated.as_millis().rem_euclid(1_000));
        sample(&mut out, &name, &labels, format_args!("{seconds}.{millis:03}"));
    }
    out
}

/// The errors of the apps that have one.
fn faults(apps: &[Arc<App>]) -> String {
    let invalid = faulty(
        apps,
        "invalid_lines",
        "Lines of an application's text that could not be used.",
        App::invalid_lines,
    );
    let duplicates = faulty(
        apps,
        "duplicate_series",
        "Series of an application that other applications have as well.",
        |app| app.duplicates,
    );
    let left_out = faulty(
        apps,
        "openmetrics_left_out_samples",
        "Samples of an app that OpenMetrics responses leave out: those without a timestamp of series that also have samples with timestamps.",
        |app| app.text.exposition().map_or(0, |text| u64::from(text.mixed_times())),
    );
    let conflict_exemplars = faulty(
        apps,
        "conflict_exemplars",
        "Exemplars of an app that are left out because their families are exposed untyped in a conflict.",
        |app| app.conflicts.exemplars,
    );
    let conflicts = faulty(
        apps,
        "conflicts",
        "Families of an app that are exposed with another type than its own, or untyped, because other apps contradict it.",
        |app| app.conflicts.total,
    );
    let exemplars = faulty(
        apps,
        "invalid_exemplars",
        "Exemplars of an application's text that are left out although their samples are kept.",
        App::invalid_exemplars,
    );
    invalid + &duplicates + &left_out + &conflicts + &conflict_exemplars + &exemplars
}

fn faulty(apps: &[Arc<App>], name: &str, help: &str, count: impl Fn(&App) -> u64) -> String {
    let mut out = String::new();
    for (app, count) in apps.iter().map(|app| (app, count(app))).filter(|(_, count)| *count > 0) {
        if out.is_empty() {
            out = begin(name, help);
        }
        let mut labels = String::new();
        push_label(&mut labels, "app", app.name.as_str());
        sample(&mut out, &format!("{PREFIX}{name}"), &labels, count);
    }
    out
}

#[cfg(test)]
mod tests;
