#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;

use super::app_log::{AppLog, Sizes};
use super::pretend::{Faults, Pretend};
use super::{OpenError, Unreadable, lock};
use crate::exposition::catalog::{Duplicates, Rules, Selection};
use crate::exposition::negotiate::Format as Answer;
use crate::model::{AppName, Format, Origin, Syntax, Timestamp, Update};
use crate::store::latest::{Latest, Prepared};
use crate::store::{App, Limits, Mode};

const SIZES: Sizes = Sizes::of(300, 200);

fn open(disk: &Pretend) -> Result<(AppLog, Mutex<Latest>), OpenError> {
    let latest = Mutex::new(Latest::new(
        Limits::default(),
        Mode::Merge(Rules::new(None, Duplicates::Label, &[])),
    ));
    let log = AppLog::open(Arc::new(disk.clone()), &latest, true, SIZES)?;
    Ok((log, latest))
}

fn push(latest: &Mutex<Latest>, name: &str, text: &str, at: i64, expires: bool) {
    let update = Update {
        app: AppName::new(name).unwrap(),
        body: Bytes::copy_from_slice(text.as_bytes()),
        syntax: Some(Syntax::Text),
        labels: [].into(),
        origin: Origin {
            source: "test".into(),
            format: Format::Push,
        },
        at: Timestamp::from_millis(at),
    };
    lock(latest).put(Prepared::read(update, expires, true)).unwrap();
}

/// What there is to be known of an application: its place, first sight, last update, text.
type Facts = (u64, i64, Option<i64>, Bytes);

fn facts(app: &App) -> Facts {
    let updated = app.updated.map(Timestamp::as_millis);
    (app.order, app.first_seen.as_millis(), updated, app.text.body().clone())
}

fn all(latest: &Mutex<Latest>) -> BTreeMap<String, Facts> {
    let latest = lock(latest);
    latest.apps().map(|app| (app.name.to_string(), facts(app))).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8, usize),
    Remove(u8),
    Write,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u8..5, 0usize..90).prop_map(|(app, len)| Step::Push(app, len)),
        1 => (0u8..5).prop_map(Step::Remove),
        3 => Just(Step::Write),
    ]
}

/// The versions that each application may have after a restart: the one at the last complete writing, and all later ones.
#[derive(Debug, Default)]
struct Known {
    versions: BTreeMap<u8, Vec<Option<Facts>>>,
    clock: i64,
}

impl Known {
    fn run(&mut self, log: &mut AppLog, latest: &Mutex<Latest>, step: &Step) {
        self.clock += 1;
        match step {
            Step::Push(app, len) => {
                push(
                    latest,
                    &app.to_string(),
                    &format!("# {}\nm{app} 1\n", "x".repeat(*len)),
                    self.clock,
                    true,
                );
                let now = all(latest).remove(&app.to_string());
                self.versions.entry(*app).or_insert(vec![None]).push(now);
            }
            Step::Remove(app) => {
                if lock(latest).remove(&AppName::new(&app.to_string()).unwrap()) {
                    self.versions.entry(*app).or_default().push(None);
                }
            }
            Step::Write => {
                if log.write_changes(latest).is_ok() {
                    self.versions
                        .values_mut()
                        .for_each(|versions| *versions = versions.split_off(versions.len() - 1));
                }
            }
        }
    }

    fn check(&self, disk: &Pretend) {
        let (mut log, latest) = open(disk).unwrap();
        let found = all(&latest);
        for (app, versions) in &self.versions {
            let found = found.get(&app.to_string()).cloned();
            assert!(versions.contains(&found), "app {app}: {found:?} is none of {versions:?}");
        }
        // Nothing is due after a restart, and nobody gets the place of another.
        push(&latest, "new", "n 1\n", 9_999, true);
        let newcomer = all(&latest)["new"].0;
        assert!(found.values().all(|facts| facts.0 < newcomer));
        log.write_changes(&latest).unwrap();
        assert_eq!(all(&open(disk).unwrap().1), all(&latest));
    }
}

fn live_and_die(disk: &Pretend, steps: &[Step]) -> Known {
    let mut known = Known::default();
    if let Ok((mut log, latest)) = open(disk) {
        for step in steps {
            if !disk.is_dead() {
                known.run(&mut log, &latest, step);
            }
        }
    }
    known
}

#[test]
fn a_crash_at_any_byte_loses_nothing_that_was_written() {
    let steps: Vec<_> = (0..24u8)
        .flat_map(|n| {
            [
                Step::Push(n % 5, usize::from(n) * 3),
                Step::Push(n % 2, 70),
                Step::Write,
                Step::Remove(n % 7),
            ]
        })
        .collect();
    let mut ended = false;
    for life in (1..40_000).step_by(7) {
        let disk = Pretend::default().dies_after(life);
        let known = live_and_die(&disk, &steps);
        known.check(&disk.after_kill());
        known.check(&disk.after_power_loss(life));
        ended = !disk.is_dead();
        if ended {
            assert!(life > 3_000, "the steps write too little to show anything");
            break;
        }
    }
    assert!(ended);
}

