//! Self metrics about each app. Their size grows with the number of apps, so they are cached in blocks, and an update renders one block.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::exposition::catalog::RenderedSegments;
use crate::exposition::negotiate::Format;
use crate::exposition::protobuf;
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
    /// True once a scraper has asked for protobuf: blocks are then encoded, too.
    encodes: bool,
    /// The families in `faults` as protobuf.
    fault_messages: Vec<Arc<Chunk>>,
}

#[derive(Debug)]
struct Block {
    stamp: Stamp,
    chunk: Arc<Chunk>,
    /// The metrics of the same apps as protobuf, if a scraper has asked for it.
    metrics: Option<Arc<Chunk>>,
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

    /// The families, in every format of text the same.
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

    /// The families as protobuf messages.
    #[must_use]
    pub fn messages(&self, view: &View) -> Vec<Arc<Chunk>> {
        let mut kept = self.kept(view);
        if !kept.encodes {
            kept.encodes = true;
            kept.generation = None;
            drop(kept);
            kept = self.kept(view);
        }
        let metrics = kept.updates.iter().filter_map(|block| block.metrics.as_ref());
        let mut chunks: Vec<_> = metrics.filter(|chunk| !chunk.is_empty()).cloned().collect();
        let bytes = chunks.iter().map(|chunk| chunk.len()).sum::<u64>();
        if bytes > 0 {
            let mut head = Vec::new();
            let name = format!("{PREFIX}{UPDATES}");
            protobuf::put_gauge_family(&name, UPDATES_HELP, usize::try_from(bytes).unwrap_or(usize::MAX), &mut head);
            chunks.insert(0, Arc::new(Chunk::new(vec![head.into()])));
        }
        chunks.extend(kept.fault_messages.iter().cloned());
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
            let encodes = self.encodes;
            let same = before.next_if(|block| block.stamp == stamp && block.metrics.is_some() == encodes);
            self.updates.push(same.unwrap_or_else(|| Block {
                stamp,
                chunk: chunk(updates(members)),
                metrics: encodes.then(|| Arc::new(Chunk::new(vec![encoded_updates(members).into()]))),
            }));
        }
        let head = || chunk(begin(UPDATES, UPDATES_HELP));
        self.head.get_or_insert_with(head);
        self.faults = Some(faults(apps)).filter(|text| !text.is_empty()).map(chunk);
        self.fault_messages = match &self.faults {
            Some(faults) if self.encodes => RenderedSegments::nothing(Format::Protobuf(None).into()).tail_with(faults.text().to_vec()),
            _ => Vec::new(),
        };
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

const UPDATES: &str = "app_last_update_timestamp_seconds";

const UPDATES_HELP: &str = "When the last update of an application arrived, in seconds since the Unix epoch.";

/// The header of a family of gauges.
fn begin(name: &str, help: &str) -> String {
    let mut out = String::new();
    header(&mut out, &format!("{PREFIX}{name}"), "gauge", help);
    out
}

/// The update times of these apps, without a header.
fn updates(apps: &[Arc<App>]) -> String {
    let name = format!("{PREFIX}{UPDATES}");
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

/// The same as metrics of a protobuf message.
fn encoded_updates(apps: &[Arc<App>]) -> Vec<u8> {
    let mut out = Vec::new();
    for app in apps {
        let Some(updated) = app.updated else { continue };
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a date are far below 2^53")]
        let seconds = updated.as_millis() as f64 / 1_000.0;
        protobuf::put_gauge(&[("app", app.name.as_str()), ("source", &app.origin.source)], seconds, &mut out);
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
    let early = faulty(
        apps,
        "early_samples",
        "Samples of an app with timestamps up to the start of 1970: those before it are left out of text, those at it of protobuf.",
        |app| {
            let early = app.text.exposition().map(|text| text.early_times());
            early.map_or(0, |early| u64::from(early.before) + u64::from(early.at))
        },
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
    invalid + &duplicates + &left_out + &early + &conflicts + &conflict_exemplars + &exemplars
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
