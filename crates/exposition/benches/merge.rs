//! Speed of merging and rendering: a push (parsing apart), an answer with and without changes since the last one, and what
//! it takes to make it gzip. "18 MB" is 1,000 apps of 100 series; the number is how many of a hundred families all apps share.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use exporter_proxy_exposition::Exposition;
use exporter_proxy_exposition::catalog::{Catalog, Duplicates, RenderedSegments, Rules, Selection, Update};
use exporter_proxy_exposition::gzip::{self, CompressionLevel, Compressor};
use exporter_proxy_exposition::negotiate::Escaping;
use exporter_proxy_exposition::render::OutputFormat;
use exporter_proxy_exposition::{AppName, LabelPair, Syntax};
use exporter_proxy_workload::Workload;

const APPS: usize = 1_000;
const SERIES: usize = 100;
const SHARED: [usize; 3] = [0, 10, 100];

const TEXT: OutputFormat = OutputFormat {
    syntax: Syntax::Text,
    protobuf: false,
    escaping: Escaping::Underscores,
};
const OPENMETRICS: OutputFormat = OutputFormat {
    syntax: Syntax::OpenMetrics,
    protobuf: false,
    escaping: Escaping::Underscores,
};

fn main() {
    divan::main();
}

struct World {
    catalog: Catalog,
    names: Vec<AppName>,
    labels: Arc<[LabelPair]>,
    /// Two updates of each app, with other values of the same series.
    updates: Vec<[Arc<Exposition>; 2]>,
    turn: usize,
}

impl World {
    fn new(apps: usize, shared: usize) -> Self {
        Self::of(apps, SERIES, shared)
    }

    fn of(apps: usize, series: usize, shared: usize) -> Self {
        let workload = Workload {
            shared,
            ..Workload::of(series)
        };
        let read = |app, turn| Arc::new(Exposition::parse(Bytes::from(workload.app(app, turn)), Syntax::Text));
        let mut world = Self {
            catalog: Catalog::new(Rules::new(None, Duplicates::Label, &["exporter_proxy_", "events_to_metrics"])),
            names: (0..apps)
                .map(|app| AppName::new(&format!("app-{app}")).expect("a short name"))
                .collect(),
            labels: Arc::new([]),
            updates: (0..apps).map(|app| [read(app, 1), read(app, 2)]).collect(),
            turn: 0,
        };
        (0..apps).for_each(|_| world.push());
        world
    }

    /// The same apps, with updates that were compared with the text before and not parsed, as most are in a store.
    fn compared(apps: usize, shared: usize) -> Self {
        let mut world = Self::new(apps, shared);
        for [one, other] in &mut world.updates {
            *other = Arc::new(Exposition::parse_update(other.body().clone(), Syntax::Text, one));
        }
        world
    }

    /// The next app's next update.
    fn push(&mut self) {
        let (app, update) = (self.turn % self.names.len(), self.turn / self.names.len() % 2);
        self.turn += 1;
        let exposition = Arc::clone(&self.updates[app][update]);
        let update = Update::new(self.catalog.rules(), &self.names[app], &self.labels, exposition);
        assert!(self.catalog.update(update).conflicts.is_empty(), "the workload is clean");
    }

    fn answer(&mut self, variant: OutputFormat) -> RenderedSegments {
        self.catalog.plan(variant, Selection::Everything).render()
    }
}

/// The rows of a plain response.
fn text(exposed: &RenderedSegments) -> Vec<Arc<Vec<Bytes>>> {
    let tail = exposed.tail(None);
    exposed.chunks().iter().chain(&tail).map(|chunk| chunk.text()).collect()
}

/// The rows of a gzip response.
fn gzip(exposed: &RenderedSegments) -> Vec<Arc<Vec<Bytes>>> {
    let tail = exposed.tail(None);
    let pieces: Vec<_> = exposed.chunks().iter().chain(&tail).flat_map(|chunk| chunk.pieces()).collect();
    gzip::join(&pieces)
}

/// The length of a plain response in bytes.
fn length(exposed: &RenderedSegments) -> u64 {
    exposed.chunks().iter().chain(&exposed.tail(None)).map(|chunk| chunk.len()).sum()
}

/// A push among 1,000 apps, and among 100 to see whether it depends on them.
#[divan::bench(args = [(100, 0), (1_000, 0), (100, 100), (1_000, 100)])]
fn push(bencher: Bencher<'_, '_>, (apps, shared): (usize, usize)) {
    let mut world = World::new(apps, shared);
    let bytes = world.updates[0][0].body().len();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| world.push());
}

/// The same where updates were compared and not parsed: of unchanged series, which the catalog knows then.
#[divan::bench(args = [(100, 0), (1_000, 0), (100, 100), (1_000, 100)])]
fn push_values(bencher: Bencher<'_, '_>, (apps, shared): (usize, usize)) {
    let mut world = World::compared(apps, shared);
    let bytes = world.updates[0][0].body().len();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| world.push());
}

