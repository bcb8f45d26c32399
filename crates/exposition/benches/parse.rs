//! Speed of the parser, which checks everything and builds the index: bytes and series per second on one core.

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use exporter_proxy_exposition::Syntax;
use exporter_proxy_exposition::{Exposition, check};
use exporter_proxy_workload::{Order, Workload};

fn main() {
    divan::main();
}

fn parse(bencher: Bencher<'_, '_>, workload: Workload, syntax: Syntax, tail: &str) {
    let body = Bytes::from(workload.app(7, 3) + tail);
    let it = Exposition::parse(body.clone(), syntax);
    assert!(
        it.faults().is_empty() && it.series() as usize == workload.series,
        "the workload is clean"
    );
    bencher
        .counter(BytesCount::new(body.len()))
        .counter(ItemsCount::new(workload.series))
        .bench(|| Exposition::parse(body.clone(), syntax));
}

/// Text as client libraries write it: neighboring series are alike.
#[divan::bench(args = [10, 100, 1_000, 10_000, 1_000_000])]
fn parse_text(bencher: Bencher<'_, '_>, series: usize) {
    parse(bencher, Workload::of(series), Syntax::Text, "");
}

/// A text that differs from the one before in values only, as most pushes do.
#[divan::bench(args = [10, 100, 1_000, 10_000])]
fn parse_update(bencher: Bencher<'_, '_>, series: usize) {
    let [before, body] = [3, 4].map(|turn| Bytes::from(Workload::of(series).app(7, turn)));
    let before = Exposition::parse(before, Syntax::Text);
    bencher
        .counter(BytesCount::new(body.len()))
        .counter(ItemsCount::new(series))
        .bench(|| Exposition::parse_update(body.clone(), Syntax::Text, &before));
}

/// Nothing can be taken over from the line before.
#[divan::bench(args = [100, 10_000])]
fn parse_hard(bencher: Bencher<'_, '_>, series: usize) {
    parse(
        bencher,
        Workload {
            order: Order::Hard,
            ..Workload::of(series)
        },
        Syntax::Text,
        "",
    );
}

/// The same text read as OpenMetrics, but for its end.
#[divan::bench(args = [100, 10_000])]
fn parse_openmetrics(bencher: Bencher<'_, '_>, series: usize) {
    let body = Workload::of(series).app(7, 3).replace("_total counter", " counter") + "# EOF\n";
    let body = Bytes::from(body);
    bencher
        .counter(BytesCount::new(body.len()))
        .counter(ItemsCount::new(series))
        .bench(|| Exposition::parse(body.clone(), Syntax::OpenMetrics));
}

/// `check metrics`: the same, and the advice.
#[divan::bench(args = [100, 1_000_000])]
fn check_text(bencher: Bencher<'_, '_>, series: usize) {
    let body = Workload::of(series).app(7, 3);
    bencher
        .counter(BytesCount::new(body.len()))
        .counter(ItemsCount::new(series))
        .bench(|| check(body.as_bytes(), Some(Syntax::Text)));
}

/// Reading the samples again, as rendering and merging do.
#[divan::bench(args = [100, 10_000])]
fn series_hashes(bencher: Bencher<'_, '_>, series: usize) {
    let it = Exposition::parse(Bytes::from(Workload::of(series).app(7, 3)), Syntax::Text);
    bencher
        .counter(BytesCount::new(it.body().len()))
        .counter(ItemsCount::new(series))
        .bench(|| {
            it.families()
                .iter()
                .flat_map(|family| it.series_hashes(family))
                .fold(0, u64::wrapping_add)
        });
}
