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