/// The estimate of a push's work that is made under the lock before it; among 100 apps and among 10,000.
#[divan::bench(args = [(100, 0), (10_000, 0), (100, 100), (10_000, 100)])]
fn cost(bencher: Bencher<'_, '_>, (apps, shared): (usize, usize)) {
    let world = World::of(apps, 10, shared);
    let exposition = Arc::clone(&world.updates[apps / 2][0]);
    let update = Update::new(world.catalog.rules(), &world.names[apps / 2], &world.labels, exposition);
    bencher.bench_local(|| world.catalog.cost(&update));
}

/// The part of a push that is done before the lock is taken.
#[divan::bench(args = [(1_000, 0), (1_000, 100)])]
fn prepare(bencher: Bencher<'_, '_>, (apps, shared): (usize, usize)) {
    let world = World::new(apps, shared);
    let update = || {
        Update::new(
            world.catalog.rules(),
            &world.names[0],
            &world.labels,
            Arc::clone(&world.updates[0][0]),
        )
    };
    bencher.bench_local(update);
}

/// A snapshot, as each response takes one.
#[divan::bench(args = [(1_000, 0), (10_000, 0), (10_000, 100)])]
fn snapshot(bencher: Bencher<'_, '_>, (apps, shared): (usize, usize)) {
    let world = World::of(apps, 10, shared);
    bencher.bench_local(|| world.catalog.clone());
}

/// An update under the lock that changes all series of an app, 2,000 in so many families, while a snapshot is held, as a response that is
/// being rendered holds one. Another app has the same families, with so many series in all.
#[divan::bench(args = [(1, 2_000), (1, 200_000), (1, 1_000_000), (1, 2_000_000), (200, 2_000_000)], sample_count = 20)]
fn changed_series(bencher: Bencher<'_, '_>, (families, others): (usize, usize)) {
    const CHANGED: usize = 2_000;
    let text = |series: usize, turn: usize| -> String {
        let family = |family: usize| (0..series / families).map(move |n| format!("a{family}{{turn=\"{turn}\",n=\"{n}\"}} 1\n"));
        (0..families).flat_map(family).collect()
    };
    let no_labels: Arc<[LabelPair]> = Arc::new([]);
    let names = ["a", "b"].map(|name| AppName::new(name).expect("a short name"));
    let catalog = RefCell::new(Catalog::new(Rules::new(None, Duplicates::Label, &[])));
    let update = |name: &AppName, text: String| {
        let exposition = Arc::new(Exposition::parse(Bytes::from(text), Syntax::Text));
        Update::new(catalog.borrow().rules(), name, &no_labels, exposition)
    };
    let other = update(&names[0], text(others, 0));
    catalog.borrow_mut().update(other);
    let updates = [1, 2].map(|turn| update(&names[1], text(CHANGED, turn)));
    let turn = std::cell::Cell::new(0);
    bencher
        .with_inputs(|| {
            turn.set(turn.get() + 1);
            (catalog.borrow().clone(), updates[turn.get() % 2].clone())
        })
        .bench_local_values(|(snapshot, update)| {
            catalog.borrow_mut().update(update);
            snapshot
        });
}

/// Two apps with the same families of one sample each.
#[divan::bench(args = [1_000, 10_000, 50_000], sample_count = 5)]
fn twins(bencher: Bencher<'_, '_>, families: usize) {
    let text: String = (0..families).map(|n| format!("a{n} 1\n")).collect();
    let exposition = Arc::new(Exposition::parse(Bytes::from(text), Syntax::Text));
    let no_labels: Arc<[LabelPair]> = Arc::new([]);
    let names = ["a", "b"].map(|name| AppName::new(name).expect("a short name"));
    bencher.counter(ItemsCount::new(2 * families)).bench_local(|| {
        let mut catalog = Catalog::new(Rules::new(None, Duplicates::Label, &[]));
        for name in &names {
            let update = Update::new(catalog.rules(), name, &no_labels, Arc::clone(&exposition));
            catalog.update(update);
        }
        catalog
    });
}

/// One app with many families of one sample each.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5)]
fn wide(bencher: Bencher<'_, '_>, families: usize) {
    let text: String = (0..families).map(|n| format!("a{n} 1\n")).collect();
    let exposition = Arc::new(Exposition::parse(Bytes::from(text), Syntax::Text));
    let no_labels: Arc<[LabelPair]> = Arc::new([]);
    let name = AppName::new("wide").expect("a short name");
    bencher.counter(ItemsCount::new(families)).bench_local(|| {
        let mut catalog = Catalog::new(Rules::new(None, Duplicates::Label, &[]));
        let update = Update::new(catalog.rules(), &name, &no_labels, Arc::clone(&exposition));
        catalog.update(update);
        catalog
    });
}

