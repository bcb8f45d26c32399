//! Merging, by generated mixes of applications: against a slow model of the rules, our own checker, and other people's parsers.
//!
//! `MERGE_MIXES` sets how many mixes there are (200, and 1,000 where `CI` is set), `MERGE_SEED` the first; a failure names its seed.
//! `MERGE_LARGE` sets how many there are of the large ones with conflicts (4).
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and says aloud what it skips"
)]

mod expected;
mod large;
mod messages;
mod mixes;
mod oracles;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use exporter_proxy::exposition::catalog::{Catalog, Duplicates, RenderedSegments, Rules, Selection, Update};
use exporter_proxy::exposition::negotiate::Escaping;
use exporter_proxy::exposition::render::OutputFormat;
use exporter_proxy::exposition::{Exposition, check, protobuf};
use exporter_proxy::model::{AppName, LabelPair, Syntax};

use expected::{Model, Seen, escaped_name};
use mixes::{Mix, Step};

const TEXT: OutputFormat = OutputFormat {
    syntax: Syntax::Text,
    protobuf: false,
    escaping: Escaping::AllowUtf8,
};
const TEXT_LEGACY: OutputFormat = OutputFormat {
    syntax: Syntax::Text,
    protobuf: false,
    escaping: Escaping::Underscores,
};
const OPENMETRICS: OutputFormat = OutputFormat {
    syntax: Syntax::OpenMetrics,
    protobuf: false,
    escaping: Escaping::AllowUtf8,
};
const OPENMETRICS_LEGACY: OutputFormat = OutputFormat {
    syntax: Syntax::OpenMetrics,
    protobuf: false,
    escaping: Escaping::Underscores,
};
const PROTOBUF: OutputFormat = OutputFormat {
    syntax: Syntax::Text,
    protobuf: true,
    escaping: Escaping::AllowUtf8,
};
const PROTOBUF_LEGACY: OutputFormat = OutputFormat {
    syntax: Syntax::Text,
    protobuf: true,
    escaping: Escaping::Underscores,
};
const OUTPUT_FORMATS: [OutputFormat; 4] = [TEXT, TEXT_LEGACY, OPENMETRICS, OPENMETRICS_LEGACY];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn seeds() -> std::ops::Range<u64> {
    let first = setting("MERGE_SEED", 1);
    let mixes = if std::env::var_os("CI").is_some() { 1_000 } else { 200 };
    first..first + setting("MERGE_MIXES", mixes)
}

fn catalog(mix: &Mix) -> Catalog {
    let duplicates = if mix.latest { Duplicates::Latest } else { Duplicates::Label };
    Catalog::new(Rules::new(mix.app_label.as_deref(), duplicates, &[]))
}

fn apply(catalog: &mut Catalog, step: &Step) {
    match step {
        Step::Remove { app } => drop(catalog.remove(app)),
        Step::Replace {
            app,
            syntax,
            body,
            labels,
            natives,
        } => {
            let labels: Arc<[LabelPair]> = labels
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect();
            let exposition = Arc::new(mixes::exposition(body, *syntax, *natives));
            let update = Update::new(catalog.rules(), &AppName::new(app).unwrap(), &labels, exposition);
            catalog.update(update);
        }
    }
}

/// The text of a response with its end.
fn text_of(exposed: &RenderedSegments) -> String {
    String::from_utf8(body_of(exposed)).unwrap()
}

/// The bytes of a response with its end.
fn body_of(exposed: &RenderedSegments) -> Vec<u8> {
    let chunks = exposed.chunks().iter().cloned().chain(exposed.tail(None));
    chunks.flat_map(|chunk| chunk.text().concat()).collect()
}

fn rendered(catalog: &mut Catalog, variant: OutputFormat) -> String {
    let exposed = catalog.plan(variant, Selection::Everything).render();
    text_of(&exposed)
}

fn parsed(text: &str, variant: OutputFormat) -> Exposition {
    let exposition = Exposition::parse(Bytes::from(text.to_owned()), variant.syntax);
    assert!(exposition.faults().is_empty(), "{:?}\n{text}", exposition.faults());
    exposition
}

/// These samples as seen by a scraper that takes no UTF-8; series that have become one are counted once.
fn legacy(samples: &[Seen]) -> Vec<(String, BTreeMap<String, String>)> {
    let name = |(name, labels, ..): &Seen| {
        let mut escaped = BTreeMap::new();
        for (name, value) in labels {
            // In the mixes the label that comes first in order stands first in the line.
            escaped.entry(escaped_name(name)).or_insert_with(|| value.clone());
        }
        (escaped_name(name), escaped)
    };
    let mut names: Vec<_> = samples.iter().map(name).collect();
    names.sort();
    names.dedup();
    names
}

