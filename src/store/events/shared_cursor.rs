//! The events that one scraper has received from the replicas of a cluster together.
//!
//! It is a set of events, by their names within the cluster, which are the same at all replicas and after a loss of the engine. It only grows.
//! Two such sets are joined to their union, so that the order in which replicas learn of deliveries does not matter, and the one that knows
//! more always prevails.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use super::cursor::{Cursor, Room};
use super::log::{Log, SeriesNumber};
use super::sources::{MAX_ORIGINS, Source, Sources};
use super::{OriginId, StoredEvent};
use crate::model::{EventId, Timestamp};

/// The most events that may wait because an earlier one of their series goes with the same scrape. It bounds what the engine holds for one
/// scraper; a scrape that would need more stops short, and the rest comes with the next ones.
pub(super) const MAX_WAITING: usize = 4_096;

/// The events of one origin that a scraper has received: all up to a number but those that wait.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    pub(super) through: u64,
    /// All are at most `through`. Bounded by [`MAX_WAITING`], over all origins.
    pub(super) waiting: BTreeSet<u64>,
}

impl Progress {
    fn has(&self, number: u64) -> bool {
        number <= self.through && !self.waiting.contains(&number)
    }

    fn join(&mut self, other: &Self) {
        let waits = |number: &u64| !self.has(*number) && !other.has(*number);
        let waiting = self.waiting.iter().chain(&other.waiting).copied().filter(waits).collect();
        self.through = self.through.max(other.through);
        self.waiting = waiting;
    }
}

/// The events that a scraper has received, and when it came last.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedCursor {
    /// Bounded by [`MAX_ORIGINS`] and the origins of the log.
    pub(super) progress: BTreeMap<OriginId, Progress>,
    /// The time of a scrape of it at any replica, by that replica's clock; not much before its last one. It grows with each report.
    pub(super) seen: Timestamp,
    /// True from the registration of the scraper until the engine is known to have no earlier state of it.
    pub(super) fresh: bool,
    /// No event of this replica's log before this one is pending. It saves looking at them.
    pub(super) low: u64,
}

impl SharedCursor {
    /// A cursor for which the events of the log from this one on are pending, and no other that this replica has ever read.
    pub(super) fn at(log: &Log, next: u64, seen: Timestamp) -> Self {
        let mut cursor = Self {
            seen,
            fresh: true,
            low: next,
            ..Self::default()
        };
        let Some(sources) = &log.sources else { return cursor };
        let tails = sources.tails(log.end());
        cursor.progress = tails
            .map(|(origin, through)| {
                (
                    origin,
                    Progress {
                        through,
                        ..Progress::default()
                    },
                )
            })
            .collect();
        for source in (next..log.end()).rev().filter_map(|id| log.source(id)) {
            // The first one is the last of each origin that comes here.
            cursor.progress.entry(source.origin).or_default().through = source.number.saturating_sub(1);
        }
        cursor
    }

    /// The cursor of a scraper from the time before this process was a replica.
    pub(super) fn of_local(log: &Log, local: &Cursor, seen: Timestamp) -> Self {
        let mut cursor = Self {
            fresh: false,
            ..Self::at(log, local.next(), seen)
        };
        let waiting = log.range(log.first()..local.next()).filter(|record| local.awaits(record));
        waiting
            .filter_map(|record| log.source(record.id.0))
            .for_each(|source| cursor.wait(source));
        cursor.low = local.lowest();
        cursor
    }

    /// True if the scraper has received this event.
    pub(super) fn has(&self, source: Source) -> bool {
        self.progress
            .get(&source.origin)
            .is_some_and(|progress| progress.has(source.number))
    }

    /// Notes that an event was received, and that all earlier ones of its origin which were not looked at do not exist any more.
    pub(super) fn pass(&mut self, source: Source) {
        let progress = self.progress.entry(source.origin).or_default();
        progress.waiting.remove(&source.number);
        progress.through = progress.through.max(source.number);
    }

    fn wait(&mut self, source: Source) {
        let progress = self.progress.entry(source.origin).or_default();
        progress.through = progress.through.max(source.number);
        progress.waiting.insert(source.number);
    }

    /// The last event of an origin that the scraper has received, or has passed.
    pub(super) fn through(&self, origin: OriginId) -> u64 {
        self.progress.get(&origin).map_or(0, |progress| progress.through)
    }

    fn waiting(&self) -> usize {
        self.progress.values().map(|progress| progress.waiting.len()).sum()
    }

