//! Mixes so large that segments split and join.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use exporter_proxy::exposition::Exposition;
use exporter_proxy::exposition::catalog::{Catalog, Duplicates, Rules, Selection, Update};
use exporter_proxy::exposition::gzip::{self, CompressionLevel, Compressor};
use exporter_proxy::exposition::render::{Chunk, OutputFormat};
use exporter_proxy::model::{AppName, LabelPair, Syntax};

use crate::mixes::Dice;
use crate::{OPENMETRICS, OUTPUT_FORMATS, TEXT, parsed, rendered};

/// The text of an application: families that all have, families that a neighbor has too, and its own.
fn body(app: usize, dice: &mut Dice) -> String {
    let mut text = String::new();
    let series = 1 + dice.below(40);
    let padding = "x".repeat(100);
    text.push_str("# HELP wide_requests_total Requests.\n# TYPE wide_requests_total counter\n");
    for n in 0..series {
        let _ = writeln!(
            text,
            "wide_requests_total{{instance=\"{app}\",padding=\"{padding}\",n=\"{n}\"}} {}",
            dice.below(1000)
        );
    }
    if dice.chance(90) {
        // Now and then one app's buckets are invalid in OpenMetrics, and the family is split for all.
        let bounds: &[&str] = if dice.chance(3) { &["1"] } else { &["1", "+Inf"] };
        text.push_str("# TYPE wide_seconds histogram\n");
        for n in 0..series {
            for bound in bounds {
                let _ = writeln!(text, "wide_seconds_bucket{{instance=\"{app}\",n=\"{n}\",le=\"{bound}\"}} 5");
            }
            let _ = writeln!(
                text,
                "wide_seconds_sum{{instance=\"{app}\",n=\"{n}\"}} 1.5\nwide_seconds_count{{instance=\"{app}\",n=\"{n}\"}} 5"
            );
        }
    }
    for pair in 0..20 {
        let _ = writeln!(
            text,
            "# TYPE pair_{}_{pair} gauge\npair_{}_{pair}{{instance=\"{app}\",padding=\"{padding}\"}} 1",
            app / 2,
            app / 2
        );
    }
    let own = if app % 50 == 7 { 2_000 } else { dice.below(30) };
    if own > 0 {
        let _ = writeln!(text, "# TYPE own_{app} gauge");
    }
    for n in 0..own {
        let _ = writeln!(text, "own_{app}{{n=\"{n}\",padding=\"{padding}\"}} {}", dice.below(10));
    }
    text
}

struct World {
    catalog: Catalog,
    series: BTreeMap<usize, u32>,
    /// The number of times that the text of a segment was evicted.
    rested: usize,
    /// The segments of the last response.
    last: Vec<Arc<Chunk>>,
}

impl World {
    fn push(&mut self, app: usize, dice: &mut Dice) {
        let exposition = Arc::new(Exposition::parse(Bytes::from(body(app, dice)), Syntax::Text));
        assert!(exposition.faults().is_empty());
        self.series.insert(app, exposition.series());
        let no_labels: Arc<[LabelPair]> = Arc::new([]);
        let name = AppName::new(&format!("app-{app}")).unwrap();
        let update = Update::new(self.catalog.rules(), &name, &no_labels, exposition);
        assert!(self.catalog.update(update).conflicts.is_empty());
    }

    /// The number of segments of the next response that the last one did not have.
    fn rendered_again(&mut self, variant: OutputFormat) -> usize {
        let exposed = self.catalog.plan(variant, Selection::Everything).render();
        let before = std::mem::replace(&mut self.last, exposed.chunks().to_vec());
        let is_new = |chunk: &&Arc<Chunk>| !before.iter().any(|old| Arc::ptr_eq(old, chunk));
        self.last.iter().filter(is_new).count()
    }

    fn verify(&mut self) {
        let series: u32 = self.series.values().sum();
        for variant in OUTPUT_FORMATS {
            let built = rendered(&mut self.catalog, variant);
            assert_eq!(parsed(&built, variant).series(), series);
            // Text that is let go comes again the same; each first call only notes that it was taken.
            let chunks: Vec<_> = self.catalog.chunks().collect();
            (0..2).for_each(|_| chunks.iter().for_each(|chunk| chunk.evict_text()));
            self.rested += chunks.iter().filter(|chunk| !chunk.has_text()).count();
            assert!(
                built == rendered(&mut self.catalog, variant),
                "a segment reads otherwise the second time"
            );
            drop(self.catalog.evict(variant));
            assert!(built == rendered(&mut self.catalog, variant), "a segment was not marked");
        }
    }
}

