//! Memory of the merge at rest, beyond the texts, counted by the allocator: bytes for each family of each app and for each series.
//!
//! `cargo bench -p exporter-proxy-exposition --bench memory` prints one row a case; a number after it scales the cases (200,000 families by default). Every case is
//! measured after the updates, and at rest: text and OpenMetrics were asked for plain and with gzip, and texts that can be rendered again
//! are dropped. The figures are the same in every run but for hash seeds.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(
    unsafe_code,
    reason = "an allocator that counts is an unsafe trait; it hands all calls to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use exporter_proxy_exposition::Exposition;
use exporter_proxy_exposition::catalog::{Catalog, Duplicates, Rules, Selection, Update};
use exporter_proxy_exposition::gzip::{CompressionLevel, Compressor};
use exporter_proxy_exposition::negotiate::Escaping;
use exporter_proxy_exposition::render::OutputFormat;
use exporter_proxy_exposition::{AppName, LabelPair, Syntax};

/// The bytes in use, as the allocator of the C library rounds them.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A chunk of glibc: eight bytes of header, sixteen bytes of alignment, 32 bytes at least.
const fn chunk(size: usize) -> usize {
    let rounded = (size + 8).next_multiple_of(16);
    if rounded < 32 { 32 } else { rounded }
}

// SAFETY: every call goes to the system's allocator as it came; the counter changes no result.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(chunk(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(chunk(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        IN_USE.fetch_add(chunk(new_size), Ordering::Relaxed);
        IN_USE.fetch_sub(chunk(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

/// Texts of a case: those of several apps.
type Texts = Vec<String>;

struct Case {
    name: &'static str,
    /// The unit of the figures: families of all apps, or series.
    units: usize,
    texts: Texts,
}

fn cases(scale: usize) -> Vec<Case> {
    let bare: String = (0..scale).map(|n| format!("a{n} 1\n")).collect();
    let labelled: String = (0..scale).map(|n| format!("a{n}{{instance=\"one\"}} 1\n")).collect();
    let other: String = (0..scale).map(|n| format!("a{n}{{instance=\"other\"}} 1\n")).collect();
    let typed: String = (0..scale)
        .map(|n| format!("# HELP a{n} A value.\n# TYPE a{n} gauge\na{n} 1\n"))
        .collect();
    let series = |app: &str| {
        let mut text = "# TYPE a gauge\n".to_owned();
        for n in 0..scale {
            let _ = writeln!(text, "a{{app_number=\"{app}\",n=\"{n}\"}} 1");
        }
        text
    };
    let fleet = |shared: bool| {
        let family = |app: usize, n: usize| {
            let name = if shared { format!("f{n}") } else { format!("app{app}_f{n}") };
            let samples: String = (0..10)
                .map(|s| format!("{name}{{instance=\"10.0.0.{app}\",method=\"GET\",status=\"{s}\"}} {s}\n"))
                .collect();
            format!("# HELP {name} The number of requests.\n# TYPE {name} gauge\n{samples}")
        };
        let app = |app| (0..10).map(|n| family(app, n)).collect::<String>();
        (0..scale / 200).map(app).collect::<Texts>()
    };
    let case = |name, units, texts| Case { name, units, texts };
    vec![
        case("one app, families of one sample", scale, vec![bare.clone()]),
        case("the same with HELP and TYPE", scale, vec![typed.clone()]),
        case("twins, the same series", 2 * scale, vec![bare.clone(), bare]),
        case("twins, other labels", 2 * scale, vec![labelled, other]),
        case("twins with HELP and TYPE, the same series", 2 * scale, vec![typed.clone(), typed]),
        case("one app, one family of many series", scale, vec![series("1")]),
        case("two apps, one family of many series", 2 * scale, vec![series("1"), series("2")]),
        case("two apps, one family, the same series", 2 * scale, vec![series("1"), series("1")]),
        case("a fleet of 10 families of 10 series, none shared: series", scale / 2, fleet(false)),
        case("the same, all shared: series", scale / 2, fleet(true)),
    ]
}

/// A catalog of these texts, their bytes, and the bytes of their index.
fn updated(texts: &Texts) -> (Catalog, usize, usize) {
    let mut catalog = Catalog::new(Rules::new(None, Duplicates::Label, &["exporter_proxy_", "events_to_metrics"]));
    let no_labels: Arc<[LabelPair]> = Arc::new([]);
    let (mut bytes, mut index) = (0, 0);
    for (number, text) in texts.iter().enumerate() {
        let body = Bytes::from(text.clone().into_bytes().into_boxed_slice());
        bytes += body.len();
        let name = AppName::new(&format!("app-{number}")).expect("a short name");
        let exposition = Arc::new(Exposition::parse(body, Syntax::Text));
        index += exposition.index_bytes();
        let update = Update::new(catalog.rules(), &name, &no_labels, exposition);
        catalog.update(update);
    }
    (catalog, bytes, index)
}

/// Asks for text and OpenMetrics, plain and with gzip, and drops what can be rendered again.
fn ask(catalog: &mut Catalog) {
    let mut compressor = Compressor::new();
    for syntax in [Syntax::Text, Syntax::OpenMetrics] {
        let format = OutputFormat {
            syntax,
            protobuf: false,
            escaping: Escaping::Underscores,
        };
        let exposed = catalog.plan(format, Selection::Everything).render();
        exposed.chunks().iter().for_each(|chunk| drop(chunk.text()));
        exposed
            .chunks()
            .iter()
            .for_each(|chunk| chunk.compress(CompressionLevel::Small, &mut compressor));
        // The first call notes that the text was taken.
        (0..2).for_each(|_| exposed.chunks().iter().for_each(|chunk| chunk.evict_text()));
    }
}

fn main() {
    let scale = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    println!(
        "{:<58} {:>9} {:>7} {:>8} {:>8} {:>9}",
        "bytes beyond the text, for each family (or series)", "units", "text", "updated", "at rest", "counted"
    );
    for case in cases(scale.unwrap_or(200_000)) {
        let before = IN_USE.load(Ordering::Relaxed);
        let (mut catalog, bytes, index) = updated(&case.texts);
        let each = |bytes: usize| bytes as f64 / case.units as f64;
        let used = || each(IN_USE.load(Ordering::Relaxed) - before - bytes);
        let updated = used();
        ask(&mut catalog);
        let at_rest = used();
        let counted = index + catalog.footprint() + usize::try_from(catalog.meter().held()).unwrap_or(0);
        println!(
            "{:<58} {:>9} {:>7.1} {:>8.1} {:>8.1} {:>9.1}",
            case.name,
            case.units,
            each(bytes),
            updated,
            at_rest,
            each(counted)
        );
    }
}
