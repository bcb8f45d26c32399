#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;

fn app(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

fn client(number: u8) -> Client {
    Client::Ip(Ipv4Addr::new(10, 0, 0, number).into())
}

/// Records an update of `a`, and its runs as client, bytes of the last one and count.
fn record(history: &UpdateHistory, from: u8, bytes: usize, refused: Option<&'static str>) {
    let outcome = UpdateOutcome {
        source: &"http".into(),
        client: Some(&client(from)),
        bytes,
        refused,
    };
    history.record(&app("a"), outcome, Instant::now());
}

#[test]
fn updates_of_one_client_with_one_outcome_are_one_entry() {
    let history = UpdateHistory::default();
    for bytes in [30, 10, 20] {
        record(&history, 1, bytes, None);
    }
    record(&history, 1, 5, Some("invalid"));
    record(&history, 2, 40, None);
    record(&history, 1, 20, None);
    let runs = history.of(&app("a"));
    let shown: Vec<_> = runs
        .iter()
        .map(|run| (run.client.clone(), run.refused, run.count, run.bytes))
        .collect();
    assert_eq!(
        shown,
        [
            (Some(client(1)), None, 1, 20),
            (Some(client(2)), None, 1, 40),
            (Some(client(1)), Some("invalid"), 1, 5),
            (Some(client(1)), None, 3, 20)
        ]
    );
    assert_eq!((runs[3].smallest, runs[3].largest), (10, 30));
    assert!(runs[3].last.duration_since(runs[3].first) < Duration::from_secs(60) && runs[3].first <= runs[3].last);
}

#[test]
fn a_history_has_a_bounded_number_of_entries_and_the_oldest_go() {
    let history = UpdateHistory::default();
    for number in 0..20 {
        record(&history, number, usize::from(number), None);
    }
    let shown: Vec<_> = history.of(&app("a")).iter().map(|run| run.bytes).collect();
    assert_eq!(shown, (12..20).rev().collect::<Vec<_>>());
}

#[test]
fn a_refused_update_of_an_unknown_app_makes_no_history() {
    let history = UpdateHistory::default();
    record(&history, 1, 5, Some("invalid"));
    assert!(history.of(&app("a")).is_empty());
    record(&history, 1, 5, None);
    history.forget(&app("a"));
    assert!(history.of(&app("a")).is_empty());
}

#[test]
fn the_number_of_apps_is_bounded() {
    let history = UpdateHistory::default();
    let source = "tcp".into();
    let outcome = UpdateOutcome {
        source: &source,
        client: None,
        bytes: 1,
        refused: None,
    };
    for number in 0..=MAX_APPS {
        history.record(&app(&format!("a{number}")), outcome, Instant::now());
    }
    assert_eq!(history.apps().len(), MAX_APPS);
    assert!(history.of(&app(&format!("a{MAX_APPS}"))).is_empty());
    // Those that have one keep it.
    history.record(&app("a0"), outcome, Instant::now());
    assert_eq!(history.of(&app("a0"))[0].count, 2);
}