#[test]
fn segments_split_and_join_and_are_always_whole() {
    const APPS: usize = 400;
    let mut dice = Dice::new(1);
    let mut world = World {
        catalog: Catalog::new(Rules::new(None, Duplicates::Label, &[])),
        series: BTreeMap::new(),
        rested: 0,
        last: Vec::new(),
    };
    for app in 0..APPS {
        world.push(app, &mut dice);
    }
    world.verify();
    for _ in 0..12 {
        for _ in 0..dice.below(60) {
            let app = dice.below(APPS);
            if dice.chance(50) {
                world.push(app, &mut dice);
            } else {
                world.catalog.remove(&format!("app-{app}"));
                world.series.remove(&app);
            }
        }
        world.verify();
    }
    assert!(world.rested > 100, "there was text to let go, {} times", world.rested);
    let left: Vec<_> = world.series.keys().copied().collect();
    for app in &left[3..] {
        world.catalog.remove(&format!("app-{app}"));
        world.series.remove(app);
    }
    world.verify();
    let exposed = world.catalog.plan(TEXT, Selection::Everything).render();
    assert!(
        exposed.chunks().len() <= 3,
        "{} segments for three applications",
        exposed.chunks().len()
    );
}

#[test]
fn a_push_rebuilds_little() {
    const APPS: usize = 400;
    let mut dice = Dice::new(2);
    let mut world = World {
        catalog: Catalog::new(Rules::new(None, Duplicates::Label, &[])),
        series: BTreeMap::new(),
        rested: 0,
        last: Vec::new(),
    };
    for app in 0..APPS {
        world.push(app, &mut dice);
    }
    for variant in [TEXT, OPENMETRICS] {
        let text = rendered(&mut world.catalog, variant);
        world.rendered_again(variant);
        assert!(text.len() > 4 << 20, "large enough to tell something");
        assert_eq!(world.rendered_again(variant), 0, "nothing has changed");
        // Once segments have settled, a push costs its own, one of each large family, and those of small shared families: the
        // families of two apps may stand in two.
        world.push(10, &mut dice);
        rendered(&mut world.catalog, variant);
        world.rendered_again(variant);
        world.push(10, &mut dice);
        let again = world.rendered_again(variant);
        assert!((1..=6).contains(&again), "{again} segments");
    }
}

#[test]
fn compressed_answers_say_the_same() {
    use std::io::Read as _;
    let mut dice = Dice::new(3);
    let mut world = World {
        catalog: Catalog::new(Rules::new(None, Duplicates::Label, &[])),
        series: BTreeMap::new(),
        rested: 0,
        last: Vec::new(),
    };
    for app in 0..50 {
        world.push(app, &mut dice);
    }
    let exposed = world.catalog.plan(OPENMETRICS, Selection::Everything).render();
    let plain = super::text_of(&exposed);
    let tail = exposed.tail(None);
    let mut compressor = Compressor::new();
    for (turn, chunk) in exposed.chunks().iter().enumerate() {
        // Some parts are not compressed yet.
        if turn % 3 > 0 {
            chunk.compress(
                if turn % 3 == 1 {
                    CompressionLevel::Fast
                } else {
                    CompressionLevel::Small
                },
                &mut compressor,
            );
        }
        let pieces: Vec<_> = exposed.chunks().iter().chain(&tail).flat_map(|chunk| chunk.pieces()).collect();
        let gzip: Vec<u8> = gzip::join(&pieces).iter().flat_map(|row| row.concat()).collect();
        let (mut decoder, mut text) = (flate2::read::GzDecoder::new(&gzip[..]), Vec::new());
        decoder.read_to_end(&mut text).unwrap();
        assert!(text == plain.as_bytes() && decoder.into_inner().is_empty());
    }
}

/// Samples of a family of an app, so long that a few apps make a family of several segments.
const SAMPLES: usize = 40;

