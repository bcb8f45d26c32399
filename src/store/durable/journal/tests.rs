#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::Journal;
use crate::model::{Client, Event, IdempotencyKey, LabelSet, ScraperId, Timestamp};
use crate::store::durable::fake::{FakeDisk, Faults};
use crate::store::durable::{OpenError, Unreadable, lock};
use crate::store::events::{EventOptions, Events, MAX_REMOVALS, Owner, Submission};

const SCRAPERS: [&str; 2] = ["a", "b"];
/// A scraper that is not declared.
const GUEST: &str = "guest";
const NAME: &str = "events.log";

fn options() -> EventOptions {
    EventOptions {
        scrapers: SCRAPERS.iter().map(|name| who(name)).collect(),
        ..EventOptions::default()
    }
}

fn who(name: &str) -> ScraperId {
    ScraperId::new(name).unwrap()
}

fn home() -> Client {
    Client::Ip([127, 0, 0, 1].into())
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_000)
}

/// An event with a unique value.
fn submission(series: u8, value: u32, key: Option<&str>) -> Submission {
    let labels = LabelSet::new(vec![("series".into(), format!("{series}"))]).unwrap();
    Submission {
        event: Event {
            labels,
            value: f64::from(value),
        },
        key: key.map(|key| IdempotencyKey::new(key).unwrap()),
        owner: Owner::Restored,
        at: now(),
        stamp: None,
        source: None,
    }
}

fn open(disk: &FakeDisk, slack: u64) -> Result<(Journal, Mutex<Events>), OpenError> {
    Journal::open(Arc::new(disk.clone()), options(), now(), slack)
}

/// Scrapes until there is nothing more, each scrape arriving.
fn drain(state: &Mutex<Events>, name: &str) -> Vec<f64> {
    let mut got = Vec::new();
    loop {
        let mut events = lock(state);
        let leased = events.scrape(&who(name), &home(), now());
        let Some(lease) = leased.lease else { return got };
        events.settle(lease, true);
        got.extend(leased.events.iter().map(|record| record.event.value));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Emit(Vec<u8>),
    Scrape(usize, bool),
    Write,
    Sync,
    /// The guest comes.
    Visit,
    /// The guest is forgotten.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(0u8..4, 1..4).prop_map(Step::Emit),
        4 => (0usize..2, any::<bool>()).prop_map(|(name, delivered)| Step::Scrape(name, delivered)),
        2 => Just(Step::Write),
        1 => Just(Step::Sync),
        1 => Just(Step::Visit),
        1 => Just(Step::Forget),
    ]
}

/// The journal's record of scrapers at some time.
#[derive(Debug, Clone)]
struct Recorded {
    delivered: BTreeMap<usize, BTreeSet<u32>>,
    /// True if the guest is known, and the same for each time since.
    guest: BTreeSet<bool>,
}

impl Default for Recorded {
    fn default() -> Self {
        Self {
            delivered: BTreeMap::new(),
            guest: BTreeSet::from([false]),
        }
    }
}

/// The guarantees of the journal.
#[derive(Debug, Default, Clone)]
struct Known {
    offered: u32,
    accepted: BTreeSet<u32>,
    delivered: BTreeMap<usize, BTreeSet<u32>>,
    has_guest: bool,
    /// The record of the last write, and that of the last sync.
    written: Recorded,
    synced: Recorded,
}

impl Known {
    /// The record of a write at this time.
    fn recorded(&self) -> Recorded {
        Recorded {
            delivered: self.delivered.clone(),
            guest: BTreeSet::from([self.has_guest]),
        }
    }

    fn set_guest(&mut self, is_known: bool) {
        self.has_guest = is_known;
        for recorded in [&mut self.written, &mut self.synced] {
            recorded.guest.insert(is_known);
        }
    }

