//! What other people's parsers say of texts in which we find no error: they must take them.

use exporter_proxy::exposition::check;
use exporter_proxy::model::Syntax;
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::texts::{nearly_openmetrics, nearly_text};

#[allow(
    dead_code,
    unreachable_pub,
    clippy::print_stdout,
    reason = "shared with the tests of merging; a skipped test says so"
)]
#[path = "../merge/oracles.rs"]
mod oracles;

/// How many texts are made up for each parser, unless `CHECKED_TEXTS` says otherwise.
const TEXTS: usize = 400;

fn texts() -> usize {
    std::env::var("CHECKED_TEXTS").map_or(TEXTS, |value| value.parse().expect("a number"))
}

/// A folder of the made-up texts that have no error for us.
fn accepted(strategy: &BoxedStrategy<String>, syntax: Syntax, ending: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut kept = 0;
    for number in 0..texts() {
        let text = strategy.new_tree(&mut runner).unwrap().current();
        if check(text.as_bytes(), Some(syntax)).errors == 0 {
            kept += 1;
            std::fs::write(folder.path().join(format!("{number}.{ending}")), text).unwrap();
        }
    }
    assert!(kept > texts() / 10, "only {kept} texts are good: a test of next to nothing");
    folder
}

#[test]
fn promtool_takes_what_we_take() {
    let folder = accepted(&nearly_text(), Syntax::Text, "text");
    oracles::promtool(folder.path(), &[]);
}

#[test]
fn prometheus_client_takes_what_we_take() {
    let folder = accepted(&nearly_openmetrics(), Syntax::OpenMetrics, "openmetrics");
    oracles::prometheus_client(folder.path());
}