/// The samples that go out under OpenMetrics: of a series with and without times only those with times.
fn without_mixed_times(samples: &[Seen]) -> Vec<Seen> {
    let has_times = |(name, labels, ..): &Seen| {
        let same = |(other, theirs, _, time): &Seen| other == name && theirs == labels && time.is_some();
        samples.iter().any(same)
    };
    samples.iter().filter(|it| it.3.is_some() || !has_times(it)).cloned().collect()
}

/// The samples that the text format has: none before 1970.
fn not_before_1970(samples: &[Seen]) -> Vec<Seen> {
    samples.iter().filter(|it| it.3.is_none_or(|time| time >= 0)).cloned().collect()
}

/// The samples that protobuf has: none at the start of 1970.
fn not_at_1970(samples: &[Seen]) -> Vec<Seen> {
    samples.iter().filter(|it| it.3 != Some(0)).cloned().collect()
}

fn verify(catalog: &mut Catalog, model: &Model, mix: &Mix) {
    let expected = model.samples();
    let expected_in_text = not_before_1970(&expected);
    let text = rendered(catalog, TEXT);
    let exposition = parsed(&text, TEXT);
    same(&expected::samples(&exposition), &expected_in_text, &text);
    let openmetrics = rendered(catalog, OPENMETRICS);
    let seen = expected::samples(&parsed(&openmetrics, OPENMETRICS));
    // Where the newest counts, creation times stay with their groups under OpenMetrics and alone in the text format.
    let comparable = |samples: Vec<Seen>| -> Vec<Seen> {
        samples
            .into_iter()
            .filter(|(name, ..)| !mix.latest || !name.ends_with("_created"))
            .collect()
    };
    // The model takes `le="1"` and `le="1.0"` for one series, so those with and without times are left out on both sides.
    let seen = without_mixed_times(&seen);
    same(&comparable(seen), &comparable(without_mixed_times(&expected)), &openmetrics);
    verify_legacy(&rendered(catalog, TEXT_LEGACY), TEXT_LEGACY, &legacy(&expected_in_text), mix);
    if !mix.latest {
        verify_legacy(&rendered(catalog, OPENMETRICS_LEGACY), OPENMETRICS_LEGACY, &legacy(&expected), mix);
    }
    headers(&exposition, model);
    verify_messages(catalog, &not_at_1970(&expected), mix);
    for (app, count) in model.duplicates() {
        assert_eq!(catalog.duplicate_series(&app), count, "duplicates of {app}");
    }
}

/// Checks a response for scrapers that take no UTF-8. Where escaping makes groups of one application the same the first stands, so some
/// may be missing.
fn verify_legacy(text: &str, variant: OutputFormat, expected: &[(String, BTreeMap<String, String>)], mix: &Mix) {
    let seen = legacy(&expected::samples(&parsed(text, variant)));
    if mix.has_labels_to_escape() {
        assert!(seen.iter().all(|it| expected.contains(it)), "too much in {text}");
    } else {
        same(&seen, expected, text);
    }
}

/// Checks the protobuf response: the samples of the text, whatever the types of their messages are, and no series twice.
fn verify_messages(catalog: &mut Catalog, expected: &[Seen], mix: &Mix) {
    let spelt = |value: &str| value.parse().map_or_else(|_| value.to_owned(), messages::spelt);
    let comparable = |samples: Vec<Seen>| -> Vec<Seen> {
        let mut samples: Vec<Seen> = samples
            .into_iter()
            // Creation times stay with their groups, and a disambiguating label may have another name there: they are counted instead.
            .filter(|(name, ..)| !escaped_name(name).ends_with("_created"))
            .map(|(name, labels, value, time)| {
                // What goes out untyped keeps the spelling of its bounds.
                let labels = labels
                    .into_iter()
                    .map(|(name, value)| (name.clone(), expected::bound(&name, &value)));
                (name, labels.collect(), spelt(&value), time)
            })
            .collect();
        samples.sort();
        samples
    };
    let body = body_of(&catalog.plan(PROTOBUF, Selection::Everything).render());
    let messages = messages::messages(&body);
    let mut names: Vec<_> = messages.iter().filter(|it| it.kind != 3).map(|it| (&it.name, it.kind)).collect();
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(all, names.len(), "one message of each name and type: {names:?}");
    let seen: Vec<Seen> = messages.into_iter().flat_map(|it| it.samples).collect();
    let created = |samples: &[Seen]| samples.iter().filter(|(name, ..)| escaped_name(name).ends_with("_created")).count();
    // Beside a family of their name text has none, and records have them.
    let are_comparable = !mix.latest && !mix.has_natives();
    assert!(!are_comparable || created(&seen) == created(expected), "as many creation times");
    let seen = comparable(seen);
    let decoded = protobuf::decode(&body, usize::MAX).expect("our own bodies decode");
    let text = String::from_utf8(decoded.text.to_vec()).unwrap();
    same(&seen, &comparable(expected.to_vec()), &text);
    let body = body_of(&catalog.plan(PROTOBUF_LEGACY, Selection::Everything).render());
    let seen: Vec<Seen> = messages::messages(&body).into_iter().flat_map(|it| it.samples).collect();
    let (seen, expected) = (legacy(&comparable(seen)), legacy(&comparable(expected.to_vec())));
    if mix.has_labels_to_escape() {
        assert!(seen.iter().all(|it| expected.contains(it)), "too much in {text}");
    } else {
        same(&seen, &expected, &text);
    }
}