/// The text of an application that contradicts others about the large family `x`, or has families of the names of its samples.
fn contradicting(app: usize, dice: &mut Dice) -> (Syntax, String) {
    let syntax = if dice.chance(30) { Syntax::OpenMetrics } else { Syntax::Text };
    let mut text = String::new();
    let kind = *dice.pick(match syntax {
        Syntax::Text => &["histogram", "histogram", "summary", "summary", "gauge", "counter", "untyped", ""],
        Syntax::OpenMetrics => &["histogram", "histogram", "summary", "gauge", "unknown", "", "", ""],
    });
    let instance = if dice.chance(80) { app.to_string() } else { "shared".to_owned() };
    let labels = |n: usize, more: &str| format!("{{instance=\"{instance}\",n=\"{n}\",padding=\"{}\"{more}}}", "x".repeat(700));
    if !kind.is_empty() {
        if dice.chance(60) {
            let _ = writeln!(text, "# HELP x {}", dice.pick(&["One.", "Another."]));
        }
        let _ = writeln!(text, "# TYPE x {kind}");
    }
    // Histograms that a message cannot carry, summaries without samples of the name of the family, families of a few samples.
    let (is_odd, samples) = (dice.chance(20), if dice.chance(85) { SAMPLES } else { 1 });
    for n in 0..samples {
        let value = dice.below(3);
        match kind {
            "" => {}
            "histogram" => {
                let bound = if is_odd { "1.0" } else { "+Inf" };
                let _ = writeln!(text, "x_bucket{} {value}", labels(n, &format!(",le=\"{bound}\"")));
            }
            "summary" if is_odd => {}
            "summary" => {
                let _ = writeln!(text, "x{} {value}", labels(n, ",quantile=\"0.5\""));
            }
            _ => {
                let _ = writeln!(text, "x{} {value}", labels(n, ""));
            }
        }
        if matches!(kind, "histogram" | "summary") {
            let _ = writeln!(text, "x_sum{} 1.5\nx_count{} {value}", labels(n, ""), labels(n, ""));
        }
    }
    if !matches!(kind, "histogram" | "summary") {
        for name in ["x_count", "x_sum", "x_bucket"] {
            if dice.chance(15) {
                let _ = writeln!(text, "# TYPE {name} gauge");
                for n in 0..if dice.chance(50) { SAMPLES } else { 2 } {
                    let _ = writeln!(text, "{name}{} {}", labels(n, ""), dice.below(3));
                }
                if dice.chance(20) {
                    let _ = writeln!(text, "{name}{{app=\"z\"}} 1");
                }
            }
        }
    }
    if syntax == Syntax::Text && dice.chance(10) {
        let _ = writeln!(text, "# TYPE x_created gauge\nx_created{} 1", labels(0, ""));
    }
    let _ = writeln!(text, "# TYPE own_{app} gauge\nown_{app} {}", dice.below(9));
    if syntax == Syntax::OpenMetrics {
        text.push_str("# EOF\n");
    }
    (syntax, text)
}

fn update(catalog: &Catalog, app: usize, exposition: &Arc<Exposition>) -> Update {
    let no_labels: Arc<[LabelPair]> = Arc::new([]);
    let name = AppName::new(&format!("app-{app}")).unwrap();
    Update::new(catalog.rules(), &name, &no_labels, Arc::clone(exposition))
}

/// A response as text or messages, and unpacked from its compressed form.
fn response(catalog: &mut Catalog, variant: OutputFormat, compressor: &mut Compressor) -> Vec<u8> {
    use std::io::Read as _;
    let exposed = catalog.plan(variant, Selection::Everything).render();
    let plain = super::body_of(&exposed);
    exposed.chunks().iter().for_each(|chunk| chunk.compress_once(compressor));
    let tail = exposed.tail(None);
    let pieces: Vec<_> = exposed.chunks().iter().chain(&tail).flat_map(|chunk| chunk.pieces()).collect();
    let gzip: Vec<u8> = gzip::join(&pieces).iter().flat_map(|row| row.concat()).collect();
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain, "the compressed response is another one");
    plain
}

/// The messages of a response, or its lines by the names at their beginning, in an order that does not depend on its segments: a family may have
/// come into segments of its own, or not.
fn families(body: &[u8], variant: OutputFormat) -> Vec<Vec<u8>> {
    if variant.protobuf {
        let (mut messages, mut rest) = (Vec::new(), body);
        while !rest.is_empty() {
            messages.push(crate::messages::delimited(&mut rest).to_vec());
        }
        messages.sort();
        return messages;
    }
    let mut by_name: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let name = match line {
            [b'#', ..] => line.split(|byte| *byte == b' ').nth(2),
            _ => line.split(|byte| matches!(byte, b'{' | b' ')).next(),
        };
        by_name.entry(name.unwrap_or_default()).or_default().extend_from_slice(line);
    }
    by_name.into_values().collect()
}

/// Text families have each of their names once, with one header of each kind.
fn has_one_header_each(body: &[u8]) {
    let text = std::str::from_utf8(body).unwrap();
    let headers = text
        .lines()
        .filter(|line| line.starts_with("# TYPE ") || line.starts_with("# HELP "));
    let mut names: Vec<_> = headers.map(|line| line.splitn(4, ' ').take(3).collect::<Vec<_>>()).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "a header twice");
}

const ALL: [OutputFormat; 6] = OutputFormat::ALL;

/// A catalog that is scraped between updates, and one that gets the same updates and never is.
struct Pair {
    scraped: Catalog,
    /// Its responses are rendered by a copy, whose rendered segments are dropped before.
    other: Catalog,
    updates: Vec<(usize, Option<Arc<Exposition>>)>,
    compressor: Compressor,
}

impl Pair {
    fn apply(&mut self, app: usize, exposition: Option<Arc<Exposition>>) {
        for catalog in [&mut self.scraped, &mut self.other] {
            apply_to(catalog, app, exposition.as_ref());
        }
        self.updates.push((app, exposition));
    }

