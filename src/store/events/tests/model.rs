//! The state machine against a model that does everything the slow and obvious way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const TIMEOUT: i64 = 40_000;
const WINDOW: i64 = 7_000;

/// One scraper: all it still has to get, and what of that is on its way.
#[derive(Debug, Default, Clone)]
struct Reader {
    pending: BTreeSet<u64>,
    leased: Option<(LeaseId, Vec<u64>)>,
    seen: i64,
    lost: u64,
    /// True if it has come more than once. Until then its losses are not counted.
    regular: bool,
}

#[derive(Debug, Default)]
struct Model {
    max_pending: u64,
    most: usize,
    explicit: bool,
    /// Series, time that passed until then, and wall clock of each event, by number less one.
    events: Vec<(u8, i64, i64)>,
    readers: BTreeMap<u8, Reader>,
    now: i64,
    wall: i64,
}

impl Model {
    /// The number of the first event that a log of this size still has.
    fn first(&self) -> u64 {
        (self.events.len() as u64 + 1).saturating_sub(self.max_pending)
    }

    fn young(&self) -> impl Iterator<Item = u64> {
        let ages = (1..).zip(&self.events).map(|(id, (_, at, _))| (id, self.now - at));
        ages.filter(|(_, age)| *age < WINDOW).map(|(id, _)| id)
    }

    fn overflow(&mut self) {
        let first = self.first();
        for reader in self.readers.values_mut().filter(|reader| reader.leased.is_none()) {
            let kept = reader.pending.split_off(&first);
            reader.lost += std::mem::replace(&mut reader.pending, kept).len() as u64;
        }
    }

    fn push(&mut self, series: u8) {
        self.events.push((series, self.now, self.wall));
        let id = self.events.len() as u64;
        self.readers.values_mut().for_each(|reader| _ = reader.pending.insert(id));
        self.overflow();
    }

    /// A scrape, of a log that has everything from `first` on.
    fn scrape(&mut self, name: u8, first: u64) -> Vec<u64> {
        if !self.readers.contains_key(&name) {
            let (pending, seen) = (self.young().filter(|id| *id >= first).collect(), self.now);
            self.readers.insert(
                name,
                Reader {
                    pending,
                    seen,
                    ..Reader::default()
                },
            );
        } else {
            self.readers.get_mut(&name).unwrap().regular = true;
        }
        let reader = self.readers.get_mut(&name).unwrap();
        reader.seen = self.now;
        if reader.leased.is_some() {
            return Vec::new();
        }
        let mut series = BTreeSet::new();
        let wanted = |id: &&u64| series.insert(self.events[usize::try_from(**id).unwrap() - 1].0) || self.explicit;
        reader.pending.iter().filter(wanted).take(self.most).copied().collect()
    }

    fn settle(&mut self, name: u8, delivered: bool) -> Option<LeaseId> {
        let reader = self.readers.get_mut(&name)?;
        let (lease, ids) = reader.leased.take()?;
        reader.seen = self.now;
        if delivered {
            reader.pending.retain(|id| !ids.contains(id));
        }
        self.overflow();
        Some(lease)
    }

    /// After a restart no events are leased, the timeouts of scrapers begin again, and ages follow the wall clock.
    fn restart(&mut self, first: u64) {
        self.now = self.wall;
        let mut newest = i64::MIN;
        let kept = usize::try_from(first - 1).unwrap();
        for (_, at, wall) in self.events.iter_mut().skip(kept) {
            newest = newest.max(self.wall.min(*wall));
            *at = newest;
        }
        self.readers
            .values_mut()
            .for_each(|reader| (reader.leased, reader.seen) = (None, self.now));
        self.overflow();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8, u8),
    Scrape(u8),
    Settle(u8, bool),
    Pass(i64),
    SetClock(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..6, prop_oneof![5 => 1u8..3, 1 => 10u8..60]).prop_map(|(series, times)| Step::Push(series, times)),
        5 => (0u8..4).prop_map(Step::Scrape),
        5 => (0u8..4, any::<bool>()).prop_map(|(name, delivered)| Step::Settle(name, delivered)),
        3 => (0i64..9_999).prop_map(Step::Pass),
        1 => prop_oneof![-9_000_000i64..-20_000, 20_000i64..9_000_000].prop_map(Step::SetClock),
        1 => Just(Step::Restart),
    ]
}

fn options(max_pending: usize, max_per_scrape: usize, explicit_timestamps: bool) -> EventOptions {
    EventOptions {
        max_pending,
        max_per_scrape,
        max_scrapers_per_address: 64,
        explicit_timestamps,
        scraper_timeout: Duration::from_millis(40_000),
        newcomer_window: Duration::from_millis(7_000),
        scrapers: vec![who("0")],
        replica: None,
    }
}

/// All entries that the journal would have so far.
fn restart(journal: &[JournalEntry], options: EventOptions, wall: i64) -> Events {
    let mut events = Events::restoring(options, ms(wall));
    for entry in journal {
        events.apply(entry.clone()).unwrap();
    }
    events.restored();
    events
}