/// Says what is missing and what is too much.
fn same<T: PartialEq + std::fmt::Debug>(actual: &[T], expected: &[T], text: &str) {
    let list = |these: &[T], others: &[T]| -> String {
        these
            .iter()
            .filter(|it| !others.contains(it))
            .map(|it| format!("{it:?}\n"))
            .collect()
    };
    assert!(
        actual == expected,
        "missing:\n{}too much:\n{}in:\n{text}",
        list(expected, actual),
        list(actual, expected)
    );
}

/// One TYPE and one HELP each, those that the rules say.
fn headers(exposition: &Exposition, model: &Model) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (kinds, helps) = (model.kinds(), model.helps());
    for family in exposition.families() {
        let name = escaped_name(&text(exposition.text(family.name)));
        assert_eq!(Some(&family.kind), kinds.get(&name), "type of {name}");
        let unescaped = |help: String| help.replace("\\\"", "\"");
        let help = family.help().map(|help| unescaped(text(exposition.text(help))));
        assert_eq!(help, helps.get(&name).cloned().map(unescaped), "help of {name}");
    }
}

/// The last response about each application alone, and its version.
#[derive(Default)]
struct Alone(BTreeMap<(&'static str, usize), (u64, String)>);

impl Alone {
    /// Whatever looks otherwise than before has another version.
    fn verify(&mut self, catalog: &mut Catalog) {
        let all = mixes::APPS
            .iter()
            .flat_map(|&app| OUTPUT_FORMATS.iter().enumerate().map(move |(at, &variant)| (app, at, variant)));
        for (app, at, variant) in all {
            let version = catalog.version(app);
            let exposed = catalog.plan(variant, Selection::App(app)).render();
            let text = text_of(&exposed);
            if let Some((before, old)) = self.0.insert((app, at), (version, text.clone())) {
                assert!(
                    version == 0 || version >= before,
                    "versions only grow while there is the application"
                );
                assert!(version != before || text == old, "the version of {app} stayed:\n{old}\n{text}");
            }
        }
    }
}

/// Whatever was built step by step is what one gets by building all of it now, and our own checker has nothing to say.
fn verify_bytes(catalog: &mut Catalog) {
    for variant in OUTPUT_FORMATS {
        let built = rendered(catalog, variant);
        drop(catalog.evict(variant));
        assert_eq!(built, rendered(catalog, variant), "a segment was not marked");
        let checked = check(built.as_bytes(), Some(variant.syntax));
        assert_eq!(checked.errors, 0, "{:?}\n{built}", checked.problems);
    }
    for variant in [PROTOBUF, PROTOBUF_LEGACY] {
        let built = body_of(&catalog.plan(variant, Selection::Everything).render());
        drop(catalog.evict(variant));
        let again = body_of(&catalog.plan(variant, Selection::Everything).render());
        assert_eq!(built, again, "a segment of messages was not marked");
    }
}

#[test]
fn mixes_come_out_as_the_rules_say() {
    for seed in seeds() {
        let mix = Mix::new(seed);
        let result = std::panic::catch_unwind(|| {
            let (mut catalog, mut model, mut alone) = (catalog(&mix), Model::new(&mix), Alone::default());
            for step in &mix.steps {
                apply(&mut catalog, step);
                model.step(step);
                verify(&mut catalog, &model, &mix);
                alone.verify(&mut catalog);
            }
            verify_bytes(&mut catalog);
        });
        assert!(result.is_ok(), "seed {seed}");
    }
}

#[test]
fn other_parsers_take_what_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    for seed in seeds() {
        let mix = Mix::new(seed);
        let mut catalog = catalog(&mix);
        for step in &mix.steps {
            apply(&mut catalog, step);
        }
        for (variant, ending) in [
            (TEXT_LEGACY, "text"),
            (OPENMETRICS, "utf8.openmetrics"),
            (OPENMETRICS_LEGACY, "openmetrics"),
        ] {
            let text = rendered(&mut catalog, variant);
            // This strict parser refuses reserved label names, which Prometheus takes.
            if variant.syntax == Syntax::OpenMetrics && (text.contains("{__") || text.contains(",__")) {
                continue;
            }
            std::fs::write(folder.path().join(format!("{seed}.{ending}")), text).unwrap();
        }
    }
    oracles::promtool(folder.path(), &["metric not unique"]);
    oracles::prometheus_client(folder.path());
}