    fn run(&mut self, journal: &mut Journal, state: &Mutex<Events>, step: &Step) {
        let recorded = self.recorded();
        match step {
            Step::Emit(series) => {
                let submissions: Vec<_> = (self.offered..)
                    .zip(series)
                    .map(|(value, &series)| submission(series, value, None))
                    .collect();
                let values = self.offered..;
                self.offered += u32::try_from(submissions.len()).unwrap();
                if journal.commit(state, &submissions).is_ok() {
                    self.accepted.extend(values.zip(&submissions).map(|(value, _)| value));
                    (self.written, self.synced) = (recorded.clone(), recorded);
                }
            }
            Step::Scrape(name, arrives) => {
                let mut events = lock(state);
                let leased = events.scrape(&who(SCRAPERS[*name]), &home(), now());
                let Some(lease) = leased.lease else { return };
                events.settle(lease, *arrives);
                if *arrives {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "values are small counts")]
                    let values = leased.events.iter().map(|record| record.event.value as u32);
                    self.delivered.entry(*name).or_default().extend(values);
                }
            }
            Step::Write => {
                if journal.commit(state, &[]).is_ok() {
                    self.written = recorded;
                }
            }
            Step::Sync => {
                if journal.commit(state, &[]).and_then(|_| journal.sync_and_seal(state)).is_ok() {
                    (self.written, self.synced) = (recorded.clone(), recorded);
                }
            }
            Step::Visit => {
                let mut events = lock(state);
                if let Some(lease) = events.scrape(&who(GUEST), &home(), now()).lease {
                    events.settle(lease, false);
                }
                self.set_guest(true);
            }
            Step::Forget => {
                lock(state).forget_elsewhere(&who(GUEST));
                self.set_guest(false);
            }
        }
        // A rewriting that fails half way may or may not have written what was delivered; what was written before stays so.
        let _ = journal.rewrite_if_large(state);
    }

    /// Checks what the next process finds against what may be relied on.
    fn check(&self, disk: &FakeDisk, recorded: &Recorded) {
        let (_journal, state) = open(disk, 64).unwrap();
        let is_known = lock(&state).known().contains(&who(GUEST));
        assert!(
            recorded.guest.contains(&is_known),
            "the guest is known: {is_known}, not {:?}",
            recorded.guest
        );
        for (at, name) in SCRAPERS.iter().enumerate() {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "values are small counts")]
            let got: Vec<u32> = drain(&state, name).into_iter().map(|value| value as u32).collect();
            let set: BTreeSet<_> = got.iter().copied().collect();
            assert_eq!(set.len(), got.len(), "{name} got something twice: {got:?}");
            let none = BTreeSet::new();
            let delivered = self.delivered.get(&at).unwrap_or(&none);
            let recorded = recorded.delivered.get(&at).unwrap_or(&none);
            assert!(set.is_disjoint(recorded), "{name} got {set:?} again, of {recorded:?}");
            assert!(set.iter().all(|value| *value < self.offered));
            let due: BTreeSet<_> = self.accepted.difference(delivered).copied().collect();
            assert!(due.is_subset(&set), "{name} lost of {due:?}, got {set:?}");
        }
    }
}

/// Runs the steps on a disk that dies, and returns what may be relied on; `None` if it died before it was ready.
fn live_and_die(disk: &FakeDisk, steps: &[Step]) -> Option<Known> {
    let (mut journal, state) = open(disk, 64).ok()?;
    let mut known = Known::default();
    for step in steps {
        if disk.is_dead() {
            break;
        }
        known.run(&mut journal, &state, step);
    }
    Some(known)
}

fn fixed_steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for n in 0..6 {
        steps.extend([
            Step::Emit(vec![0, 0, n % 4]),
            Step::Scrape(0, true),
            Step::Write,
            Step::Emit(vec![1]),
            Step::Scrape(1, n % 2 == 0),
            Step::Scrape(0, n % 3 == 0),
            if n % 3 == 2 { Step::Forget } else { Step::Visit },
        ]);
    }
    steps
}

#[test]
fn a_crash_at_any_byte_loses_nothing_that_was_accepted() {
    let steps = fixed_steps();
    let mut ended = false;
    for life in 1..10_000 {
        let disk = FakeDisk::default().dies_after(life);
        let known = live_and_die(&disk, &steps).unwrap_or_default();
        known.check(&disk.after_kill(), &known.written);
        for luck in 0..4 {
            known.check(&disk.after_power_loss(life * 4 + luck), &known.synced);
        }
        ended = !disk.is_dead();
        if ended {
            assert!(life > 1_000, "the steps write too little to show anything");
            break;
        }
    }
    assert!(ended);
}

proptest! {
    #[test]
    fn crashes_of_all_kinds_lose_nothing(steps in proptest::collection::vec(step(), 1..60), life in 1u64..6_000, luck: u64) {
        let disk = FakeDisk::default().dies_after(life);
        let known = live_and_die(&disk, &steps).unwrap_or_default();
        known.check(&disk.after_kill(), &known.written);
        known.check(&disk.after_power_loss(luck), &known.synced);
    }

    #[test]
    fn a_disk_that_fails_now_and_then_loses_nothing(
        steps in proptest::collection::vec((step(), 0usize..400, any::<[bool; 4]>(), 0u8..4), 1..60), luck: u64,
    ) {
        let disk = FakeDisk::default();
        let (mut journal, state) = open(&disk, 64).unwrap();
        let mut known = Known::default();
        for (step, room, [sync, truncate, rename, sync_names], trouble) in steps {
            let used = disk.used();
            disk.set_capacity((trouble == 1).then_some(used + room));
            let faults = Faults { sync, truncate, rename, sync_names };
            disk.set_faults(if trouble == 2 { faults } else { Faults::default() });
            known.run(&mut journal, &state, &step);
            known.check(&disk.after_power_loss(luck), &known.synced);
        }
        disk.set_capacity(None);
        disk.set_faults(Faults::default());
        journal.probe(&state).unwrap();
        journal.commit(&state, &[submission(0, known.offered, None)]).unwrap();
        known.accepted.insert(known.offered);
        known.offered += 1;
        known.check(&disk.after_kill(), &known.recorded());
        known.check(&disk.after_power_loss(luck), &known.recorded());
    }
}