proptest! {
    #[test]
    fn crashes_and_faults_lose_nothing(
        steps in proptest::collection::vec((step(), 0usize..900, any::<[bool; 4]>(), 0u8..6), 1..80), life in 1u64..30_000, luck: u64,
    ) {
        let disk = Pretend::default();
        let (mut log, latest) = open(&disk).unwrap();
        let mut known = Known::default();
        let disk = disk.dies_after(life);
        for (step, room, [sync, truncate, rename, sync_names], trouble) in steps {
            disk.set_capacity((trouble == 1).then_some(disk.used() + room));
            let faults = Faults { sync, truncate, rename, sync_names };
            disk.set_faults(if trouble == 2 { faults } else { Faults::default() });
            if !disk.is_dead() {
                known.run(&mut log, &latest, &step);
            }
        }
        known.check(&disk.after_power_loss(luck));
        known.check(&disk.after_kill());
    }
}

#[test]
fn places_of_polled_applications_are_kept_and_written_once() {
    let disk = Pretend::default();
    let (mut log, latest) = open(&disk).unwrap();
    push(&latest, "polled", "p 1\n", 1, false);
    push(&latest, "pushed", "q 1\n", 2, true);
    log.write_changes(&latest).unwrap();
    let before = disk.used();
    push(&latest, "polled", "p 2\n", 3, false);
    log.write_changes(&latest).unwrap();
    assert_eq!(disk.used(), before);

    let (_, latest) = open(&disk.after_kill()).unwrap();
    assert_eq!(all(&latest).keys().collect::<Vec<_>>(), ["pushed"]);
    push(&latest, "newcomer", "r 1\n", 8, true);
    push(&latest, "polled", "p 3\n", 9, false);
    let orders: Vec<_> = lock(&latest).apps().map(|app| app.name.to_string()).collect();
    assert_eq!(orders, ["polled", "pushed", "newcomer"]);
    assert_eq!(all(&latest)["polled"].1, 1);
}

#[test]
fn a_label_that_tells_applications_apart_survives_the_other_one() {
    let disk = Pretend::default();
    let (mut log, latest) = open(&disk).unwrap();
    push(&latest, "a", "m 1\n", 1, true);
    log.write_changes(&latest).unwrap();
    push(&latest, "b", "m 2\n", 2, true);
    lock(&latest).remove(&AppName::new("b").unwrap());
    let label = |latest: &Mutex<Latest>| lock(latest).labelled(&AppName::new("a").unwrap());
    assert_eq!(label(&latest).len(), 1);
    log.write_changes(&latest).unwrap();
    let (_, again) = open(&disk.after_kill()).unwrap();
    assert_eq!(label(&again), label(&latest));
    let mut again = lock(&again);
    let plan = again.catalog().unwrap().plan(Answer::Text004.into(), Selection::Everything);
    let text: Vec<u8> = plan.render().chunks().iter().flat_map(|chunk| chunk.text().concat()).collect();
    assert!(
        String::from_utf8_lossy(&text).contains("m{app=\"a\"} 1"),
        "{}",
        String::from_utf8_lossy(&text)
    );
}

#[test]
fn a_log_whose_files_are_foreign_damaged_or_missing_is_refused() {
    let disk = Pretend::default();
    let (mut log, latest) = open(&disk).unwrap();
    for at in 0..12 {
        push(&latest, &at.to_string(), &format!("m{at} 1 # {}\n", "x".repeat(60)), at, true);
        log.write_changes(&latest).unwrap();
    }
    let refusal = |change: &dyn Fn(&Pretend)| {
        let disk = disk.after_kill();
        change(&disk);
        match open(&disk) {
            Err(OpenError::Unreadable { path, why }) => (path, why),
            _ => panic!("taken"),
        }
    };
    use super::folder::Folder as _;
    let names = disk.names().unwrap();
    assert!(names.len() > 3, "{names:?}");
    let first = disk.read(&names[0]).unwrap().unwrap();
    let foreign = refusal(&|disk| disk.put(&names[0], b"my diary"));
    assert_eq!(foreign, (names[0].clone(), Unreadable::Foreign));
    let missing = refusal(&|disk| disk.remove(&names[1]).unwrap());
    assert!(matches!(missing, (path, Unreadable::Damaged { .. }) if path == names[1]));
    let torn = refusal(&|disk| disk.put(&names[0], &first[..first.len() - 1]));
    assert!(matches!(torn, (path, Unreadable::Damaged { .. }) if path == names[0]));
}
