#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use crate::exposition::catalog::Selection;
use crate::exposition::gzip::{CompressionLevel, Compressor};
use crate::exposition::negotiate::ContentEncoding;
use crate::exposition::render::OutputFormat;
use crate::model::{AppName, Syntax, Timestamp, Update};
use crate::store::tests::{TEXT, in_raw, merging, text, update};
use crate::store::{Inlet, Limits, PutOptions, RenderedExposition, View};

const OPENMETRICS: OutputFormat = OutputFormat {
    syntax: Syntax::OpenMetrics,
    protobuf: false,
    ..TEXT
};

/// A store with responses that are copies and not slices of the stored texts.
fn copying() -> (Inlet, View) {
    let (inlet, view) = merging(Limits::default());
    for app in 0..40 {
        let lines: String = (0..20).map(|n| format!("shared{{app=\"{app}\",n=\"{n}\"}} {n}\n")).collect();
        inlet.put(update(&format!("app-{app}"), &lines, 1), PutOptions::PUSHED).unwrap();
    }
    (inlet, view)
}

fn read(exposed: &RenderedExposition) -> String {
    let rows: Vec<_> = exposed.text().iter().map(|row| row.concat()).collect();
    String::from_utf8(rows.concat()).unwrap()
}

fn of_app(view: &View, app: &str, variant: OutputFormat) -> RenderedExposition {
    view.exposition(variant, Selection::App(app)).finish(ContentEncoding::Gzip)
}

#[test]
fn text_that_is_rendered_to_be_compressed_is_not_kept() {
    let (_inlet, view) = copying();
    let exposed = view.exposition(TEXT, Selection::Everything).finish(ContentEncoding::Gzip);
    assert!(exposed.is_compressed() && !exposed.has_text());
    assert_eq!(exposed.take_newly_compressed().len(), exposed.chunks().len());
    assert_eq!(exposed.piece().text_len(), read(&exposed).len() as u64);
    assert_eq!(read(&exposed), text(&view));
}

#[test]
fn text_that_nobody_takes_is_let_go_and_comes_again_the_same() {
    let (inlet, view) = copying();
    let whole = text(&view);
    let exposed = |encoding| view.exposition(TEXT, Selection::Everything).finish(encoding);
    let is_ready = |encoding| view.exposition(TEXT, Selection::Everything).is_ready(encoding);
    inlet.evict_idle();
    assert!(exposed(ContentEncoding::Gzip).has_text(), "it has been taken since the last time");
    inlet.evict_idle();
    assert!(!exposed(ContentEncoding::Gzip).has_text());
    assert!(is_ready(ContentEncoding::Gzip) && !is_ready(ContentEncoding::Identity));
    // Neither what is compressed in the background nor a stored block needs the text to be there.
    let chunks = exposed(ContentEncoding::Gzip).chunks().to_vec();
    chunks
        .iter()
        .for_each(|chunk| chunk.compress(CompressionLevel::Small, &mut Compressor::new()));
    assert!(!exposed(ContentEncoding::Gzip).has_text(), "compressing leaves it away");
    assert_eq!(exposed(ContentEncoding::Gzip).piece().text_len(), whole.len() as u64);
    assert_eq!(text(&view), whole);
    assert!(is_ready(ContentEncoding::Identity));
    inlet.evict_idle();
    assert!(is_ready(ContentEncoding::Identity));
}

#[test]
fn text_that_is_there_once_is_never_let_go() {
    let (inlet, view) = merging(Limits::default());
    let lines: String = (0..2_000).map(|n| format!("large{{n=\"{n}\"}} {n}\n")).collect();
    inlet
        .put(
            update("large", &format!("# HELP large L\n# TYPE large gauge\n{lines}"), 1),
            PutOptions::PUSHED,
        )
        .unwrap();
    let whole = text(&view);
    inlet.evict_idle();
    inlet.evict_idle();
    assert!(view.exposition(TEXT, Selection::Everything).is_ready(ContentEncoding::Identity));
    assert_eq!(text(&view), whole);
}

#[test]
fn a_variant_that_nobody_asks_for_is_forgotten() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "a 1\n", 1), PutOptions::PUSHED).unwrap();
    let chunk = |variant| {
        view.exposition(variant, Selection::Everything)
            .finish(ContentEncoding::Gzip)
            .chunks()[0]
            .clone()
    };
    let (of_once, of_text) = (chunk(OPENMETRICS), chunk(TEXT));
    for _ in 0..11 {
        inlet.evict_idle();
        let same = Arc::ptr_eq(&chunk(TEXT), &of_text);
        assert!(same, "a request between");
    }
    inlet.evict_idle();
    assert_eq!(Arc::strong_count(&of_once), 1, "it is not referenced any more");
    assert!(!Arc::ptr_eq(&chunk(OPENMETRICS), &of_once));
    assert_eq!(text(&view), "a 1\n");
}

#[test]
fn whoever_reads_while_text_is_let_go_reads_all_of_it() {
    let (inlet, view) = copying();
    let whole = text(&view);
    let reading = AtomicBool::new(true);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while reading.load(Ordering::Relaxed) {
                inlet.evict_idle();
            }
        });
        let same = (0..500).all(|_| text(&view) == whole);
        reading.store(false, Ordering::Relaxed);
        assert!(same);
    });
}

