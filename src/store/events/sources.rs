//! The names of events within a cluster: each replica numbers the events that it has accepted, and a name is the same at all replicas.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::model::IdempotencyKey;

/// The origins of which a replica remembers something without having events of them. Each directory of a replica is one; a cluster has a few,
/// and one more for each machine that is replaced.
pub(super) const MAX_ORIGINS: usize = 64;

/// The id of a directory of events: the replica that accepts events into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginId(u128);

impl OriginId {
    /// A random id; `None` if the system has no random numbers.
    #[must_use]
    pub fn random() -> Option<Self> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self::from_bytes(bytes))
    }

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// Reads the form of [`fmt::Display`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for OriginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The name of an event within a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) struct Source {
    /// The replica that accepted it.
    pub(in crate::store) origin: OriginId,
    /// Its number there. Later events have larger numbers, which need not follow each other.
    pub(in crate::store) number: u64,
}

/// The names of the events of a log, in its order.
///
/// The events of one origin come in the order of their numbers in every replica's log: its origin appends them to the engine in that order, the
/// others read them in that order, and none is taken twice.
#[derive(Debug)]
pub(super) struct Sources {
    /// The origin of events that this replica accepts.
    own: OriginId,
    /// As many as the log has events.
    names: VecDeque<Source>,
    /// The numbers of `names` by origin, which makes counting a search.
    numbers: BTreeMap<OriginId, VecDeque<u64>>,
    /// The last number of each other origin. Bounded by [`MAX_ORIGINS`] and the origins of `names`.
    tails: BTreeMap<OriginId, u64>,
    /// The last own number that the engine has given back: later ones are not delivered yet.
    readable: u64,
    /// Own events that are never delivered, because another replica had an event with the same idempotency key first. Some of `names`.
    void: BTreeSet<u64>,
    /// The keys of some of the events.
    keys: BTreeMap<u64, IdempotencyKey>,
}

impl Sources {
    pub(super) fn new(own: OriginId) -> Self {
        Self {
            own,
            names: VecDeque::new(),
            numbers: BTreeMap::new(),
            tails: BTreeMap::new(),
            readable: 0,
            void: BTreeSet::new(),
            keys: BTreeMap::new(),
        }
    }

    pub(super) fn own(&self) -> OriginId {
        self.own
    }

    /// Accepts events under another name from now on.
    pub(super) fn set_own(&mut self, own: OriginId) {
        self.own = own;
    }

    pub(super) fn get(&self, at: usize) -> Option<Source> {
        self.names.get(at).copied()
    }

    /// Notes the name of the event with this number: that of another replica, or the next one of this replica.
    pub(super) fn push(&mut self, id: u64, source: Option<Source>) {
        let source = source.unwrap_or(Source {
            origin: self.own,
            number: id,
        });
        self.names.push_back(source);
        self.numbers.entry(source.origin).or_default().push_back(source.number);
        if source.origin != self.own {
            self.read(source);
        }
    }

    /// Forgets the oldest event, which has this number.
    pub(super) fn pop(&mut self, id: u64) {
        if let Some(Source { origin, .. }) = self.names.pop_front()
            && let Some(numbers) = self.numbers.get_mut(&origin)
        {
            numbers.pop_front();
            if numbers.is_empty() {
                self.numbers.remove(&origin);
            }
        }
        self.void.remove(&id);
        self.keys.remove(&id);
    }

    /// Remembers the key of an event until the event is forgotten.
    pub(super) fn keep_key(&mut self, id: u64, key: &IdempotencyKey) {
        self.keys.insert(id, key.clone());
    }

    pub(super) fn key(&self, id: u64) -> Option<&IdempotencyKey> {
        self.keys.get(&id)
    }

    /// Gives the events that were accepted under the current name another one.
    pub(super) fn rename(&mut self, own: OriginId) {
        let old = std::mem::replace(&mut self.own, own);
        self.names
            .iter_mut()
            .filter(|name| name.origin == old)
            .for_each(|name| name.origin = own);
        if let Some(numbers) = self.numbers.remove(&old) {
            self.numbers.entry(own).or_default().extend(numbers);
        }
    }

    /// The events that are never delivered.
    pub(super) fn voids(&self) -> impl Iterator<Item = u64> {
        self.void.iter().copied()
    }

    /// Notes that an event of another replica was read, whether it is kept or not.
    pub(super) fn read(&mut self, source: Source) {
        if self.tails.len() >= MAX_ORIGINS && !self.tails.contains_key(&source.origin) {
            let held = &self.numbers;
            self.tails.retain(|origin, _| held.contains_key(origin));
        }
        let tail = self.tails.entry(source.origin).or_default();
        *tail = source.number.max(*tail);
    }

    /// True if an event of another replica, or a later one of it, was read before.
    pub(super) fn has_read(&self, source: Source) -> bool {
        self.tails.get(&source.origin).is_some_and(|tail| *tail >= source.number)
    }

    /// The engine has given back own events up to this number.
    pub(super) fn set_readable(&mut self, number: u64) {
        self.readable = self.readable.max(number);
    }

    pub(super) fn readable(&self) -> u64 {
        self.readable
    }

    /// True if the event may be delivered: the engine has it.
    pub(super) fn is_readable(&self, source: Source) -> bool {
        source.origin != self.own || source.number <= self.readable
    }

    /// An own event is not to be delivered.
    pub(super) fn set_void(&mut self, id: u64) {
        self.void.insert(id);
    }

    pub(super) fn is_void(&self, id: u64) -> bool {
        self.void.contains(&id)
    }

    /// The last number of each origin that this replica has read or accepted, where `end` is the number of the next event.
    pub(super) fn tails(&self, end: u64) -> impl Iterator<Item = (OriginId, u64)> {
        let others = self.tails.iter().map(|(origin, number)| (*origin, *number));
        others.chain([(self.own, end.saturating_sub(1))])
    }

    /// The origins of the events of the log.
    pub(super) fn held(&self) -> BTreeSet<OriginId> {
        self.numbers.keys().copied().chain([self.own]).collect()
    }

    /// The numbers of the events of the log by origin, in order.
    pub(super) fn numbers(&self) -> &BTreeMap<OriginId, VecDeque<u64>> {
        &self.numbers
    }
}