/// All applications go, those first that decide on the shared families.
#[divan::bench(args = [(1_000, 0), (1_000, 100), (10_000, 0), (10_000, 100)], sample_count = 5)]
fn everybody_leaves(bencher: Bencher<'_, '_>, (apps, shared): (usize, usize)) {
    bencher
        .counter(ItemsCount::new(apps))
        .with_inputs(|| World::of(apps, 10, shared))
        .bench_local_values(|mut world| {
            for name in &world.names {
                world.catalog.remove(name.as_str());
            }
            world
        });
}

/// The version of one application, by which a kept answer is known to be valid.
#[divan::bench(args = SHARED)]
fn version(bencher: Bencher<'_, '_>, shared: usize) {
    let world = World::new(APPS, shared);
    let name = world.names[APPS / 2].as_str();
    bencher.bench_local(|| world.catalog.version(name));
}

/// An answer about one application that has changed.
#[divan::bench(args = SHARED)]
fn answer_about_one(bencher: Bencher<'_, '_>, shared: usize) {
    let mut world = World::new(APPS, shared);
    let name = world.names[APPS / 2].clone();
    let mut answer = || world.catalog.plan(TEXT, Selection::App(name.as_str())).render();
    let bytes = length(&answer());
    bencher.counter(BytesCount::new(bytes)).bench_local(answer);
}

/// An answer when nothing has changed.
#[divan::bench(args = SHARED)]
fn answer_unchanged(bencher: Bencher<'_, '_>, shared: usize) {
    let mut world = World::new(APPS, shared);
    let bytes = length(&world.answer(TEXT));
    bencher.counter(BytesCount::new(bytes)).bench_local(|| text(&world.answer(TEXT)));
}

fn after_pushes(bencher: Bencher<'_, '_>, shared: usize, pushes: usize, variant: OutputFormat) {
    let mut world = World::new(APPS, shared);
    let bytes = length(&world.answer(variant));
    let mut answer = || {
        (0..pushes).for_each(|_| world.push());
        text(&world.answer(variant))
    };
    bencher.counter(BytesCount::new(bytes)).bench_local(&mut answer);
}

/// A push and an answer.
#[divan::bench(args = SHARED)]
fn answer_after_a_push(bencher: Bencher<'_, '_>, shared: usize) {
    after_pushes(bencher, shared, 1, TEXT);
}

/// A push of every app and an answer: all is rendered again.
#[divan::bench(args = SHARED)]
fn answer_after_all_pushed(bencher: Bencher<'_, '_>, shared: usize) {
    after_pushes(bencher, shared, APPS, TEXT);
}

/// The part of it during which pushes wait: what is to be rendered is listed, under the lock of the store.
#[divan::bench(args = [(1_000, 100, 0), (1_000, 100, 100), (10_000, 10, 0), (10_000, 10, 100)])]
fn plan_after_all_pushed(bencher: Bencher<'_, '_>, (apps, series, shared): (usize, usize, usize)) {
    let world = RefCell::new(World::of(apps, series, shared));
    world.borrow_mut().answer(TEXT);
    bencher
        .with_inputs(|| (0..apps).for_each(|_| world.borrow_mut().push()))
        .bench_local_values(|()| world.borrow_mut().catalog.plan(TEXT, Selection::Everything));
}

/// The same as OpenMetrics.
#[divan::bench(args = SHARED)]
fn answer_openmetrics_after_all_pushed(bencher: Bencher<'_, '_>, shared: usize) {
    after_pushes(bencher, shared, APPS, OPENMETRICS);
}

/// A gzip answer put together from pieces that are ready.
#[divan::bench]
fn gzip_join(bencher: Bencher<'_, '_>) {
    let exposed = World::new(APPS, 0).answer(TEXT);
    let mut compressor = Compressor::new();
    exposed
        .chunks()
        .iter()
        .for_each(|chunk| chunk.compress(CompressionLevel::Fast, &mut compressor));
    bencher.counter(BytesCount::new(length(&exposed))).bench_local(|| gzip(&exposed));
}

/// A gzip answer of which nothing is compressed yet: stored blocks and checksums.
#[divan::bench]
fn gzip_stored(bencher: Bencher<'_, '_>) {
    let exposed = World::new(APPS, 0).answer(TEXT);
    bencher.counter(BytesCount::new(length(&exposed))).bench_local(|| gzip(&exposed));
}

/// Compressing all segments in the background.
#[divan::bench(args = [CompressionLevel::Fast, CompressionLevel::Small], sample_count = 5)]
fn compress(bencher: Bencher<'_, '_>, level: CompressionLevel) {
    let exposed = World::new(APPS, 0).answer(TEXT);
    let mut compressor = Compressor::new();
    let bytes = length(&exposed);
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| exposed.chunks().iter().for_each(|chunk| chunk.compress(level, &mut compressor)));
}