    /// Compares a response with that of the other catalog, and with itself rendered again.
    fn verify(&mut self, variant: OutputFormat) {
        let kept = response(&mut self.scraped, variant, &mut self.compressor);
        let mut anew = self.other.clone();
        drop(anew.evict(variant));
        let other = response(&mut anew, variant, &mut self.compressor);
        drop(anew.evict(variant));
        self.compare(&kept, &other, variant);
        drop(self.scraped.evict(variant));
        let again = response(&mut self.scraped, variant, &mut self.compressor);
        assert!(kept == again, "{variant:?}: a segment was not invalidated");
        if !variant.protobuf {
            has_one_header_each(&kept);
        }
    }

    fn compare(&self, kept: &[u8], other: &[u8], variant: OutputFormat) {
        let (kept, other) = (families(kept, variant), families(other, variant));
        let differs = kept.iter().zip(&other).find(|(kept, other)| kept != other);
        assert!(
            kept == other,
            "{variant:?}: {} families, {} in a catalog made anew; the first that differs: {:.300?}",
            kept.len(),
            other.len(),
            differs.map(|(kept, other)| (String::from_utf8_lossy(kept), String::from_utf8_lossy(other)))
        );
    }

    /// Compares all responses with those of a catalog to which all updates are applied now.
    fn verify_replayed(&mut self) {
        let mut anew = self.scraped.start_over((**self.scraped.rules()).clone());
        for (app, exposition) in &self.updates {
            apply_to(&mut anew, *app, exposition.as_ref());
        }
        for variant in ALL {
            let kept = response(&mut self.scraped, variant, &mut self.compressor);
            let other = response(&mut anew, variant, &mut self.compressor);
            self.compare(&kept, &other, variant);
        }
    }
}

fn apply_to(catalog: &mut Catalog, app: usize, exposition: Option<&Arc<Exposition>>) {
    match exposition {
        Some(exposition) => drop(catalog.update(update(catalog, app, exposition))),
        None => drop(catalog.remove(&format!("app-{app}"))),
    }
}

#[test]
fn responses_in_conflicts_are_those_of_a_catalog_made_anew() {
    let first = crate::setting("MERGE_SEED", 1);
    let (mut conflicts, mut segments) = (0, 0);
    for seed in first..first + crate::setting("MERGE_LARGE", 4) {
        let result = std::panic::catch_unwind(|| case_of_conflicts(seed));
        let Ok((in_conflict, most)) = result else { panic!("seed {seed}") };
        (conflicts, segments) = (conflicts + in_conflict, most.max(segments));
    }
    assert!(conflicts > 20, "{conflicts} updates came into conflict");
    assert!(segments > 8, "{segments} segments of a response at most");
}

/// Returns the number of updates in conflict with others, and the most parts that a response had.
fn case_of_conflicts(seed: u64) -> (usize, usize) {
    const APPS: usize = 8;
    let mut dice = Dice::new(seed);
    let app_label = dice.chance(15).then_some("app");
    let duplicates = if dice.chance(50) { Duplicates::Latest } else { Duplicates::Label };
    let new = || Catalog::new(Rules::new(app_label, duplicates, &[]));
    let mut pair = Pair {
        scraped: new(),
        other: new(),
        updates: Vec::new(),
        compressor: Compressor::new(),
    };
    let (mut conflicts, mut parts) = (0, 0);
    let mut last: Vec<Option<Arc<Exposition>>> = vec![None; APPS];
    for step in 0..APPS + 16 {
        let app = if step < APPS { APPS - 1 - step } else { dice.below(APPS) };
        let exposition = match last[app].clone() {
            Some(_) if dice.chance(10) => None,
            Some(same) if dice.chance(25) => Some(same),
            _ => {
                let (syntax, text) = contradicting(app, &mut dice);
                let exposition = Exposition::parse(Bytes::from(text), syntax);
                assert!(exposition.faults().is_empty(), "{:?}", exposition.faults());
                Some(Arc::new(exposition))
            }
        };
        last[app].clone_from(&exposition);
        pair.apply(app, exposition);
        conflicts += usize::from(!pair.scraped.conflicts(&format!("app-{app}"), 1).is_empty());
        if step + 1 >= APPS {
            // Not all of them each time: what is kept of some is older than of others.
            pair.verify(*dice.pick(&ALL));
            pair.verify(*dice.pick(&ALL));
            let exposed = pair.scraped.plan(*dice.pick(&ALL), Selection::Everything).render();
            parts = parts.max(exposed.chunks().len());
        }
    }
    ALL.into_iter().for_each(|variant| pair.verify(variant));
    pair.verify_replayed();
    (conflicts, parts)
}