#[test]
fn an_answer_about_one_application_is_kept_while_it_is_true() {
    let (inlet, view) = merging(Limits::default());
    inlet
        .put(update("a", "# TYPE x gauge\nx{i=\"1\"} 1\nmine 1\n", 1), PutOptions::PUSHED)
        .unwrap();
    inlet
        .put(update("b", "# TYPE x gauge\nx{i=\"2\"} 1\n", 1), PutOptions::PUSHED)
        .unwrap();
    let is_ready = || view.exposition(TEXT, Selection::App("a")).is_ready(ContentEncoding::Identity);
    assert!(!is_ready());
    let first = of_app(&view, "a", TEXT);
    assert_eq!(read(&first), "# TYPE x gauge\nx{i=\"1\"} 1\nmine 1\n");
    // Whatever does not concern it leaves it as it is, compressed form included.
    first.chunks()[0].compress(CompressionLevel::Fast, &mut Compressor::new());
    inlet
        .put(update("a", "# TYPE x gauge\nx{i=\"1\"} 1\nmine 1\n", 2), PutOptions::PUSHED)
        .unwrap();
    inlet
        .put(update("b", "# TYPE x gauge\nx{i=\"2\"} 2\nother 1\n", 2), PutOptions::PUSHED)
        .unwrap();
    inlet.put(update("c", "z 1\n", 2), PutOptions::PUSHED).unwrap();
    inlet.remove(&AppName::new("c").unwrap(), Timestamp::from_millis(2));
    assert!(is_ready());
    assert_eq!(of_app(&view, "a", TEXT).chunks()[0].level(), Some(CompressionLevel::Fast));
    // Another app makes a label necessary.
    inlet
        .put(update("b", "# TYPE x gauge\nx{i=\"1\"} 2\n", 3), PutOptions::PUSHED)
        .unwrap();
    assert!(!is_ready());
    assert_eq!(read(&of_app(&view, "a", TEXT)), "# TYPE x gauge\nx{i=\"1\",app=\"a\"} 1\nmine 1\n");
    inlet.put(update("a", "mine 2\n", 4), PutOptions::PUSHED).unwrap();
    assert_eq!(read(&of_app(&view, "a", TEXT)), "mine 2\n");
    assert!(is_ready());
}

#[test]
fn answers_about_applications_go_with_them() {
    for (inlet, view) in [merging(Limits::default()), in_raw(Limits::default())] {
        let ask = || {
            let merged = of_app(&view, "a", TEXT).chunks().to_vec();
            let as_pushed = view
                .app_exposition("a", TEXT)
                .unwrap()
                .finish(ContentEncoding::Gzip)
                .chunks()
                .to_vec();
            (merged, as_pushed)
        };
        let mut at = 0;
        let mut put = || {
            at += 1;
            inlet.put(update("a", &format!("a {at}\n"), at), PutOptions::PUSHED).unwrap();
        };
        let gone = |(merged, as_pushed): (Vec<_>, Vec<_>)| {
            // In raw mode both are one.
            let mut chunks: Vec<Arc<_>> = [merged, as_pushed].concat();
            chunks.dedup_by(|one, other| Arc::ptr_eq(one, other));
            chunks.iter().all(|chunk| Arc::strong_count(chunk) == 1)
        };
        put();
        assert!(!gone(ask()), "they are kept");
        let kept = ask();
        put();
        assert!(gone(kept), "with the next push");
        let kept = ask();
        inlet.withdraw(&AppName::new("a").unwrap());
        assert!(gone(kept), "with what it had");
        put();
        let kept = ask();
        inlet.remove(&AppName::new("a").unwrap(), Timestamp::from_millis(9));
        assert!(gone(kept), "with the application");
        assert!(view.app_exposition("a", TEXT).is_none());
        put();
        let kept = ask();
        (0..12).for_each(|_| inlet.evict_idle());
        assert!(gone(kept), "with those who asked");
    }
}

#[test]
fn an_answer_that_comes_too_late_is_not_kept() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "a 1\n", 1), PutOptions::PUSHED).unwrap();
    let slow = view.exposition(TEXT, Selection::App("a"));
    let slower = view.exposition(TEXT, Selection::App("a"));
    inlet.put(update("a", "a 2\n", 2), PutOptions::PUSHED).unwrap();
    assert_eq!(read(&slow.finish(ContentEncoding::Identity)), "a 1\n", "it was asked for before");
    assert_eq!(read(&of_app(&view, "a", TEXT)), "a 2\n");
    inlet.remove(&AppName::new("a").unwrap(), Timestamp::from_millis(3));
    let chunk = slower.finish(ContentEncoding::Identity).chunks()[0].clone();
    assert_eq!(Arc::strong_count(&chunk), 1);
    assert_eq!(read(&of_app(&view, "a", TEXT)), "");
}