    /// Adds what another replica knows of the same scraper. Returns true if this cursor knew more than that one.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        for (origin, theirs) in &other.progress {
            match self.progress.get_mut(origin) {
                Some(ours) => ours.join(theirs),
                None => drop(self.progress.insert(*origin, theirs.clone())),
            }
        }
        self.seen = self.seen.max(other.seen);
        self.progress != other.progress || self.seen != other.seen
    }

    /// Forgets origins of which the log has no event, if there are too many. One that comes back knows for itself what was delivered of it.
    pub(super) fn prune(&mut self, log: &Log) {
        if self.progress.len() > MAX_ORIGINS
            && let Some(sources) = &log.sources
        {
            let held = sources.held();
            self.progress.retain(|origin, _| held.contains(origin));
        }
    }

    /// Moves on over what was received, after a change of the cursor or the log.
    pub(super) fn settle(&mut self, log: &Log) {
        self.low = self.low.max(log.first());
        let Some(sources) = &log.sources else { return };
        while log
            .source(self.low)
            .is_some_and(|source| self.has(source) || sources.is_void(self.low))
        {
            self.low += 1;
        }
    }

    /// No event before this one is pending.
    pub(super) fn lowest(&self) -> u64 {
        self.low
    }

    fn pending_ids<'a>(&'a self, log: &'a Log) -> impl Iterator<Item = (u64, Source)> + 'a {
        let sources = log.sources.as_ref();
        let kept = (self.low.max(log.first())..log.end()).filter_map(|id| Some((id, log.source(id)?)));
        kept.filter(move |(id, source)| !self.has(*source) && sources.is_some_and(|sources| !sources.is_void(*id)))
    }

    /// The number of pending events, those included that the engine does not have yet. A page or a scrape asks for that of each scraper, so
    /// the log is not walked for it.
    pub(super) fn pending(&self, log: &Log) -> u64 {
        let Some(sources) = &log.sources else { return 0 };
        let of_origin = |(origin, numbers): (&OriginId, &VecDeque<u64>)| match self.progress.get(origin) {
            None => numbers.len(),
            Some(progress) => {
                let is_held = |number: &&u64| numbers.binary_search(number).is_ok();
                let received = numbers.partition_point(|number| *number <= progress.through);
                numbers.len() - received + progress.waiting.iter().filter(is_held).count()
            }
        };
        let named: usize = sources.numbers().iter().map(of_origin).sum();
        let is_left = |id: &u64| log.source(*id).is_some_and(|source| !self.has(source));
        (named - sources.voids().filter(is_left).count()) as u64
    }

    /// The number of pending events that this replica has accepted.
    pub(super) fn pending_own(&self, log: &Log) -> u64 {
        let own = log.sources.as_ref().map(Sources::own);
        self.pending_ids(log).filter(|(_, source)| Some(source.origin) == own).count() as u64
    }

    /// True if a scrape would get an event.
    pub(super) fn is_due(&self, log: &Log) -> bool {
        let Some(sources) = &log.sources else { return false };
        self.pending_ids(log).any(|(_, source)| sources.is_readable(source))
    }

    /// The first pending events, at most `most`.
    pub(super) fn first_pending(&self, log: &Log, most: usize) -> Vec<EventId> {
        self.pending_ids(log).take(most).map(|(id, _)| EventId(id)).collect()
    }

    /// Gives up the events before this one, and returns the number of those that were pending, and of those among them that this replica has
    /// accepted.
    pub(super) fn skip_until(&mut self, log: &Log, until: u64) -> (u64, u64) {
        let own = log.sources.as_ref().map(Sources::own);
        let lost: Vec<_> = self
            .pending_ids(log)
            .take_while(|(id, _)| *id < until)
            .map(|(_, source)| source)
            .collect();
        lost.iter().for_each(|source| self.pass(*source));
        self.low = self.low.max(until);
        let accepted = lost.iter().filter(|source| Some(source.origin) == own).count();
        (lost.len() as u64, accepted as u64)
    }

    /// The first pending event of each series, at most `most`, and the cursor after their delivery.
    pub(super) fn pick(&self, log: &Log, most: usize) -> (Vec<Arc<StoredEvent>>, Self) {
        let mut after = self.clone();
        let Some(sources) = &log.sources else { return (Vec::new(), after) };
        let (mut picked, mut given) = (Vec::new(), HashSet::<SeriesNumber, foldhash::fast::RandomState>::default());
        let (mut room, mut waiting) = (Room::new(most), self.waiting());
        for (record, series) in log.range_of_series(self.low..log.end()) {
            let Some(source) = log.source(record.id.0).filter(|source| !after.has(*source)) else {
                continue;
            };
            if !sources.is_readable(source) {
                // So are all later ones of this replica, also void ones: to pass one would pass those before it.
            } else if sources.is_void(record.id.0) {
                after.pass(source);
            } else if !room.is_left() {
                break;
            } else if given.insert(series) {
                room.take(record);
                picked.push(Arc::clone(record));
                waiting -= usize::from(self.waits(source));
                after.pass(source);
            } else if waiting < MAX_WAITING || self.waits(source) {
                waiting += usize::from(!self.waits(source));
                after.wait(source);
            } else {
                break;
            }
        }
        (picked, after)
    }

    fn waits(&self, source: Source) -> bool {
        self.progress
            .get(&source.origin)
            .is_some_and(|progress| progress.waiting.contains(&source.number))
    }
}
