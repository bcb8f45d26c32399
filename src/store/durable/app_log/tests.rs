#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;

use super::{AppLog, CHUNK, Sizes};
use crate::exposition::catalog::{Duplicates, Rules};
use crate::exposition::negotiate::Format as Answer;
use crate::model::{AppName, Format, Origin, Syntax, Timestamp, Update};
use crate::store::durable::directory::{Directory, LogFile};
use crate::store::durable::fake::{FakeDisk, Faults};
use crate::store::durable::{OpenError, Unreadable, lock};
use crate::store::stored_apps::{Applied, StoredApps};
use crate::store::{App, Limits, Mode, PutOptions};

const SIZES: Sizes = Sizes::of(300, 200);

/// The time of each start.
const NOW: i64 = 10_000;

fn open(disk: &FakeDisk) -> Result<(AppLog, Mutex<StoredApps>), OpenError> {
    let apps = Mutex::new(StoredApps::new(
        Limits::default(),
        Mode::Merge(Rules::new(None, Duplicates::Label, &[])),
    ));
    let log = AppLog::open(Arc::new(disk.clone()), &apps, SIZES, Timestamp::from_millis(NOW))?;
    Ok((log, apps))
}

fn push(apps: &Mutex<StoredApps>, name: &str, text: &str, at: i64, expires: bool) {
    let update = Update {
        app: AppName::new(name).unwrap(),
        body: Bytes::copy_from_slice(text.as_bytes()),
        syntax: Some(Syntax::Text),
        records: Bytes::new(),
        read: None,
        labels: [].into(),
        origin: Origin {
            source: "test".into(),
            format: Format::Push,
        },
        at: Timestamp::from_millis(at),
    };
    let parser = lock(apps).combiner.parser();
    let options = PutOptions {
        expires,
        ..PutOptions::PUSHED
    };
    let mut parsed = parser.parse(update, options, None);
    let mut apps = lock(apps);
    let refreshed = apps.clock.at(parsed.at);
    let applied = apps.put(&mut parsed, refreshed).unwrap();
    assert!(matches!(applied, Applied::Now(_)));
}

fn remove(apps: &Mutex<StoredApps>, name: &str) -> bool {
    match lock(apps).remove(&AppName::new(name).unwrap()) {
        Applied::Now(is_known) => is_known,
        Applied::TooLarge(_) => panic!("{name} is too large"),
    }
}

/// The facts about an app: its order, first sight, last update, text.
type Facts = (u64, i64, Option<i64>, Bytes);

fn facts(app: &App) -> Facts {
    let updated = app.updated.map(Timestamp::as_millis);
    (app.order, app.first_seen.as_millis(), updated, app.text.body().clone())
}