#[test]
fn a_full_disk_accepts_nothing_and_recovers() {
    let disk = FakeDisk::default();
    let (mut journal, state) = open(&disk, 1 << 20).unwrap();
    journal.commit(&state, &[submission(0, 0, None)]).unwrap();
    disk.set_capacity(Some(disk.used() + 10));
    assert!(journal.commit(&state, &[submission(1, 1, None)]).is_err());
    assert!(journal.probe(&state).is_err());
    assert_eq!(lock(&state).accepted_so_far(), 1);
    disk.set_capacity(None);
    journal.probe(&state).unwrap();
    journal.commit(&state, &[submission(2, 2, None)]).unwrap();
    assert_eq!(drain(&state, "a"), [0.0, 2.0]);
    let (_, again) = open(&disk.after_kill(), 0).unwrap();
    assert_eq!(drain(&again, "b"), [0.0, 2.0]);
}

#[test]
fn a_scraper_that_was_forgotten_while_the_disk_was_full_stays_forgotten() {
    // One, and more than are repeated each by itself; the last of them is the one that the journal has.
    for others in [0, MAX_REMOVALS] {
        let disk = FakeDisk::default();
        let (mut journal, state) = open(&disk, 1 << 20).unwrap();
        lock(&state).scrape(&who("z"), &home(), now());
        journal.commit(&state, &[submission(0, 0, None)]).unwrap();
        assert!(lock(&open(&disk.after_kill(), 0).unwrap().1).known().contains(&who("z")));
        for n in 0..others {
            let other = who(&format!("other {n}"));
            let mut events = lock(&state);
            let leased = events.scrape(&other, &home(), now());
            leased.lease.map(|lease| events.settle(lease, false));
            events.forget_elsewhere(&other);
        }
        lock(&state).forget_elsewhere(&who("z"));
        disk.set_capacity(Some(disk.used() + 10));
        assert!(journal.commit(&state, &[]).is_err());
        disk.set_capacity(None);
        journal.commit(&state, &[]).unwrap();
        journal.rewrite_if_large(&state).unwrap();
        let (_, again) = open(&disk.after_kill(), 0).unwrap();
        assert_eq!(lock(&again).known().len(), SCRAPERS.len(), "{others} others");
    }
}

#[test]
fn a_removal_that_was_cut_off_with_what_failed_later_is_written_again() {
    let disk = FakeDisk::default();
    let (mut journal, state) = open(&disk, 1 << 20).unwrap();
    lock(&state).scrape(&who("z"), &home(), now());
    journal.commit(&state, &[submission(0, 0, None)]).unwrap();
    lock(&state).forget_elsewhere(&who("z"));
    // Written, but not synced.
    journal.commit(&state, &[]).unwrap();
    disk.set_faults(Faults {
        sync: true,
        ..Faults::default()
    });
    assert!(journal.commit(&state, &[submission(0, 1, None)]).is_err());
    disk.set_faults(Faults::default());
    journal.commit(&state, &[submission(0, 2, None)]).unwrap();
    let (_, again) = open(&disk.after_kill(), 0).unwrap();
    assert!(!lock(&again).known().contains(&who("z")));
}

#[test]
fn keys_survive() {
    let disk = FakeDisk::default();
    let (mut journal, state) = open(&disk, 0).unwrap();
    let first = journal.commit(&state, &[submission(0, 7, Some("k"))]).unwrap().remove(0).unwrap();
    for slack in [1 << 20, 0] {
        let (mut journal, state) = open(&disk.after_kill(), slack).unwrap();
        let again = journal
            .commit(&state, &[submission(0, 7, Some("k")), submission(0, 8, Some("k"))])
            .unwrap();
        let repeated = again[0].unwrap();
        assert_eq!((repeated.id, repeated.repeated, again[1].is_err()), (first.id, true, true));
        journal.rewrite_if_large(&state).unwrap();
    }
}

