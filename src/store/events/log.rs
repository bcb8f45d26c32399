//! The events themselves, oldest first, and which of them belong to one series.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::monotonic::MonotonicTime;
use super::sources::{Source, Sources};
use super::{OriginId, Owner};
use crate::model::{Event, EventId, IdempotencyKey, LabelSet, Timestamp};

/// An event that was accepted. Immutable, and shared by all who show it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its number.
    pub id: EventId,
    /// The event as submitted.
    pub event: Event,
    /// The time of acceptance.
    pub at: Timestamp,
    /// The time its sample bears where timestamps are explicit: [`StoredEvent::at`], or a millisecond after the event of the
    /// same series before it, if that is later (unless the clock was set back meanwhile).
    pub stamp: Timestamp,
}

/// Stands for the labels of a series while the log has events of it: a number is compared faster than labels of kilobytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SeriesNumber(u64);

#[derive(Debug)]
struct Series {
    number: SeriesNumber,
    /// The numbers of its events.
    ids: VecDeque<u64>,
}

#[derive(Debug)]
struct Slot {
    record: Arc<StoredEvent>,
    series: SeriesNumber,
    taken: MonotonicTime,
    owner: Owner,
}

/// A run of events with consecutive numbers.
#[derive(Debug)]
pub(super) struct Log {
    /// The number of the front, or of the next event where there is none.
    first: u64,
    /// Bounded by `EventOptions::max_pending`.
    slots: VecDeque<Slot>,
    /// The numbers of each series' events. As many as `slots` in all.
    series: HashMap<LabelSet, Series, foldhash::fast::RandomState>,
    next_series: u64,
    /// The number of events of each owner. As many as `slots` in all.
    held: HashMap<Owner, usize, foldhash::fast::RandomState>,
    /// No event that was freed has a later stamp.
    pub(super) freed_stamp: Timestamp,
    /// The names of the events within a cluster, which are the same at all of its replicas; `None` without a cluster.
    pub(super) sources: Option<Sources>,
}

