//! Speed of the protobuf format: a body to text, index and records, and back.

use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use exporter_proxy_exposition::catalog::{Catalog, Rules, Selection, Update, render_single};
use exporter_proxy_exposition::negotiate::{Escaping, Format};
use exporter_proxy_exposition::{AppName, Exposition, Syntax};
use exporter_proxy_workload::Workload;

fn main() {
    divan::main();
}

/// The metrics of a Prometheus 3.5 with native histograms.
const PROMETHEUS: &[u8] = include_bytes!("../../../fuzz/corpus/protobuf/prometheus_3_5");

fn read(body: &[u8]) -> Exposition {
    Exposition::decode(body, usize::MAX).expect("a valid body")
}

fn written(exposition: &Exposition) -> Vec<u8> {
    let format = Format::Protobuf(Some(Escaping::AllowUtf8));
    let rendered = render_single(&exposition.clone().into(), format.into());
    rendered.chunks().iter().flat_map(|chunk| chunk.text().concat()).collect()
}

/// Series with six labels, half of them of classic histograms.
fn workload(series: usize) -> Vec<u8> {
    let text = Exposition::parse(Bytes::from(Workload::of(series).app(7, 3)), Syntax::Text);
    assert!(text.faults().is_empty(), "the workload is clean");
    written(&text)
}

/// The page of node_exporter with which the parsers of text are compared.
fn node_exporter() -> Vec<u8> {
    let page = include_bytes!("../../../tests/fixtures/exposition/node_exporter.txt");
    written(&Exposition::parse(Bytes::from_static(page), Syntax::Text))
}

/// Writes a length and the bytes.
fn delimited(mut length: usize, bytes: &[u8], out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(0x80 | u8::try_from(length & 0x7f).expect("masked"));
        length >>= 7;
    }
    out.push(u8::try_from(length).expect("masked"));
    out.extend_from_slice(bytes);
}

/// One native histogram with 40 buckets, many times, under different labels.
fn native(histograms: usize) -> Vec<u8> {
    let mut inside = vec![0x08, 41, 0x11];
    inside.extend_from_slice(&4.5_f64.to_le_bytes());
    inside.extend_from_slice(&[0x28, 6, 0x31]);
    inside.extend_from_slice(&1e-128_f64.to_le_bytes());
    inside.extend_from_slice(&[0x38, 1, 0x62, 4, 0x08, 3, 0x10, 40, 0x6a, 40, 2]);
    inside.extend_from_slice(&[0; 39]);
    let mut family = vec![0x0a, 1, b'h', 0x18, 4];
    for at in 0..histograms {
        let value = format!("/path/{at:06}");
        let (mut label, mut metric) = (vec![0x0a, 4], vec![0x0a]);
        label.extend_from_slice(b"path\x12");
        delimited(value.len(), value.as_bytes(), &mut label);
        delimited(label.len(), &label, &mut metric);
        metric.push(0x3a);
        delimited(inside.len(), &inside, &mut metric);
        family.push(0x22);
        delimited(metric.len(), &metric, &mut family);
    }
    let mut body = Vec::new();
    delimited(family.len(), &family, &mut body);
    body
}

fn bench_in(bencher: Bencher<'_, '_>, body: &[u8]) {
    bencher.counter(BytesCount::new(body.len())).bench(|| read(body));
}

/// Renders all of a catalog again.
fn bench_out(bencher: Bencher<'_, '_>, body: &[u8]) {
    let exposition = Arc::new(read(body));
    let mut catalog = Catalog::new(Rules::default());
    let name = AppName::new("app").expect("a name");
    let update = Update::new(catalog.rules(), &name, &Arc::default(), exposition);
    catalog.update(update);
    let format = Format::Protobuf(Some(Escaping::AllowUtf8)).into();
    let rendered = catalog.plan(format, Selection::Everything).render();
    let out: u64 = rendered.chunks().iter().map(|chunk| chunk.len()).sum();
    drop(rendered);
    bencher.counter(BytesCount::new(out)).bench_local(|| {
        drop(catalog.evict(format));
        catalog.plan(format, Selection::Everything).render()
    });
}

#[divan::bench]
fn prometheus_in(bencher: Bencher<'_, '_>) {
    bench_in(bencher, PROMETHEUS);
}

#[divan::bench]
fn node_exporter_in(bencher: Bencher<'_, '_>) {
    bench_in(bencher, &node_exporter());
}

#[divan::bench]
fn node_exporter_out(bencher: Bencher<'_, '_>) {
    bench_out(bencher, &node_exporter());
}

#[divan::bench]
fn prometheus_out(bencher: Bencher<'_, '_>) {
    bench_out(bencher, PROMETHEUS);
}

#[divan::bench(args = [1_000, 100_000])]
fn classic_in(bencher: Bencher<'_, '_>, series: usize) {
    bench_in(bencher, &workload(series));
}

#[divan::bench(args = [1_000, 100_000])]
fn classic_out(bencher: Bencher<'_, '_>, series: usize) {
    bench_out(bencher, &workload(series));
}

#[divan::bench(args = [1_000, 100_000])]
fn native_in(bencher: Bencher<'_, '_>, histograms: usize) {
    bench_in(bencher, &native(histograms));
}

#[divan::bench(args = [1_000, 100_000])]
fn native_out(bencher: Bencher<'_, '_>, histograms: usize) {
    bench_out(bencher, &native(histograms));
}
