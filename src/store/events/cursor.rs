//! The position of one scraper in the event log.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use super::StoredEvent;
use super::log::{Log, SeriesNumber};
use crate::model::{EventId, LabelSet};

/// The most series of which a scraper may have events waiting behind its position. It bounds what a cursor costs; a
/// scrape that would need more of them stops short, and the rest comes with the next one.
pub(super) const MAX_BACKLOGS: usize = 1_024;

/// The most bytes of events in one scrape; the rest comes with the next one. Tens of thousands of usual events fit, and a response that
/// grew without end while its scraper cannot take it would be the next reason that it cannot.
pub(super) const MAX_SCRAPE_BYTES: usize = 8 << 20;

/// The bytes of a sample besides its labels: the family's name, the value, a timestamp.
const SAMPLE_BYTES: usize = 64;

type Backlogs = HashMap<LabelSet, Backlog, foldhash::fast::RandomState>;

/// The events of one series that wait before the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Backlog {
    /// The first that waits; all later ones of the series before the position wait as well.
    head: u64,
    /// The number of waiting events.
    count: u64,
}

/// The remaining capacity of a scrape.
#[derive(Debug)]
pub(super) struct Room {
    events: usize,
    bytes: usize,
}

impl Room {
    pub(super) fn new(max_events: usize) -> Self {
        Self {
            events: max_events,
            bytes: MAX_SCRAPE_BYTES,
        }
    }

    pub(super) fn take(&mut self, record: &StoredEvent) {
        let bytes = SAMPLE_BYTES + record.event.labels.as_str().len();
        (self.events, self.bytes) = (self.events.saturating_sub(1), self.bytes.saturating_sub(bytes));
    }

    pub(super) fn is_left(&self) -> bool {
        self.events > 0 && self.bytes > 0
    }
}

/// A scraper's place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    /// This event and all after it are pending.
    next: u64,
    /// The pending events before `next`. Bounded by [`MAX_BACKLOGS`].
    backlogs: Backlogs,
    /// The sum of the backlogs' counts.
    waiting: u64,
}

