#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn app(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

const fn revision(millis: u64) -> Revision {
    Revision { millis, sequence: 0 }
}

fn stored(at: i64) -> Stored {
    Stored {
        app: app("a"),
        revision: revision(1_000),
        at: Timestamp::from_millis(at),
        age: Duration::from_millis(500),
        record: None,
    }
}

#[test]
fn a_change_is_fetched_once_and_only_if_it_is_later_than_what_is_there() {
    let mut revisions = Revisions::default();
    let free = |_: &AppName| false;
    let changes = vec![(app("a"), revision(1)), (app("b"), revision(2)), (app("a"), revision(3))];
    assert_eq!(revisions.changed(changes, free), [app("a"), app("b")]);
    revisions.applied(&app("a"), revision(3));
    assert!(revisions.changed(vec![(app("a"), revision(3))], free).is_empty());
    assert!(
        !revisions.is_news(&app("a"), revision(3)),
        "an earlier question must not replace a later record"
    );
    assert!(revisions.is_news(&app("a"), revision(4)));
}

#[test]
fn the_later_of_two_crossing_updates_stays() {
    let mut revisions = Revisions::default();
    // Another replica's write is seen while ours is under way. Ours turns out to be later.
    assert!(revisions.changed(vec![(app("a"), revision(5))], |_| true).is_empty());
    assert!(!revisions.written(&app("a"), Written::Stored(revision(6))));
    // Ours turns out to be earlier.
    assert!(revisions.changed(vec![(app("a"), revision(9))], |_| true).is_empty());
    assert!(revisions.written(&app("a"), Written::Stored(revision(8))));
    // Ours was not stored at all, and has taken the place of a record that was there.
    assert!(!revisions.is_news(&app("a"), revision(8)));
    assert!(revisions.written(&app("a"), Written::Superseded));
    assert!(revisions.is_news(&app("a"), revision(8)));
}

#[test]
fn after_a_loss_of_data_earlier_revisions_count_again() {
    let mut revisions = Revisions::default();
    revisions.applied(&app("a"), revision(50));
    revisions.reset();
    assert_eq!(revisions.changed(vec![(app("a"), revision(7))], |_| false), [app("a")]);
}

#[test]
fn revisions_of_apps_that_are_gone_do_not_pile_up() {
    let mut revisions = Revisions::default();
    for n in 0..20_000 {
        revisions.applied(&app(&format!("job-{n}")), revision(n));
    }
    assert!(revisions.has_outgrown(2) && !revisions.has_outgrown(10_000));
    revisions.retain(|name| name.as_str() == "job-7");
    assert_eq!(revisions.known.len(), 1);
}

#[test]
fn the_later_update_wins_where_store_and_engine_differ() {
    let here = |at| Some(Timestamp::from_millis(at));
    assert_eq!(reconcile(None, &stored(10)), Reconciled::Fetch);
    assert_eq!(reconcile(here(9), &stored(10)), Reconciled::Fetch);
    assert_eq!(reconcile(here(10), &stored(10)), Reconciled::Fetch);
    assert_eq!(reconcile(here(11), &stored(10)), Reconciled::Write);
}

#[test]
fn the_age_of_a_record_is_measured_with_the_engines_clock() {
    assert_eq!(age(&stored(0), 4_000), Duration::from_millis(3_500));
    assert_eq!(
        age(&stored(0), 0),
        Duration::from_millis(500),
        "a clock that was set back takes nothing off"
    );
}