impl Log {
    /// An empty log with this number for its first event.
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            slots: VecDeque::new(),
            series: HashMap::default(),
            next_series: 0,
            held: HashMap::default(),
            freed_stamp: Timestamp::from_millis(i64::MIN),
            sources: None,
        }
    }

    /// An empty log of a replica of a cluster, with its own origin.
    pub(super) fn of_replica(first: u64, own: OriginId) -> Self {
        Self {
            sources: Some(Sources::new(own)),
            ..Self::new(first)
        }
    }

    /// The name of an event within the cluster; `None` for one that is not kept, and without a cluster.
    pub(super) fn source(&self, id: u64) -> Option<Source> {
        let at = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.sources.as_ref()?.get(at)
    }

    /// True if this event of another replica, or a later one of it, was read before.
    pub(super) fn has_read(&self, source: Source) -> bool {
        self.sources.as_ref().is_some_and(|sources| sources.has_read(source))
    }

    /// Remembers the key of an event until this replica of a cluster forgets the event.
    pub(super) fn keep_key(&mut self, id: u64, key: &IdempotencyKey) {
        if let Some(sources) = self.sources.as_mut().filter(|_| id >= self.first) {
            sources.keep_key(id, key);
        }
    }

    /// The number of the oldest event.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next event gets.
    pub(super) fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Arc<StoredEvent>> {
        let at = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.slots.get(at).map(|slot| &slot.record)
    }

    /// The events with these numbers, as far as they are kept.
    pub(super) fn range(&self, ids: Range<u64>) -> impl DoubleEndedIterator<Item = &Arc<StoredEvent>> {
        self.slots(ids).map(|slot| &slot.record)
    }

    /// The same with the series that they are of.
    pub(super) fn range_of_series(&self, ids: Range<u64>) -> impl Iterator<Item = (&Arc<StoredEvent>, SeriesNumber)> {
        self.slots(ids).map(|slot| (&slot.record, slot.series))
    }

    fn slots(&self, ids: Range<u64>) -> impl DoubleEndedIterator<Item = &Slot> {
        let place = |id: u64| usize::try_from(id.saturating_sub(self.first)).map_or(self.slots.len(), |at| at.min(self.slots.len()));
        let (start, end) = (place(ids.start), place(ids.end));
        self.slots.range(start.min(end)..end)
    }

    /// The number of these events that this process counts if they are lost: at a replica of a cluster those that are kept, to be delivered, and
    /// that it has accepted.
    pub(super) fn countable(&self, ids: Range<u64>) -> u64 {
        let Some(sources) = &self.sources else {
            return ids.end.saturating_sub(ids.start);
        };
        let kept = ids.start.max(self.first)..ids.end;
        let is_own = |id: &u64| self.source(*id).is_some_and(|source| source.origin == sources.own());
        kept.filter(|id| is_own(id) && !sources.is_void(*id)).count() as u64
    }

    /// The number of the first event young enough: of two moments the later one never is too old where the earlier is not.
    pub(super) fn first_where(&self, young: impl Fn(MonotonicTime) -> bool) -> u64 {
        self.first + self.slots.partition_point(|slot| !young(slot.taken)) as u64
    }

    /// The time at which the newest event was accepted.
    pub(super) fn newest(&self) -> Option<MonotonicTime> {
        self.slots.back().map(|slot| slot.taken)
    }

    /// The owner of an event, and when it was taken in.
    pub(super) fn owned(&self, id: u64) -> Option<(&Owner, MonotonicTime)> {
        let at = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.slots.get(at).map(|slot| (&slot.owner, slot.taken))
    }

    /// The number of events of an owner.
    pub(super) fn held_by(&self, owner: &Owner) -> usize {
        self.held.get(owner).copied().unwrap_or_default()
    }

    /// The stamp of the newest event of a series.
    pub(super) fn last_stamp(&self, labels: &LabelSet) -> Timestamp {
        let last = self.series.get(labels).and_then(|series| series.ids.back());
        last.and_then(|&id| self.get(id)).map_or(self.freed_stamp, |record| record.stamp)
    }

    /// Appends an event with the number [`Log::end`], of another replica if it has a source.
    pub(super) fn push(&mut self, record: Arc<StoredEvent>, taken: MonotonicTime, owner: Owner, source: Option<Source>) {
        debug_assert_eq!(record.id.0, self.end(), "events are numbered without gaps");
        if let Some(sources) = &mut self.sources {
            sources.push(record.id.0, source);
        }
        let fresh = || Series {
            number: SeriesNumber(self.next_series),
            ids: VecDeque::new(),
        };
        let series = self.series.entry(record.event.labels.clone()).or_insert_with(fresh);
        self.next_series += 1;
        series.ids.push_back(record.id.0);
        let series = series.number;
        *self.held.entry(owner.clone()).or_default() += 1;
        self.slots.push_back(Slot {
            record,
            series,
            taken,
            owner,
        });
    }

    /// Forgets the oldest events, up to but without this number.
    pub(super) fn free(&mut self, until: u64) {
        while self.first < until
            && let Some(Slot { record, owner, .. }) = self.slots.pop_front()
        {
            self.first += 1;
            if let Some(sources) = &mut self.sources {
                sources.pop(record.id.0);
            }
            if let Some(held) = self.held.get_mut(&owner) {
                *held -= 1;
                if *held == 0 {
                    self.held.remove(&owner);
                }
            }
            self.freed_stamp = self.freed_stamp.max(record.stamp);
            let labels = &record.event.labels;
            if let Some(series) = self.series.get_mut(labels) {
                series.ids.pop_front();
                if series.ids.is_empty() {
                    self.series.remove(labels);
                }
            }
        }
    }

    /// The number of a series that the log has events of.
    pub(super) fn series_number(&self, labels: &LabelSet) -> Option<SeriesNumber> {
        self.series.get(labels).map(|series| series.number)
    }

    /// The numbers of a series' events within a range, in order.
    pub(super) fn of_series(&self, labels: &LabelSet, ids: Range<u64>) -> impl ExactSizeIterator<Item = u64> {
        static NONE: VecDeque<u64> = VecDeque::new();
        let all = self.series.get(labels).map_or(&NONE, |series| &series.ids);
        let start = all.partition_point(|&id| id < ids.start);
        let end = all.partition_point(|&id| id < ids.end).max(start);
        all.range(start..end).copied()
    }
}