impl Cursor {
    /// A cursor for which everything from this number on is pending.
    pub(super) fn at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// A cursor restored from [`Cursor::next`] and [`Cursor::heads`]; `None` if they do not fit the log.
    pub(super) fn restore(log: &Log, next: u64, heads: &[u64]) -> Option<Self> {
        if next > log.end() {
            return None;
        }
        let mut cursor = Self::at(next);
        for &head in heads {
            let labels = &log.get(head).filter(|_| head < next)?.event.labels;
            let count = log.of_series(labels, head..next).len() as u64;
            if cursor.backlogs.insert(labels.clone(), Backlog { head, count }).is_some() {
                return None;
            }
            cursor.waiting += count;
        }
        Some(cursor)
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The first waiting event of each series that has a backlog.
    pub(super) fn heads(&self) -> Vec<u64> {
        let mut heads: Vec<_> = self.backlogs.values().map(|backlog| backlog.head).collect();
        heads.sort_unstable();
        heads
    }

    /// No event before this one is pending.
    pub(super) fn lowest(&self) -> u64 {
        self.backlogs.values().map(|backlog| backlog.head).min().unwrap_or(self.next)
    }

    /// The number of pending events.
    pub(super) fn pending(&self, log: &Log) -> u64 {
        log.end().saturating_sub(self.next) + self.waiting
    }

    /// Skips the events that the log no longer has, and returns their number.
    pub(super) fn skip_lost(&mut self, log: &Log) -> u64 {
        let first = log.first();
        let mut lost = first.saturating_sub(self.next);
        self.next = self.next.max(first);
        if self.waiting > 0 && self.lowest() < first {
            let next = self.next;
            self.backlogs.retain(|labels, backlog| {
                let mut kept = log.of_series(labels, backlog.head..next);
                lost += backlog.count - kept.len() as u64;
                backlog.count = kept.len() as u64;
                backlog.head = kept.next().unwrap_or(backlog.head);
                backlog.count > 0
            });
            self.waiting = self.backlogs.values().map(|backlog| backlog.count).sum();
        }
        lost
    }

    /// True if this event is pending.
    pub(super) fn awaits(&self, record: &StoredEvent) -> bool {
        let waits = |backlog: &Backlog| backlog.head <= record.id.0;
        record.id.0 >= self.next || self.backlogs.get(&record.event.labels).is_some_and(waits)
    }

    /// The first pending event of each series, at most `most`, and the cursor after their delivery.
    pub(super) fn pick_one_of_each(&self, log: &Log, most: usize) -> (Vec<Arc<StoredEvent>>, Self) {
        let mut after = Self::at(self.next);
        let mut given: HashSet<SeriesNumber, foldhash::fast::RandomState> = HashSet::default();
        let mut picked = Vec::new();
        let mut room = Room::new(most);
        let mut backlogs: Vec<_> = self.backlogs.iter().collect();
        backlogs.sort_unstable_by_key(|(_, backlog)| backlog.head);
        for (labels, backlog) in backlogs {
            given.extend(log.series_number(labels));
            if !room.is_left() {
                after.wait(labels, backlog.head, backlog.count);
                continue;
            }
            let mut ids = log.of_series(labels, backlog.head..self.next);
            let first = ids.next().and_then(|id| log.get(id));
            if let Some(record) = first {
                room.take(record);
                picked.push(Arc::clone(record));
            }
            if let Some(head) = ids.next() {
                after.wait(labels, head, backlog.count - 1);
            }
        }
        for (record, series) in log.range_of_series(self.next..log.end()) {
            if !room.is_left() {
                break;
            }
            let labels = &record.event.labels;
            if given.insert(series) {
                room.take(record);
                picked.push(Arc::clone(record));
            } else if after.backlogs.len() < MAX_BACKLOGS || after.backlogs.contains_key(labels) {
                after.wait(labels, record.id.0, 1);
            } else {
                break;
            }
            after.next = record.id.0 + 1;
        }
        picked.sort_unstable_by_key(|record| record.id);
        (picked, after)
    }

    /// All pending events, at most `most` and as far as they fit into a scrape, and the cursor after their delivery.
    pub(super) fn pick_all(&self, log: &Log, most: usize) -> (Vec<Arc<StoredEvent>>, Self) {
        let mut after = Self::at(self.next);
        let mut room = Room::new(most);
        let mut picked = Vec::new();
        let waiting = self
            .backlogs
            .iter()
            .flat_map(|(labels, backlog)| log.of_series(labels, backlog.head..self.next));
        let mut waiting: Vec<_> = waiting.filter_map(|id| log.get(id)).collect();
        waiting.sort_unstable_by_key(|record| record.id);
        for record in waiting {
            if room.is_left() {
                room.take(record);
                picked.push(Arc::clone(record));
            } else {
                after.wait(&record.event.labels, record.id.0, 1);
            }
        }
        for record in log.range(self.next..log.end()) {
            if !room.is_left() {
                break;
            }
            room.take(record);
            picked.push(Arc::clone(record));
            after.next = record.id.0 + 1;
        }
        (picked, after)
    }

    /// The first pending events, at most `most`.
    pub(super) fn first_pending(&self, log: &Log, most: usize) -> Vec<EventId> {
        let waiting = self.backlogs.iter();
        let mut series: Vec<_> = waiting
            .map(|(labels, backlog)| log.of_series(labels, backlog.head..self.next))
            .collect();
        // The first that is left of each series: the others need not be looked at to know the first of all.
        let firsts = series.iter_mut().enumerate();
        let mut firsts: BinaryHeap<_> = firsts.filter_map(|(at, ids)| Some(Reverse((ids.next()?, at)))).collect();
        let mut ids = Vec::new();
        while ids.len() < most
            && let Some(Reverse((id, at))) = firsts.pop()
        {
            ids.push(id);
            firsts.extend(series[at].next().map(|id| Reverse((id, at))));
        }
        let room = (most - ids.len()) as u64;
        ids.extend(self.next..log.end().min(self.next + room));
        ids.into_iter().map(EventId).collect()
    }

    /// Adds `count` waiting events of a series, of which `first` is the first.
    fn wait(&mut self, labels: &LabelSet, first: u64, count: u64) {
        let fresh = Backlog { head: first, count: 0 };
        self.backlogs.entry(labels.clone()).or_insert(fresh).count += count;
        self.waiting += count;
    }
}
