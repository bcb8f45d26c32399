//! The parser and the checker over made-up texts: the fuzzer's check, what a bad line costs, and what other people's parsers say
//! of texts in which we find no error.
//!
//! `CHECKED_TEXTS` sets how many texts other parsers are shown.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod formats;
mod openmetrics_rules;
mod peers;
mod texts;

use bytes::Bytes;
use exporter_proxy::exposition::Exposition;
use exporter_proxy::model::Syntax;
use exporter_proxy_workload::{Order, Workload};
use proptest::prelude::*;

#[allow(
    dead_code,
    unreachable_pub,
    reason = "other targets are checked elsewhere; public for the fuzzers, which are another crate"
)]
#[path = "../../fuzz/src/lib.rs"]
mod checks;

use texts::{BAD, neighbours, pieces};

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
        prop_assert_eq!(whole.families().iter().map(|it| it.flags).collect::<Vec<_>>(), broken.families().iter().map(|it| it.flags).collect::<Vec<_>>());
    }
}