#[test]
fn foreign_and_damaged_files_are_refused_and_left_alone() {
    let disk = FakeDisk::default();
    let (mut journal, state) = open(&disk, 1 << 20).unwrap();
    for value in 0..5 {
        journal.commit(&state, &[submission(0, value, None)]).unwrap();
    }
    let unsealed = read(&disk);
    journal.sync_and_seal(&state).unwrap();
    drop(journal);
    let whole = read(&disk);
    let refusal = |data: &[u8]| {
        let disk = FakeDisk::default();
        disk.put(NAME, data);
        let result = open(&disk, 0).map(|_| ());
        assert!(result.is_ok() || read(&disk) == data, "a refused file was changed");
        match result {
            Err(OpenError::Unreadable { why, .. }) => Some(why),
            Err(other) => panic!("{other}"),
            Ok(()) => None,
        }
    };
    assert_eq!(refusal(b""), Some(Unreadable::Foreign));
    assert_eq!(refusal(b"my diary"), Some(Unreadable::Foreign));
    assert!(matches!(refusal(&whole[..20]), Some(Unreadable::Damaged { at: 0, .. })));
    let mut newer = whole.clone();
    newer[12] = 3;
    let crc = crc32fast::hash(&newer[..24]).to_le_bytes();
    newer[24..28].copy_from_slice(&crc);
    assert_eq!(refusal(&newer), Some(Unreadable::Version(3)));
    // Every changed byte is found, except in the seal, of which nothing depends.
    for at in 0..unsealed.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert!(
            matches!(refusal(&damaged), Some(Unreadable::Damaged { .. } | Unreadable::Foreign)),
            "byte {at}"
        );
    }
    for at in unsealed.len()..whole.len() {
        assert_eq!(refusal(&whole[..at]), None, "cut at {at}");
    }
    // Without the seal the last record looks as if its writing had been cut short.
    let mut damaged = unsealed.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert_eq!(refusal(&damaged), None);
    let disk = FakeDisk::default();
    disk.put("events.tmp", b"my diary");
    assert!(matches!(
        open(&disk, 0),
        Err(OpenError::Unreadable {
            why: Unreadable::Foreign,
            ..
        })
    ));
}

#[test]
fn a_journal_of_version_1_goes_on_in_version_2() {
    let old: &[u8] = include_bytes!("../../../../tests/fixtures/store/v1/events.log");
    let disk = FakeDisk::default();
    disk.put(NAME, old);
    let start = Timestamp::from_millis(1_795_907_110_000);
    let open = |disk: &FakeDisk| Journal::open(Arc::new(disk.clone()), EventOptions::default(), start, 64).unwrap();
    let (mut journal, state) = open(&disk);
    assert_eq!(lock(&state).accepted_so_far(), 5);
    assert_eq!(drain(&state, "127.0.0.1 prom"), [5.0], "the first four were delivered");
    journal.commit(&state, &[submission(0, 6, None)]).unwrap();
    assert_eq!(&read(&disk)[12..16], 2u32.to_le_bytes());
    let (_, again) = open(&disk.after_kill());
    assert_eq!(drain(&again, "127.0.0.1 prom"), [6.0]);
    assert_eq!(lock(&again).accepted_so_far(), 6);
    // Damage is refused in version 1 too, and what was cut short is left out.
    let disk = FakeDisk::default();
    disk.put(NAME, &old[..old.len() - 1]);
    assert_eq!(lock(&open(&disk).1).accepted_so_far(), 4);
    let mut damaged = old.to_vec();
    damaged[100] ^= 1;
    disk.put(NAME, &damaged);
    let refused = Journal::open(Arc::new(disk.clone()), EventOptions::default(), start, 64);
    assert!(matches!(refused, Err(OpenError::Unreadable { .. })));
    assert_eq!(read(&disk), damaged);
}

fn read(disk: &FakeDisk) -> Vec<u8> {
    crate::store::durable::directory::Directory::read(disk, NAME).unwrap().unwrap()
}

#[test]
fn the_file_is_rewritten_when_it_has_grown() {
    let disk = FakeDisk::default();
    let (mut journal, state) = open(&disk, 2_000).unwrap();
    let mut longest = 0;
    for value in 0..2_000 {
        journal.commit(&state, &[submission(0, value, None)]).unwrap();
        for name in SCRAPERS {
            assert_eq!(drain(&state, name), [f64::from(value)]);
        }
        lock(&state).sweep(Timestamp::from_millis(1_000 + 100 * i64::from(value)));
        journal.rewrite_if_large(&state).unwrap();
        longest = longest.max(disk.used());
    }
    // Twice the size of the newest 600 events (the window of a new scraper), and the slack.
    assert!(longest < 160_000, "{longest}");
    journal.commit(&state, &[]).unwrap();
    let (_, again) = open(&disk.after_kill(), 0).unwrap();
    assert_eq!(lock(&again).accepted_so_far(), 2_000);
    assert!(drain(&again, "a").is_empty());
}
