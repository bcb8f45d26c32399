//! The cache of idempotency keys, so that a producer's retry counts once.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::monotonic::MonotonicTime;
use crate::model::{Event, EventId, IdempotencyKey, Timestamp};

/// The time for which a key is remembered.
pub(super) const REMEMBERED: Duration = Duration::from_secs(600);

/// The most keys remembered: 166 keyed events a second for [`REMEMBERED`], in some 12 MB if they are UUIDs. Beyond it the oldest is
/// evicted.
const MAX_KEYS: usize = 100_000;

/// The use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct UsedKey {
    /// The event that it made.
    pub(in crate::store) id: EventId,
    /// The content of that event, as [`fingerprint`] has it.
    pub(in crate::store) fingerprint: u64,
    /// The time of use.
    pub(in crate::store) at: Timestamp,
}

/// The keys used lately.
#[derive(Debug, Default)]
pub(super) struct IdempotencyCache {
    /// Bounded by [`MAX_KEYS`].
    used: HashMap<IdempotencyKey, (UsedKey, MonotonicTime), foldhash::fast::RandomState>,
    /// The same keys, the oldest first. Where one was used again, only the place with its latest moment counts.
    order: VecDeque<(IdempotencyKey, MonotonicTime)>,
}

impl IdempotencyCache {
    pub(super) fn get(&self, key: &IdempotencyKey) -> Option<&UsedKey> {
        self.used.get(key).map(|(used, _)| used)
    }

    /// The use of a key that is still remembered at this time. In a replay, in which no key expires, that differs from [`Self::get`].
    pub(super) fn get_at(&self, key: &IdempotencyKey, now: MonotonicTime) -> Option<&UsedKey> {
        let (used, since) = self.used.get(key)?;
        (now.since(*since) < REMEMBERED).then_some(used)
    }

    /// The keys in the order in which they were used.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&IdempotencyKey, &UsedKey)> {
        self.order.iter().filter_map(|(key, since)| {
            let (key, (used, latest)) = self.used.get_key_value(key)?;
            (latest == since).then_some((key, used))
        })
    }

    /// Remembers a key, or what it was used for last.
    pub(super) fn insert(&mut self, key: IdempotencyKey, used: UsedKey, now: MonotonicTime) {
        self.used.insert(key.clone(), (used, now));
        self.order.push_back((key, now));
        if self.order.len() > MAX_KEYS {
            self.forget_oldest();
        }
    }

    /// Forgets the keys that are too old.
    pub(super) fn expire(&mut self, now: MonotonicTime) {
        while self.order.front().is_some_and(|(_, since)| now.since(*since) >= REMEMBERED) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((key, since)) = self.order.pop_front()
            && self.used.get(&key).is_some_and(|(_, latest)| *latest == since)
        {
            self.used.remove(&key);
        }
    }
}

/// A number that differs for different contents, the same in every build and on every machine, because it is kept in files (FNV-1a, 64 bits).
pub(super) fn fingerprint(event: &Event) -> u64 {
    let bytes = event.labels.as_str().bytes().chain(event.value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