fn all(apps: &Mutex<StoredApps>) -> BTreeMap<String, Facts> {
    let apps = lock(apps);
    apps.table.iter().map(|app| (app.name.to_string(), facts(app))).collect()
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

/// The versions that each app may have after a restart: the one at the last complete writing, and all later ones.
#[derive(Debug, Default)]
struct Known {
    versions: BTreeMap<u8, Vec<Option<Facts>>>,
    clock: i64,
}

impl Known {
    fn run(&mut self, log: &mut AppLog, apps: &Mutex<StoredApps>, step: &Step) {
        self.clock += 1;
        match step {
            Step::Push(app, len) => {
                push(
                    apps,
                    &app.to_string(),
                    &format!("# {}\nm{app} 1\n", "x".repeat(*len)),
                    self.clock,
                    true,
                );
                let now = all(apps).remove(&app.to_string());
                self.versions.entry(*app).or_insert(vec![None]).push(now);
            }
            Step::Remove(app) => {
                if remove(apps, &app.to_string()) {
                    self.versions.entry(*app).or_default().push(None);
                }
            }
            Step::Write => {
                if log.write_changes(apps).is_ok() {
                    self.versions
                        .values_mut()
                        .for_each(|versions| *versions = versions.split_off(versions.len() - 1));
                }
            }
        }
    }

    fn check(&self, disk: &FakeDisk) {
        let (mut log, apps) = open(disk).unwrap();
        let found = all(&apps);
        for (app, versions) in &self.versions {
            let found = found.get(&app.to_string()).cloned();
            assert!(versions.contains(&found), "app {app}: {found:?} is none of {versions:?}");
        }
        // Nothing is due after a restart, and no app gets the order of another.
        push(&apps, "new", "n 1\n", 9_999, true);
        let newcomer = all(&apps)["new"].0;
        assert!(found.values().all(|facts| facts.0 < newcomer));
        log.write_changes(&apps).unwrap();
        assert_eq!(all(&open(disk).unwrap().1), all(&apps));
    }
}

fn live_and_die(disk: &FakeDisk, steps: &[Step]) -> Known {
    let mut known = Known::default();
    if let Ok((mut log, apps)) = open(disk) {
        for step in steps {
            if !disk.is_dead() {
                known.run(&mut log, &apps, step);
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
        let disk = FakeDisk::default().dies_after(life);
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
        let disk = FakeDisk::default();
        let (mut log, apps) = open(&disk).unwrap();
        let mut known = Known::default();
        let disk = disk.dies_after(life);
        for (step, room, [sync, truncate, rename, sync_names], trouble) in steps {
            disk.set_capacity((trouble == 1).then_some(disk.used() + room));
            let faults = Faults { sync, truncate, rename, sync_names };
            disk.set_faults(if trouble == 2 { faults } else { Faults::default() });
            if !disk.is_dead() {
                known.run(&mut log, &apps, &step);
            }
        }
        known.check(&disk.after_power_loss(luck));
        known.check(&disk.after_kill());
    }
}

#[test]
fn places_of_polled_applications_are_kept_and_written_once() {
    let disk = FakeDisk::default();
    let (mut log, apps) = open(&disk).unwrap();
    push(&apps, "polled", "p 1\n", 1, false);
    push(&apps, "pushed", "q 1\n", 2, true);
    log.write_changes(&apps).unwrap();
    let before = disk.used();
    push(&apps, "polled", "p 2\n", 3, false);
    log.write_changes(&apps).unwrap();
    assert_eq!(disk.used(), before);

    let (_, apps) = open(&disk.after_kill()).unwrap();
    assert_eq!(all(&apps).keys().collect::<Vec<_>>(), ["pushed"]);
    push(&apps, "newcomer", "r 1\n", 8, true);
    push(&apps, "polled", "p 3\n", 9, false);
    let orders: Vec<_> = lock(&apps).table.iter().map(|app| app.name.to_string()).collect();
    assert_eq!(orders, ["polled", "pushed", "newcomer"]);
    assert_eq!(all(&apps)["polled"].1, 1);
}

#[test]
fn a_label_that_tells_applications_apart_survives_the_other_one() {
    let disk = FakeDisk::default();
    let (mut log, apps) = open(&disk).unwrap();
    push(&apps, "a", "m 1\n", 1, true);
    log.write_changes(&apps).unwrap();
    push(&apps, "b", "m 2\n", 2, true);
    assert!(remove(&apps, "b"));
    let label = |apps: &Mutex<StoredApps>| lock(apps).combiner.labelled(&AppName::new("a").unwrap());
    assert_eq!(label(&apps).len(), 1);
    log.write_changes(&apps).unwrap();
    let (_, again) = open(&disk.after_kill()).unwrap();
    assert_eq!(label(&again), label(&apps));
    let mut again = lock(&again);
    let format = Answer::Text004.into();
    let rendered = again.draft_everything(format).render(format);
    let text: Vec<u8> = rendered.text().iter().flat_map(|slices| slices.concat()).collect();
    assert!(
        String::from_utf8_lossy(&text).contains("m{app=\"a\"} 1"),
        "{}",
        String::from_utf8_lossy(&text)
    );
}

#[test]
fn a_log_whose_files_are_foreign_or_missing_is_refused() {
    let disk = FakeDisk::default();
    let (mut log, apps) = open(&disk).unwrap();
    for at in 0..12 {
        push(&apps, &at.to_string(), &format!("m{at} 1 # {}\n", "x".repeat(60)), at, true);
        log.write_changes(&apps).unwrap();
    }
    let refusal = |change: &dyn Fn(&FakeDisk)| {
        let disk = disk.after_kill();
        change(&disk);
        match open(&disk) {
            Err(OpenError::Unreadable { path, why }) => (path, why),
            _ => panic!("taken"),
        }
    };
    use crate::store::durable::directory::Directory as _;
    let names = disk.names().unwrap();
    assert!(names.len() > 3, "{names:?}");
    let foreign = refusal(&|disk| disk.put(&names[0], b"my diary"));
    assert_eq!(foreign, (names[0].clone(), Unreadable::Foreign));
    let missing = refusal(&|disk| disk.remove(&names[1]).unwrap());
    assert!(matches!(missing, (path, Unreadable::Damaged { .. }) if path == names[1]));
}

/// A directory as a clean stop leaves it, with these apps in one file.
fn stopped(count: usize) -> FakeDisk {
    let disk = FakeDisk::default();
    let (mut log, apps) = open(&disk).unwrap();
    for at in 0..count {
        push(&apps, &format!("app{at}"), &format!("m{at} {at}\n"), 1, true);
    }
    log.finish(&apps).unwrap();
    disk.after_kill()
}

fn file(disk: &FakeDisk, name: &str) -> Vec<u8> {
    use crate::store::durable::directory::Directory as _;
    disk.read(name).unwrap().unwrap()
}

const FIRST: &str = "apps-00000001.log";

#[test]
fn any_flipped_bit_costs_at_most_one_app_and_is_gone_after_the_next_writing() {
    let disk = stopped(4);
    let whole = file(&disk, FIRST);
    let good = all(&open(&disk).unwrap().1);
    assert_eq!(good.len(), 4);
    let mut costly = 0;
    for at in 0..whole.len() {
        let damaged = disk.after_kill();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        damaged.put(FIRST, &bytes);
        let (mut log, apps) = open(&damaged).unwrap_or_else(|error| panic!("byte {at}: {error}"));
        let found = all(&apps);
        assert!(found.len() >= 3, "byte {at}: {found:?}");
        assert!(found.iter().all(|(name, facts)| good[name] == *facts), "byte {at}");
        costly += usize::from(found.len() == 3);
        // A new app gets no place that another one had, and what was missing is not missed again.
        push(&apps, "new", "n 1\n", 1, true);
        let places: std::collections::BTreeSet<_> = all(&apps).values().map(|facts| facts.0).collect();
        assert_eq!(places.len(), found.len() + 1);
        log.finish(&apps).unwrap();
        let (again, restarted) = open(&damaged.after_kill()).unwrap();
        assert_eq!(all(&restarted), all(&apps), "byte {at}");
        assert!(!again.is_due(), "byte {at}");
    }
    assert!(
        costly > whole.len() / 2,
        "most bytes belong to a record: {costly} of {}",
        whole.len()
    );
}

#[test]
fn a_damaged_record_brings_no_earlier_one_back() {
    let disk = FakeDisk::default();
    let (mut log, apps) = open(&disk).unwrap();
    for value in ["one", "two"] {
        push(&apps, "a", &format!("m{{v=\"{value}\"}} 1\n"), 1, true);
        log.write_changes(&apps).unwrap();
    }
    push(&apps, "b", "n 1\n", 1, true);
    log.finish(&apps).unwrap();
    let mut bytes = file(&disk, FIRST);
    let newest = bytes.windows(3).position(|window| window == b"two").unwrap();
    bytes[newest] ^= 1;
    disk.put(FIRST, &bytes);
    let (_, apps) = open(&disk.after_kill()).unwrap();
    assert_eq!(all(&apps).keys().collect::<Vec<_>>(), ["b"]);

    // Before anything vouches for it, its writing may have been cut short: then what it was to replace still counts.
    let end = newest + b"two\"} 1\n".len();
    disk.put(FIRST, &bytes[..end]);
    let (_, apps) = open(&disk.after_kill()).unwrap();
    assert_eq!(String::from_utf8_lossy(&all(&apps)["a"].3), "m{v=\"one\"} 1\n");
}

#[test]
fn what_stands_behind_a_torn_record_is_kept() {
    let disk = FakeDisk::default();
    let (mut log, apps) = open(&disk).unwrap();
    for app in ["a", "b", "c"] {
        push(&apps, app, &format!("{app}{app}{app} 1\n"), 1, true);
    }
    // All in one batch, of which nothing was known to be on the disk yet.
    log.write_changes(&apps).unwrap();
    let bytes = file(&disk, FIRST);
    let torn = disk.after_kill();
    let mut cut = bytes[..bytes.len() - 36].to_vec();
    let place = cut.windows(3).position(|window| window == b"bbb").unwrap();
    cut[place..place + 3].fill(0);
    torn.put(FIRST, &cut);
    let (mut log, apps) = open(&torn).unwrap();
    assert_eq!(all(&apps).keys().collect::<Vec<_>>(), ["a", "c"]);
    assert!(log.is_due(), "what is of use goes into a file without a gap");
    log.write_changes(&apps).unwrap();
    let (log, apps) = open(&torn.after_kill()).unwrap();
    assert_eq!((all(&apps).len(), log.is_due()), (2, false));
}

#[test]
fn files_before_the_last_one_lose_one_app_too() {
    let disk = FakeDisk::default();
    let (mut log, apps) = open(&disk).unwrap();
    for at in 0..12 {
        push(&apps, &at.to_string(), &format!("m{at} 1 # {}\n", "x".repeat(60)), 1, true);
        log.write_changes(&apps).unwrap();
    }
    log.finish(&apps).unwrap();
    let first = file(&disk, FIRST);
    for change in [first.len() - 60, first.len() - 1, 30] {
        let disk = disk.after_kill();
        let mut bytes = first.clone();
        bytes[change] ^= 4;
        disk.put(FIRST, &bytes);
        let (mut log, apps) = open(&disk).unwrap();
        let kept = all(&apps);
        assert!(kept.len() >= 11, "{change}: {}", kept.len());
        log.write_changes(&apps).unwrap();
        assert_eq!(all(&open(&disk.after_kill()).unwrap().1), kept);
        use crate::store::durable::directory::Directory as _;
        assert_eq!(disk.read(FIRST).unwrap(), None, "the damaged file is gone");
    }
    // A file that lacks its end, cut at the border of a record.
    let disk = disk.after_kill();
    disk.put(FIRST, &first[..first.len() - 36]);
    let (log, apps) = open(&disk).unwrap();
    assert_eq!((all(&apps).len(), log.is_due()), (12, true));
}

#[test]
fn a_log_of_version_1_is_read_and_goes_on_in_version_2() {
    let old: &[u8] = include_bytes!("../../../../tests/fixtures/store/v1/apps-00000001.log");
    let kept = |disk: &FakeDisk| {
        let (log, apps) = open(disk).unwrap();
        let found = all(&apps)
            .into_iter()
            .map(|(name, facts)| (name, facts.0, String::from_utf8_lossy(&facts.3).into_owned()));
        (log, apps, found.collect::<Vec<_>>())
    };
    let disk = FakeDisk::default();
    disk.put(FIRST, old);
    let (mut log, apps, found) = kept(&disk);
    let names: Vec<_> = found.iter().map(|(name, order, _)| (name.as_str(), *order)).collect();
    assert_eq!(names, [("another", 4), ("first", 1), ("json app", 3), ("open", 2)]);
    assert_eq!(found[0].2, "shared 2\nonly_here 3");
    assert_eq!(lock(&apps).combiner.labelled(&AppName::new("json app").unwrap()).len(), 1);
    push(&apps, "polled", "p 1\n", 1, false);
    assert_eq!(all(&apps)["polled"].0, 0, "the place of a polled application is kept too");
    push(&apps, "first", "changed 1\n", 1, true);
    log.finish(&apps).unwrap();
    assert_eq!(
        file(&disk, FIRST),
        old,
        "nothing is missing in it, so it stays until it is out of date"
    );
    assert_eq!(&file(&disk, "apps-00000002.log")[12..16], 2u32.to_le_bytes());
    let (_, _, again) = kept(&disk.after_kill());
    assert_eq!(again[1].2, "changed 1\n");
    assert_eq!(again.len(), 4);

    // Version 1 has a checksum for each record as well: cut off or damaged, it costs that record.
    for at in [28 + 30, 200, 500, old.len() - 30] {
        let disk = FakeDisk::default();
        let mut bytes = old.to_vec();
        bytes[at] ^= 1;
        disk.put(FIRST, &bytes);
        let (mut log, apps, found) = kept(&disk);
        assert!(found.len() >= 3, "byte {at}: {found:?}");
        log.write_changes(&apps).unwrap();
        let (log, _, again) = kept(&disk.after_kill());
        assert_eq!((again, log.is_due()), (found, false));
    }
    let disk = FakeDisk::default();
    disk.put(FIRST, &old[..old.len() - 5]);
    let (_, _, found) = kept(&disk);
    assert_eq!(found.len(), 5, "without the last record, the one that was forgotten is back");
}

#[test]
fn ages_go_on_over_a_restart_and_never_below_zero() {
    let expires_in = |written: i64, age: i64, start: i64| {
        let disk = FakeDisk::default();
        let (mut log, apps) = open(&disk).unwrap();
        lock(&apps).clock.tick(Timestamp::from_millis(written - age));
        push(&apps, "a", "m 1\n", written - age, true);
        lock(&apps).clock.tick(Timestamp::from_millis(written));
        log.write_changes(&apps).unwrap();
        let apps = Mutex::new(StoredApps::new(
            Limits {
                expire_after: Some(std::time::Duration::from_secs(60)),
                ..Limits::default()
            },
            Mode::Raw,
        ));
        let now = Timestamp::from_millis(start);
        AppLog::open(Arc::new(disk.after_kill()), &apps, SIZES, now).unwrap();
        // A second at a time, as the sweep does.
        let mut later = 0;
        while lock(&apps).expired(now.plus(std::time::Duration::from_millis(later)), 9).is_empty() {
            later += 1_000;
        }
        later / 1_000
    };
    let base = 1_000_000;
    assert_eq!(expires_in(base, 5_000, base), 55);
    assert_eq!(
        expires_in(base, 5_000, base + 20_000),
        35,
        "the time that the program was down counts"
    );
    assert_eq!(
        expires_in(base, 5_000, base - 9_000_000),
        55,
        "a clock that was set back takes nothing off"
    );
    assert_eq!(expires_in(base, 5_000, base + 9_000_000), 0);
}

/// A disk on which the first write of an app sets the clock of a store.
struct SettingDisk {
    disk: FakeDisk,
    apps: Arc<Mutex<StoredApps>>,
    set_to: Arc<Mutex<Option<Timestamp>>>,
}

struct SettingFile {
    file: Box<dyn LogFile>,
    apps: Arc<Mutex<StoredApps>>,
    set_to: Arc<Mutex<Option<Timestamp>>>,
}

impl SettingDisk {
    fn file(&self, file: Box<dyn LogFile>) -> Box<dyn LogFile> {
        let (apps, set_to) = (Arc::clone(&self.apps), Arc::clone(&self.set_to));
        Box::new(SettingFile { file, apps, set_to })
    }
}

impl Directory for SettingDisk {
    fn show(&self, name: &str) -> String {
        self.disk.show(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        self.disk.create(name).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        self.disk.open(name).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }
}

impl LogFile for SettingFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(time) = lock(&self.set_to).take() {
            lock(&self.apps).clock.tick(time);
        }
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
}

#[test]
fn a_clock_that_is_set_while_apps_are_written_makes_nothing_older() {
    let at = Timestamp::from_millis;
    let disk = FakeDisk::default();
    let apps = Arc::new(Mutex::new(StoredApps::new(Limits::default(), Mode::Raw)));
    let set_to = Arc::new(Mutex::new(None));
    let setting = SettingDisk {
        disk: disk.clone(),
        apps: Arc::clone(&apps),
        set_to: Arc::clone(&set_to),
    };
    let mut log = AppLog::open(Arc::new(setting), &apps, Sizes::of(1 << 20, 1 << 20), at(NOW)).unwrap();
    // More than are taken under the store's lock at a time: the ages of the later ones are taken after the step.
    let count = CHUNK + 10;
    (0..count).for_each(|n| push(&apps, &format!("app{n}"), "m 1\n", NOW, true));
    let later = NOW + 4 * 3_600_000;
    *lock(&set_to) = Some(at(later));
    log.write_changes(&apps).unwrap();
    assert!(lock(&set_to).is_none());
    let restarted = Mutex::new(StoredApps::new(Limits::default(), Mode::Raw));
    AppLog::open(Arc::new(disk.after_kill()), &restarted, SIZES, at(later + 2_000)).unwrap();
    let restarted = lock(&restarted);
    let now = restarted.clock.last();
    let ages: Vec<_> = restarted.table.iter().map(|app| now.since(app.refreshed).as_secs()).collect();
    // Ten seconds of the step count, and two have gone by since.
    assert_eq!(ages, vec![12; count]);
}

#[test]
fn a_clock_that_is_set_before_a_restart_makes_nothing_older() {
    let at = Timestamp::from_millis;
    let disk = FakeDisk::default();
    let (mut log, apps) = open(&disk).unwrap();
    push(&apps, "a", "m 1\n", NOW, true);
    log.write_changes(&apps).unwrap();
    // Four hours forward, then back by one, and a new app in between.
    let (forward, back) = (NOW + 4 * 3_600_000, NOW + 3 * 3_600_000);
    lock(&apps).clock.tick(at(forward));
    log.write_changes(&apps).unwrap();
    push(&apps, "b", "n 1\n", forward, true);
    log.write_changes(&apps).unwrap();
    lock(&apps).clock.tick(at(back));
    log.finish(&apps).unwrap();
    let restarted = Mutex::new(StoredApps::new(Limits::default(), Mode::Raw));
    AppLog::open(Arc::new(disk.after_kill()), &restarted, SIZES, at(back + 2_000)).unwrap();
    let restarted = lock(&restarted);
    let now = restarted.clock.last();
    let ages: Vec<_> = restarted.table.iter().map(|app| now.since(app.refreshed).as_secs()).collect();
    // Ten seconds of each step count, as between two looks at the clock, and two have gone by since.
    assert_eq!(ages, [12, 2]);
}
