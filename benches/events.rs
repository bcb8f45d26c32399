//! Speed of events coming in and going out: in memory with few and many scrapers, and durable with producers that wait for the
//! disk together. Durable numbers are the disk's: they say how many events share a sync.

use divan::Bencher;
use divan::counter::ItemsCount;
use exporter_proxy::model::{Client, Event, LabelSet, ScraperId, Timestamp};
use exporter_proxy::store::{EventOptions, Inlet, Lease, Limits, MAX_SCRAPERS, Mode, View, open, open_in};

/// Events in one round.
const EVENTS: usize = 10_000;

fn main() {
    divan::main();
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

fn home() -> Client {
    Client::Ip([127, 0, 0, 1].into())
}

fn events() -> Vec<Event> {
    let event = |n: usize| {
        let labels = vec![("kind".to_owned(), "deploy".to_owned()), ("n".to_owned(), n.to_string())];
        Event {
            labels: LabelSet::new(labels).expect("label names"),
            value: 1.0,
        }
    };
    (0..EVENTS).map(event).collect()
}

fn scraper(n: usize) -> ScraperId {
    ScraperId::new(&format!("10.0.0.{n} Prometheus")).expect("a short name")
}

/// As many scrapers of one address as a round needs, and whole logs in one scrape.
fn options() -> EventOptions {
    EventOptions {
        max_scrapers_per_address: MAX_SCRAPERS,
        max_per_scrape: EVENTS,
        ..EventOptions::default()
    }
}

fn with_scrapers(view: &View, scrapers: usize) {
    for n in 0..scrapers {
        drop(view.scrape(&scraper(n), &home(), at(0)));
    }
}

fn in_memory(scrapers: usize) -> (Inlet, View) {
    let (inlet, view) = open(Limits::default(), Mode::Raw, options());
    with_scrapers(&view, scrapers);
    (inlet, view)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

/// Events accepted in memory: the same work whatever the number of scrapers.
#[divan::bench(args = [1, 1_000])]
fn emit(bencher: Bencher<'_, '_>, scrapers: usize) {
    let runtime = runtime();
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(|| (in_memory(scrapers), events()))
        .bench_values(|((inlet, _view), events)| {
            runtime.block_on(async {
                for event in events {
                    inlet.emit(event, None, &home(), at(1)).await.expect("nothing has to be durable");
                }
            });
        });
}

/// All pending events handed to one scraper and confirmed.
#[divan::bench]
fn scrape(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let filled = || {
        let (inlet, view) = in_memory(1);
        runtime.block_on(async {
            for event in events() {
                inlet.emit(event, None, &home(), at(1)).await.expect("nothing has to be durable");
            }
        });
        (inlet, view)
    };
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(filled)
        .bench_values(|(_inlet, view)| view.scrape(&scraper(0), &home(), at(2)).lease.map(Lease::ack));
}

/// Events accepted once they are on the disk, for this many producers at a time.
#[divan::bench(args = [1, 16, 256], sample_count = 3, sample_size = 1)]
fn emit_durable(bencher: Bencher<'_, '_>, producers: usize) {
    let runtime = runtime();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (inlet, view, persistence) = open_in(folder.path(), Limits::default(), Mode::Raw, options(), at(0)).expect("an empty folder");
    let running = persistence.start(|log, trouble| panic!("{log}: {trouble:?}")).expect("threads");
    with_scrapers(&view, 1);
    let share = EVENTS.min(producers * 100) / producers;
    bencher
        .counter(ItemsCount::new(share * producers))
        .with_inputs(events)
        .bench_values(|events| {
            let produce = |part: Vec<Event>| {
                let inlet = inlet.clone();
                async move {
                    for event in part {
                        inlet.emit(event, None, &home(), at(1)).await.expect("the disk has room");
                    }
                }
            };
            let parts = events.chunks(share).take(producers).map(<[Event]>::to_vec);
            runtime.block_on(async {
                let tasks: Vec<_> = parts.map(|part| tokio::spawn(produce(part))).collect();
                for task in tasks {
                    task.await.expect("producers end well");
                }
            });
        });
    runtime.block_on(running.finish());
}