#[test]
fn two_who_ask_at_once_hold_the_same() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "a 1\n", 1), PutOptions::PUSHED).unwrap();
    let both = [(); 2].map(|()| view.exposition(TEXT, Selection::App("a")));
    let [one, other] = both.map(|prepared| prepared.finish(ContentEncoding::Gzip).chunks()[0].clone());
    assert!(Arc::ptr_eq(&one, &other), "what is compressed for one is for the other");
}

/// A text that shows if it is still referenced.
struct Watched(Arc<String>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[test]
fn what_is_kept_holds_no_old_text_of_another_application() {
    let (inlet, view) = merging(Limits::default());
    let lines = |app: &str, value: u32| -> String {
        let line = |n| format!("shared{{app=\"{app}\",n=\"{n}\"}} {value}\n");
        (0..100).map(line).collect()
    };
    let old = Arc::new(format!("# HELP shared Words.\n{}", lines("a", 1)));
    let body = Bytes::from_owner(Watched(Arc::clone(&old)));
    inlet
        .put(
            Update {
                body,
                ..update("a", "", 1)
            },
            PutOptions::PUSHED,
        )
        .unwrap();
    inlet.put(update("b", &lines("b", 1), 1), PutOptions::PUSHED).unwrap();
    let kept = of_app(&view, "b", TEXT).chunks()[0].clone();
    assert!(Arc::strong_count(&old) > 1);
    inlet
        .put(
            update("a", &format!("# HELP shared Words.\n{}", lines("a", 2)), 2),
            PutOptions::PUSHED,
        )
        .unwrap();
    assert_eq!(Arc::strong_count(&old), 1);
    let still = of_app(&view, "b", TEXT);
    assert!(Arc::ptr_eq(&kept, &still.chunks()[0]), "nothing has changed for it");
    (0..2).for_each(|_| inlet.evict_idle());
    assert!(!kept.has_text());
    assert_eq!(read(&still), format!("# HELP shared Words.\n{}", lines("b", 1)));
}

#[test]
fn copies_of_one_application_are_let_go_too() {
    let (inlet, view) = copying();
    let kept = of_app(&view, "app-1", TEXT);
    let whole = read(&kept);
    kept.chunks()[0].compress(CompressionLevel::Fast, &mut Compressor::new());
    inlet.evict_idle();
    inlet.evict_idle();
    let again = of_app(&view, "app-1", TEXT);
    assert!(!again.has_text() && Arc::ptr_eq(&kept.chunks()[0], &again.chunks()[0]));
    assert_eq!(read(&again), whole);
}

/// Something that happens to a store.
#[derive(Debug, Clone)]
enum Step {
    Put(usize, usize),
    Remove(usize),
    Ask(usize, bool),
    Rest,
}

/// Texts that get in each other's key: types, helps, names that others own, equal series.
const TEXTS: [&str; 8] = [
    "x{i=\"1\"} 1\n",
    "x{i=\"1\"} 2\nx{i=\"2\"} 1\n",
    "# HELP x Help.\n# TYPE x gauge\nx{i=\"3\"} 1\n",
    "# TYPE x counter\nx{i=\"4\"} 1\ny 1\n",
    "# TYPE x summary\nx_sum 1\nx_count 1\n",
    "x_count 7\ny 2\n",
    "x{app=\"a\",i=\"1\"} 1\n",
    "exporter_proxy_apps 5\ny{i=\"1\"} 1\n",
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..4_usize, 0..TEXTS.len()).prop_map(|(app, text)| Step::Put(app, text)),
        1 => (0..4_usize).prop_map(Step::Remove),
        6 => (0..4_usize, any::<bool>()).prop_map(|(app, text)| Step::Ask(app, text)),
        1 => Just(Step::Rest),
    ]
}

fn change(inlet: &Inlet, step: &Step, at: i64) {
    match step {
        Step::Put(app, text) => drop(inlet.put(update(&format!("app-{app}"), TEXTS[*text], at), PutOptions::PUSHED)),
        Step::Remove(app) => drop(inlet.remove(&AppName::new(&format!("app-{app}")).unwrap(), Timestamp::from_millis(at))),
        Step::Ask(..) => {}
        Step::Rest => inlet.evict_idle(),
    }
}

proptest! {
    #[test]
    fn what_is_kept_is_what_would_be_rendered(steps in proptest::collection::vec(step(), 1..30)) {
        let (inlet, view) = merging(Limits::default());
        for (at, now) in (0..).zip(&steps) {
            change(&inlet, now, at);
            let Step::Ask(app, text) = now else { continue };
            let (name, variant) = (format!("app-{app}"), if *text { TEXT } else { OPENMETRICS });
            let answer = of_app(&view, &name, variant);
            // The same happened to a store without any request.
            let (fresh, fresh_view) = merging(Limits::default());
            (0..=at).zip(&steps).for_each(|(at, step)| change(&fresh, step, at));
            let expected = of_app(&fresh_view, &name, variant);
            prop_assert_eq!(read(&answer), read(&expected));
            let tail = |exposed: &RenderedExposition| -> Vec<u8> {
                let chunks = exposed.tail(Vec::new());
                chunks.iter().flat_map(|chunk| chunk.text().concat()).collect()
            };
            prop_assert_eq!(tail(&answer), tail(&expected));
        }
    }
}
