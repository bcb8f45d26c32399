//! Parsers of metrics pages, side by side on one core: ours, which checks everything and indexes what it keeps, and the crates that read the
//! text format. `scripts/bench/parsers` runs this program and the parser of VictoriaMetrics on the same pages.
//!
//! Pages: two captured ones (`tests/fixtures/exposition`), and one of 1,000 series as client libraries write them (`benches/workload`).

use std::io;
use std::path::Path;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use exporter_proxy_exposition::{Exposition, Syntax};
use exporter_proxy_workload::Workload;

const PAGES: [&str; 3] = ["node_exporter", "prometheus", "workload"];

fn main() {
    // With a path, writes the generated page there, for parsers that are not written in Rust.
    if let Some(path) = std::env::args().skip_while(|argument| argument != "--write").nth(1) {
        std::fs::write(path, page("workload")).expect("the page can be written");
        return;
    }
    divan::main();
}

fn page(name: &str) -> String {
    if name == "workload" {
        return Workload::of(1_000).app(7, 3);
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/exposition");
    std::fs::read_to_string(fixtures.join(name).with_extension("txt")).expect("the page is in the repository")
}

/// The number of sample lines.
fn samples(page: &str) -> usize {
    page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

/// Measures a parser that returns the number of families, or of samples, that it read.
fn measure(bencher: Bencher<'_, '_>, name: &str, parse: impl Fn(&str) -> usize + Sync) {
    let page = page(name);
    assert!(parse(&page) > 1, "{name} is read");
    bencher.counter(BytesCount::new(page.len())).bench(|| parse(black_box(&page)));
}

#[divan::bench(args = PAGES)]
fn a_exporter_proxy_exposition(bencher: Bencher<'_, '_>, name: &str) {
    let page = Bytes::from(page(name));
    let parse = || Exposition::parse(page.clone(), Syntax::Text);
    let parsed = parse();
    assert!(parsed.faults().is_empty(), "a clean page");
    let text = std::str::from_utf8(&page).expect("a page is text");
    assert_eq!(parsed.series() as usize, samples(text), "all of it");
    bencher.counter(BytesCount::new(page.len())).bench(parse);
}

#[divan::bench(args = PAGES)]
fn nom_openmetrics(bencher: Bencher<'_, '_>, name: &str) {
    measure(bencher, name, |page| {
        let (rest, families) = nom_openmetrics::parser::prometheus(page).expect("a page that it reads");
        assert!(rest.is_empty(), "all of it");
        families.len()
    });
}

#[divan::bench(args = PAGES)]
fn openmetrics_parser(bencher: Bencher<'_, '_>, name: &str) {
    measure(bencher, name, |page| {
        let exposition = openmetrics_parser::prometheus::parse_prometheus(page).expect("a page that it reads");
        exposition.families.len()
    });
}

#[divan::bench(args = PAGES)]
fn prom_text_format_parser(bencher: Bencher<'_, '_>, name: &str) {
    measure(bencher, name, |page| {
        let scrape = prom_text_format_parser::Scrape::parse(page).expect("a page that it reads");
        scrape.metrics.len()
    });
}

#[divan::bench(args = PAGES)]
fn prometheus_exposition_format_rs(bencher: Bencher<'_, '_>, name: &str) {
    measure(bencher, name, |page| {
        let metrics = prometheus_exposition_format_rs::parse_complete(page)
            .ok()
            .expect("a page that it reads");
        metrics.len()
    });
}

#[divan::bench(args = PAGES)]
fn prometheus_parse(bencher: Bencher<'_, '_>, name: &str) {
    measure(bencher, name, |page| {
        let lines = page.lines().map(|line| Ok::<_, io::Error>(line.to_owned()));
        let scrape = prometheus_parse::Scrape::parse(lines).expect("a page that it reads");
        scrape.samples.len()
    });
}