proptest! {
    #[test]
    fn the_state_machine_does_what_the_model_does(
        steps in proptest::collection::vec(step(), 1..250), max_pending in prop_oneof![1usize..30, 150usize..400], explicit: bool, compact in 1usize..20,
        most in prop_oneof![1usize..5, 500usize..501],
    ) {
        let mut events = restart(&[], options(max_pending, most, explicit), 0);
        let mut journal = events.entries();
        let mut model = Model { max_pending: max_pending as u64, most, explicit, ..Model::default() };
        model.readers.insert(0, Reader { regular: true, ..Reader::default() });
        let mut told = BTreeMap::<(DropReason, Option<_>), u64>::new();
        let mut expected_lost = BTreeMap::<u8, u64>::new();
        let mut clock_was_set = false;
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(series, times) => for _ in 0..times {
                    let id = push(&mut events, &series.to_string(), model.wall);
                    model.push(series);
                    prop_assert_eq!(id, model.events.len() as u64);
                    let record = std::sync::Arc::clone(events.log.get(id).unwrap());
                    journal.push(JournalEntry::Event { record, key: None });
                }
                Step::Scrape(name) => {
                    let first = events.log.first();
                    let leased = events.scrape(&who(&name.to_string()), &home(), ms(model.wall));
                    let expected = model.scrape(name, first);
                    prop_assert_eq!(&ids(&leased), &expected);
                    if let Some(lease) = leased.lease {
                        model.readers.get_mut(&name).unwrap().leased = Some((lease, expected));
                    }
                }
                Step::Settle(name, delivered) => {
                    if let Some(lease) = model.settle(name, delivered) {
                        prop_assert_eq!(events.active_lease(&who(&name.to_string())), Some(lease));
                        prop_assert!(events.settle(lease, delivered));
                    }
                }
                Step::Pass(millis) => { model.wall += millis; model.now += millis; }
                // A step of the wall clock counts as 10 s at most when it goes forward, as nothing when it goes back.
                Step::SetClock(by) => { model.wall += by; model.now += by.clamp(0, 10_000); clock_was_set = true; }
                Step::Restart => {
                    journal.extend(events.take_changes());
                    let lost: Vec<_> = events.scrapers.iter().map(|(who, scraper)| (who.clone(), scraper.lost)).collect();
                    if n % compact == 0 { journal = events.entries(); }
                    let losses = events.changes.take_losses();
                    events = restart(&journal, options(max_pending, most, explicit), model.wall);
                    for loss in losses { *told.entry((loss.reason, loss.scraper)).or_default() += loss.events; }
                    for (name, lost) in lost { events.scrapers.get_mut(&name).unwrap().lost += lost; }
                    let Some(JournalEntry::Start { first, .. }) = journal.first() else { panic!() };
                    model.restart(*first);
                }
            }
            let wall = model.wall;
            for loss in events.sweep(ms(wall)) { *told.entry((loss.reason, loss.scraper)).or_default() += loss.events; }
            let now = model.now;
            let gone: Vec<_> = model.readers.iter().filter(|(name, r)| **name != 0 && r.leased.is_none() && now - r.seen >= TIMEOUT).map(|(n, _)| *n).collect();
            for name in gone {
                let reader = model.readers.remove(&name).unwrap();
                if reader.regular { *expected_lost.entry(name).or_default() += reader.lost + reader.pending.len() as u64; }
            }
            let regular = model.readers.iter().filter(|(_, reader)| reader.regular);
            let pending: Vec<_> = regular.map(|(name, r)| (who(&name.to_string()), r.pending.len() as u64)).collect();
            let unlent = events.pending();
            for ((name, expected), actual) in pending.iter().zip(&unlent) {
                prop_assert_eq!(name, &actual.scraper);
                if events.active_lease(name).is_none() { prop_assert_eq!(*expected, actual.events); }
            }
            prop_assert_eq!(pending.len(), unlent.len());
            prop_assert!(events.log.len() <= max_pending);
            let oldest = model.young().next().unwrap_or(u64::MAX).max(model.first());
            prop_assert!(clock_was_set || events.log.first() <= oldest, "freed too soon");
        }
        for (name, reader) in model.readers.iter().filter(|(_, reader)| reader.regular) { *expected_lost.entry(*name).or_default() += reader.lost; }
        prop_assert!(told.keys().all(|(_, scraper)| (0..4).any(|name| *scraper == Some(who(&name.to_string())) && expected_lost.contains_key(&name)) || scraper.is_none()));
        for (name, lost) in expected_lost {
            let told: u64 = told.iter().filter(|((_, scraper), _)| *scraper == Some(who(&name.to_string()))).map(|(_, n)| n).sum();
            prop_assert_eq!(told, lost, "scraper {}", name);
        }
    }
}
