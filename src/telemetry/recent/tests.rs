#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use super::*;

fn moments() -> impl FnMut() -> Instant {
    let start = Instant::now();
    let mut seconds = 0;
    move || {
        seconds += 1;
        start + Duration::from_secs(seconds)
    }
}

#[test]
fn refusals_of_one_client_for_one_reason_are_one_entry_with_the_last_detail() {
    let (recent, mut now) = (RecentRefusals::default(), moments());
    recent.record("http", "10.0.0.1", "invalid", "line 1", now());
    recent.record("http", "10.0.0.2", "invalid", "line 2", now());
    recent.record("http", "10.0.0.1", "invalid", "line 3", now());
    recent.record("http", "10.0.0.1", "too_large", "17 MiB", now());
    let shown: Vec<_> = recent.list().into_iter().map(|r| (r.client, r.reason, r.detail, r.count)).collect();
    let expected = [
        ("10.0.0.1", "too_large", "17 MiB", 1),
        ("10.0.0.1", "invalid", "line 3", 2),
        ("10.0.0.2", "invalid", "line 2", 1),
    ];
    assert_eq!(
        shown,
        expected.map(|(client, reason, detail, count)| (client.into(), reason, detail.into(), count))
    );
}

#[test]
fn many_clients_of_one_source_do_not_hide_another_source() {
    let (recent, mut now) = (RecentRefusals::default(), moments());
    recent.record("http://10.0.0.9/metrics", "10.0.0.9", "poll", "connection refused", now());
    for client in 0..3 * MAX_REFUSALS {
        recent.record("http", &client.to_string(), "invalid", "line 1", now());
    }
    let list = recent.list();
    assert_eq!(list.len(), MAX_REFUSALS);
    assert_eq!(&*list[0].client, (3 * MAX_REFUSALS - 1).to_string());
    assert_eq!(&*list.last().unwrap().client, "10.0.0.9");
}

#[test]
fn a_long_detail_is_cut_between_characters() {
    let recent = RecentRefusals::default();
    recent.record("http", "a", "invalid", &"€".repeat(MAX_DETAIL), Instant::now());
    let detail = &recent.list()[0].detail;
    assert_eq!((detail.len(), detail.chars().all(|c| c == '€')), (MAX_DETAIL / 3 * 3, true));
}

#[test]
fn the_latest_removals_are_kept_one_for_each_app() {
    let (recent, mut now) = (RecentRemovals::default(), moments());
    let removal = |name: String, at| Removal {
        app: AppName::new(&name).unwrap(),
        reason: RemovalReason::Expired,
        at,
    };
    for number in 0..2 * MAX_REMOVALS {
        recent.record(removal(format!("app{number}"), now()));
    }
    recent.record(removal(format!("app{}", MAX_REMOVALS + 5), now()));
    let names: Vec<_> = recent.list().into_iter().map(|removal| removal.app.as_str().to_owned()).collect();
    assert_eq!(
        (names.len(), names[0].as_str(), names[1].as_str()),
        (MAX_REMOVALS, "app105", "app199")
    );
}
