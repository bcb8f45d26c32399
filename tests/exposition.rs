//! Properties of the parser over made-up texts: the fuzzer's check, and that one bad line costs one line.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use exporter_proxy::exposition::Exposition;
use exporter_proxy::model::Syntax;
use proptest::prelude::*;

#[allow(
    dead_code,
    unreachable_pub,
    reason = "other targets are checked elsewhere; public for the fuzzers, which are another crate"
)]
#[path = "../fuzz/src/lib.rs"]
mod checks;
#[path = "../benches/workload/mod.rs"]
mod workload;

use workload::{Order, Workload};

/// Pieces that lines are made of, good and bad.
const PIECES: [&str; 48] = [
    "foo",
    "bar",
    "foo_bucket",
    "foo_sum",
    "foo_count",
    "foo_total",
    "foo_created",
    "{",
    "}",
    "{a=\"b\"}",
    "{a=\"1\",b=\"2\"}",
    "{a=\"1\",b=\"22\"}",
    "{b=\"2\",a=\"1\"}",
    "{le=\"1\"}",
    "{le=\"+Inf\"}",
    "{a=\"1\",le=\"0.5\"}",
    "{quantile=\"0.5\"}",
    "{\"foo\"",
    "\"my.metric\"",
    "a",
    "=",
    "\"",
    "\"x\"",
    ",",
    ", ",
    "\\",
    "\\n",
    "\\\"",
    " ",
    "  ",
    "\t",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "1",
    "1.5",
    "-2",
    "NaN",
    "+Inf",
    "1e400",
    "# TYPE foo histogram\n",
    "# TYPE foo counter\n",
    "# TYPE foo summary\n",
    "# HELP foo x\n",
    "# EOF\n",
    " # {id=\"x\"} 1",
    "ö",
];

/// Lines that are never good.
const BAD: [&str; 12] = [
    "9foo 1",
    "foo",
    "foo{a=\"b\"}",
    "foo{a=\"b} 1",
    "foo{a=b} 1",
    "foo{a=\"\\x\"} 1",
    "foo{a=\"b\",a=\"c\"} 1",
    "foo one",
    "foo 1 2 3",
    "foo 1 -5",
    "# TYPE foo what",
    "foo{a=\"b\"c=\"d\"} 1",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60).prop_map(|pieces| pieces.concat())
}

/// Lines that are much like each other, which is where lines take over from the one before.
fn neighbours() -> impl Strategy<Value = String> {
    let value = prop::sample::select(&["", "x", "y", "xx", "a long value, longer than a word of the machine", "\\\"", "ö"][..]);
    let label = (
        prop::sample::select(&["a", "b", "c", "le", "quantile", "__x", "\"q.n\""][..]),
        value,
    );
    let gap = || prop::sample::select(&["", "", "", "", " "][..]);
    let labels = prop::collection::vec((gap(), label, gap()), 0..5).prop_map(|labels| {
        let labels = labels
            .into_iter()
            .map(|(before, (name, value), after)| format!("{before}{name}=\"{value}\"{after}"));
        labels.collect::<Vec<_>>().join(",")
    });
    let name = prop::sample::select(&["foo", "foo_bucket", "foo_sum", "bar", "f"][..]);
    let line = (name, labels, 0..3u8).prop_map(|(name, labels, value)| match value {
        0 => format!("{{\"{name}\",{labels}}} 1\n"),
        1 => format!("{name}{{{labels}}} 2\n"),
        _ => format!("{name}{{{labels}}} 1.5 1000\n"),
    });
    (
        prop::sample::select(&["", "# TYPE foo histogram\n", "# TYPE foo summary\n"][..]),
        prop::collection::vec(line, 0..12),
    )
        .prop_map(|(head, lines)| head.to_owned() + &lines.concat())
}

proptest! {
    #[test]
    fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        checks::exposition::check(&bytes);
    }

    #[test]
    fn any_pieces_hold(text in pieces()) {
        checks::exposition::check(text.as_bytes());
    }

    #[test]
    fn any_neighbours_hold(text in neighbours()) {
        checks::exposition::check(text.as_bytes());
    }

    #[test]
    fn a_bad_line_costs_itself(app in 0..1_000usize, series in 1..150usize, hard: bool, bad in prop::sample::select(&BAD[..]), place: prop::sample::Index) {
        let order = if hard { Order::Hard } else { Order::Natural };
        let text = Workload { order, ..Workload::of(series) }.app(app, 1);
        let whole = Exposition::parse(Bytes::from(text.clone()), Syntax::Text);
        prop_assert!(whole.faults().is_empty() && whole.series() as usize == series);
        let mut lines: Vec<&str> = text.lines().collect();
        let at = place.index(lines.len() + 1);
        lines.insert(at, bad);
        let broken = Exposition::parse(Bytes::from(lines.join("\n")), Syntax::Text);
        prop_assert_eq!((broken.series() as usize, broken.faults().total()), (series, 1));
        prop_assert_eq!(broken.faults().first().unwrap().line as usize, at + 1);
        let hashes = |it: &Exposition| it.families().iter().flat_map(|family| it.series_hashes(family).collect::<Vec<_>>()).collect::<Vec<_>>();
        prop_assert_eq!(hashes(&whole), hashes(&broken));
        prop_assert_eq!(whole.families().iter().map(|it| it.traits).collect::<Vec<_>>(), broken.families().iter().map(|it| it.traits).collect::<Vec<_>>());
    }
}
