//! Cost of updates and answers between the sockets, and at the same time from several threads. The benchmarks of
//! `crates/exposition` look at the parts. A thousand apps of a hundred series, 18 MB, unless a benchmark says otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use exporter_proxy::exposition::catalog::{Duplicates, Rules, Selection};
use exporter_proxy::exposition::negotiate::{ContentEncoding, Format};
use exporter_proxy::exposition::render::OutputFormat;
use exporter_proxy::model::{AppName, Format as Wire, Origin, Syntax, Timestamp, Update};
use exporter_proxy::store::{EventOptions, Inlet, Limits, Mode, PutOptions, View, open};
use exporter_proxy_workload::{Order, Workload};

const APPS: usize = 1000;
const SERIES: usize = 100;
/// Percent of the families that all apps have.
const SHARES: [usize; 3] = [0, 10, 100];

fn main() {
    divan::main();
}

fn workload(series: usize, shared: usize) -> Workload {
    Workload {
        series,
        shared,
        order: Order::Natural,
    }
}

fn rules() -> Rules {
    Rules::new(None, Duplicates::Label, &[])
}

fn name(app: usize) -> AppName {
    AppName::new(&format!("app{app}")).expect("a short name")
}

fn update(of: &Workload, app: usize, turn: usize) -> Update {
    Update {
        app: name(app),
        body: of.app(app, turn).into(),
        syntax: Some(Syntax::Text),
        records: Bytes::new(),
        read: None,
        labels: Arc::new([]),
        origin: Origin {
            source: "bench".into(),
            format: Wire::Push,
        },
        at: Timestamp::from_millis(0),
    }
}

/// A store that holds all apps.
fn filled(apps: usize, of: &Workload) -> (Inlet, View) {
    let (inlet, view) = open(Limits::default(), Mode::Merge(rules()), EventOptions::default());
    for app in 0..apps {
        inlet.put(update(of, app, 0), PutOptions::PUSHED).expect("there is room");
    }
    (inlet, view)
}

fn text() -> OutputFormat {
    OutputFormat::from(Format::Text004)
}

/// A whole update: copied, parsed, merged, stored.
#[divan::bench(args = SHARES)]
fn put(bencher: Bencher<'_, '_>, shared: usize) {
    let of = workload(SERIES, shared);
    let (inlet, _view) = filled(APPS, &of);
    let (updates, mut n) = ([update(&of, 7, 0), update(&of, 7, 1)], 0);
    bencher.counter(BytesCount::new(updates[0].body.len())).bench_local(|| {
        n += 1;
        let update = &updates[n % 2];
        inlet.put(
            Update {
                body: Bytes::copy_from_slice(&update.body),
                ..update.clone()
            },
            PutOptions::PUSHED,
        )
    });
}

/// The same however many apps there are.
#[divan::bench(args = [100, 1_000, 10_000])]
fn put_beside_others(bencher: Bencher<'_, '_>, apps: usize) {
    let of = workload(10, 100);
    let (inlet, _view) = filled(apps, &of);
    let (updates, mut n) = ([update(&of, 7, 0), update(&of, 7, 1)], 0);
    bencher.bench_local(|| {
        n += 1;
        inlet.put(updates[n % 2].clone(), PutOptions::PUSHED)
    });
}

/// The first answer after one app has changed: its segments are rendered, the others stand.
#[divan::bench(args = SHARES)]
fn answer_after_a_push(bencher: Bencher<'_, '_>, shared: usize) {
    let of = workload(SERIES, shared);
    let (inlet, view) = filled(APPS, &of);
    let (updates, mut n) = ([update(&of, 7, 0), update(&of, 7, 1)], 0);
    black_box(view.exposition(text(), Selection::Everything).finish(ContentEncoding::Identity));
    bencher
        .with_inputs(|| {
            n += 1;
            inlet.put(updates[n % 2].clone(), PutOptions::PUSHED).expect("there is room");
        })
        .bench_local_values(|()| view.exposition(text(), Selection::Everything).finish(ContentEncoding::Identity));
}

/// An answer when nothing has changed.
#[divan::bench]
fn answer_again(bencher: Bencher<'_, '_>) {
    let (_inlet, view) = filled(APPS, &workload(SERIES, 0));
    black_box(view.exposition(text(), Selection::Everything).finish(ContentEncoding::Identity));
    bencher.bench_local(|| view.exposition(text(), Selection::Everything).finish(ContentEncoding::Identity));
}

/// All segments are rendered, as by the first answer of all.
#[divan::bench(args = SHARES, sample_count = 20)]
fn answer_from_nothing(bencher: Bencher<'_, '_>, shared: usize) {
    let of = workload(SERIES, shared);
    bencher
        .counter(ItemsCount::new(APPS * SERIES))
        .with_inputs(|| filled(APPS, &of))
        .bench_local_values(|(inlet, view)| {
            (
                view.exposition(text(), Selection::Everything).finish(ContentEncoding::Identity),
                inlet,
            )
        });
}

/// One more update while other threads push and scrape without a pause.
#[divan::bench(args = [(0, 0), (2, 0), (0, 2), (2, 2)])]
fn put_under_contention(bencher: Bencher<'_, '_>, (pushers, scrapers): (usize, usize)) {
    let of = workload(SERIES, 10);
    let (inlet, view) = filled(APPS, &of);
    let (stop, next) = (AtomicBool::new(false), AtomicUsize::new(8));
    let updates: Vec<_> = (0..64).map(|app| update(&of, app, 1)).collect();
    std::thread::scope(|scope| {
        for _ in 0..pushers {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    inlet
                        .put(updates[at % updates.len()].clone(), PutOptions::PUSHED)
                        .expect("there is room");
                }
            });
        }
        for _ in 0..scrapers {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    black_box(
                        view.exposition(text(), Selection::Everything)
                            .finish(ContentEncoding::Identity)
                            .text()
                            .len(),
                    );
                }
            });
        }
        let (mine, mut n) = ([update(&of, 999, 0), update(&of, 999, 1)], 0);
        bencher.bench_local(|| {
            n += 1;
            inlet.put(mine[n % 2].clone(), PutOptions::PUSHED)
        });
        stop.store(true, Ordering::Relaxed);
    });
}
