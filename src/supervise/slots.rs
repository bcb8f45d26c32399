//! Connection slots: a limit on connections, with eviction of idle ones.
//!
//! The holder of a slot reports when it is idle and when it is busy. Once all slots are taken, each waiting connection evicts the holder
//! that has been idle longest: its [`Slot::evicted`] resolves. If that holder has received work at the same moment, it calls
//! [`Slot::busy`] and keeps its slot, and the next one is evicted. While all are busy, new connections wait in order of arrival.
//!
//! With a [limit for each address](ConnectionSlots::with_address_limit) a holder counts against its address until its client has sent a
//! complete request, and again while it reports that its client is in the middle of one. To a receiver a message is a request. Once all slots
//! are taken, an address with too many incomplete requests loses the oldest of them first, before any idle holder is evicted: connections with
//! half a request, opened again and again, must not close those of other clients.

mod incomplete;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::incomplete::Incomplete;

/// Time by which an evicted holder may delay its end after its last activity, or after it was accepted: a round trip to the other side
/// of the earth. A client that has just connected is about to send a request, and would lose it.
pub const GRACE: Duration = Duration::from_millis(250);

/// The same for one of too many connections of an address without a complete request. With [`GRACE`] an address that opens 3,000 such
/// connections again and again makes all other clients wait for 170 ms in the kernel's backlog. A client on the same continent has sent
/// its request within this time.
pub const INCOMPLETE_GRACE: Duration = Duration::from_millis(25);

/// The shortest grace of one of too many connections of an address, where there are few open files: a client on this machine sends right
/// after it has connected.
const MIN_INCOMPLETE_GRACE: Duration = Duration::from_millis(2);

/// Connections without a complete request that an address may hold while slots are short; half of the slots where there are fewer
/// than twice as many. A scraper of ten thousand targets has that many complete requests, and a client that is well has a request
/// incomplete for a round trip.
pub const MAX_INCOMPLETE: usize = 256;

/// The time after which a holder counts against its address again, where it was to be evicted while it was our turn.
pub const COUNT_AGAIN: Duration = Duration::from_secs(1);

/// The number of holders that are asked to leave beyond those that are lacking, where an address has too many incomplete requests.
const INCOMPLETE_AT_ONCE: usize = 64;

/// A number of slots, shared by all who take from it.
#[derive(Clone)]
pub struct ConnectionSlots(Arc<Inner>);

struct Inner {
    // Never held across an await: every critical section is a few steps in a map.
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Default)]
struct Table {
    capacity: usize,
    taken: usize,
    /// Callers of [`ConnectionSlots::take_for`] that have found no free slot.
    waiting: usize,
    /// Evicted holders that have not ended yet.
    leaving: usize,
    entries: Vec<Entry>,
    vacant: Vec<usize>,
    /// Idle holders by the order in which they became so.
    idle: BTreeMap<u64, usize>,
    next_turn: u64,
    /// Holders without a complete request, where these are limited.
    incomplete: Option<Incomplete>,
}

struct Entry {
    state: SlotState,
    eviction: Arc<Notify>,
    /// The place of its address, where incomplete requests are limited.
    place: Option<usize>,
    /// True if it counts against its address: no request is complete yet, or one has begun since.
    incomplete: bool,
}

/// Connections without a complete request that an address may hold while slots are short.
fn incomplete_limit(capacity: usize) -> usize {
    MAX_INCOMPLETE.min(capacity / 2).max(1)
}

/// The address for which a client counts: of IPv6 the network of 64 bits, because the rest is the client's to choose.
#[must_use]
pub fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            const NETWORK: u128 = u128::MAX << 64;
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Vacant,
    Busy,
    Idle(u64),
    /// Asked to leave, as one of too many without a complete request of one address or as an idle one.
    Leaving {
        incomplete: bool,
    },
}

impl SlotState {
    /// Returns true if a holder in this state is listed where it counts against its address.
    const fn is_listed(self) -> bool {
        matches!(self, Self::Busy | Self::Idle(_))
    }
}

impl ConnectionSlots {
    /// Creates this number of slots, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::holding(capacity, None)
    }

    /// Creates this number of slots, of which one address has at most [`MAX_INCOMPLETE`] without a complete request at the limit.
    #[must_use]
    pub fn with_address_limit(capacity: usize) -> Self {
        Self::holding(capacity, Some(INCOMPLETE_GRACE))
    }

    /// As [`ConnectionSlots::with_address_limit`], where open files limit the slots: the fewer an address may hold, the shorter their grace
    /// is, so that the backlog is served as fast. With 41 slots, 360 silent connections before another client would make it wait for 0.4 s.
    #[must_use]
    pub fn for_few_files(capacity: usize) -> Self {
        let held = incomplete_limit(capacity) as f64 / MAX_INCOMPLETE as f64;
        let grace = INCOMPLETE_GRACE.mul_f64(held).max(MIN_INCOMPLETE_GRACE);
        Self::holding(capacity, Some(grace))
    }

    /// With a grace for those of too many of an address, if these are limited.
    fn holding(capacity: usize, grace: Option<Duration>) -> Self {
        let table = Table {
            capacity: capacity.max(1),
            incomplete: grace.map(|grace| Incomplete::new(incomplete_limit(capacity), grace)),
            ..Table::default()
        };
        Self(Arc::new(Inner {
            table: Mutex::new(table),
            freed: Notify::new(),
        }))
    }

    /// Evicts the longest idle holder, or one of too many without a complete request, although slots are free: another resource, such as file
    /// descriptors, is exhausted.
    ///
    /// Returns whether there was one.
    pub fn evict_idle(&self) -> bool {
        self.0.lock().evict_one()
    }

    /// Takes a slot, busy, as soon as one is free, for a client at this address; meanwhile asks an idle holder to leave.
    ///
    /// Dropping the future gives up the place in the queue and loses nothing.
    pub async fn take_for(&self, address: Option<IpAddr>) -> Slot {
        if let Some(slot) = self.try_take(address) {
            return slot;
        }
        let _waiting = Waiting::new(&self.0);
        loop {
            let mut freed = std::pin::pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if let Some(slot) = self.try_take(address) {
                return slot;
            }
            freed.await;
        }
    }

    fn try_take(&self, address: Option<IpAddr>) -> Option<Slot> {
        let mut table = self.0.lock();
        if table.taken >= table.capacity {
            return None;
        }
        table.taken += 1;
        let eviction = Arc::new(Notify::new());
        let place = match (&mut table.incomplete, address) {
            (Some(incomplete), Some(address)) => Some(incomplete.enter(counted_address(address))),
            _ => None,
        };
        let entry = Entry {
            state: SlotState::Vacant,
            eviction: eviction.clone(),
            place,
            incomplete: true,
        };
        let index = match table.vacant.pop() {
            Some(index) => {
                table.entries[index] = entry;
                index
            }
            None => {
                table.entries.push(entry);
                table.entries.len() - 1
            }
        };
        table.put(index, SlotState::Busy);
        Some(Slot {
            shared: self.0.clone(),
            index,
            eviction,
        })
    }
}

impl fmt::Debug for ConnectionSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.0.lock();
        write!(
            f,
            "ConnectionSlots({} of {} taken, {} idle)",
            table.taken,
            table.capacity,
            table.idle.len()
        )
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Evicts as many holders as slots are missing. Of an address with too many incomplete requests it evicts several more, because then
    /// more clients wait in the kernel's backlog, and each of them would wait for another eviction.
    fn make_room(&mut self) {
        let lacking = (self.taken + self.waiting).saturating_sub(self.capacity);
        if lacking > 0 {
            while self.leaving < lacking + INCOMPLETE_AT_ONCE && self.evict_incomplete() {}
            while self.leaving < lacking && self.evict_longest_idle() {}
        }
    }

    fn evict_one(&mut self) -> bool {
        self.evict_incomplete() || self.evict_longest_idle()
    }

    fn grace(&self, index: usize) -> Duration {
        match (self.entries[index].state, &self.incomplete) {
            (SlotState::Leaving { incomplete: true }, Some(incomplete)) => incomplete.grace,
            _ => GRACE,
        }
    }

    fn evict_incomplete(&mut self) -> bool {
        let oldest = self.incomplete.as_ref().and_then(Incomplete::oldest_of_too_many);
        oldest.is_some_and(|index| self.evict(index, true))
    }

    fn evict_longest_idle(&mut self) -> bool {
        let longest = self.idle.first_key_value().map(|(_, index)| *index);
        longest.is_some_and(|index| self.evict(index, false))
    }

    /// Always true.
    fn evict(&mut self, index: usize, incomplete: bool) -> bool {
        self.put(index, SlotState::Leaving { incomplete });
        self.entries[index].eviction.notify_one();
        true
    }

    /// A holder has work.
    fn busy(&mut self, index: usize) {
        if self.entries[index].state != SlotState::Busy {
            self.put(index, SlotState::Busy);
            self.make_room();
        }
    }

    /// A holder is idle from now on.
    fn make_idle(&mut self, index: usize) {
        self.next_turn += 1;
        self.put(index, SlotState::Idle(self.next_turn));
        self.make_room();
    }

    /// Moves a holder, keeping the books of who is idle, who is leaving and who is incomplete.
    fn put(&mut self, index: usize, state: SlotState) {
        let entry = &mut self.entries[index];
        let before = std::mem::replace(&mut entry.state, state);
        match before {
            SlotState::Idle(turn) => drop(self.idle.remove(&turn)),
            SlotState::Leaving { .. } => self.leaving -= 1,
            SlotState::Busy | SlotState::Vacant => {}
        }
        match state {
            SlotState::Idle(turn) => drop(self.idle.insert(turn, index)),
            SlotState::Leaving { .. } => self.leaving += 1,
            SlotState::Busy | SlotState::Vacant => {}
        }
        if let (Some(incomplete), Some(place), true) = (&mut self.incomplete, entry.place, entry.incomplete) {
            match (before, before.is_listed(), state.is_listed()) {
                // One more piece of a request is no whole one: it is among the oldest still.
                (SlotState::Leaving { .. }, _, true) => incomplete.push_front(place, index),
                (_, false, true) => incomplete.push_back(place, index),
                (_, true, false) => incomplete.remove(place, index),
                _ => {}
            }
        }
    }

    /// A holder begins or ends to count against its address.
    fn set_incomplete(&mut self, index: usize, is_incomplete: bool) {
        let entry = &mut self.entries[index];
        let changes = std::mem::replace(&mut entry.incomplete, is_incomplete) != is_incomplete;
        if let (true, true, Some(incomplete), Some(place)) = (changes, entry.state.is_listed(), &mut self.incomplete, entry.place) {
            match is_incomplete {
                true => incomplete.push_back(place, index),
                false => incomplete.remove(place, index),
            }
        }
    }
}

/// Counts a caller as waiting until it is dropped.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Inner) -> Self {
        let mut table = shared.lock();
        table.waiting += 1;
        table.make_room();
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

/// One taken slot, free again when it is dropped.
pub struct Slot {
    shared: Arc<Inner>,
    index: usize,
    eviction: Arc<Notify>,
}

impl Slot {
    /// The holder has work; an eviction that it has not obeyed is off, and another holder is asked instead.
    pub fn busy(&self) {
        self.shared.lock().busy(self.index);
    }

    /// The holder waits for the rest of a request, and counts against its address until it is [complete](Slot::requested) or
    /// [answered](Slot::answered).
    pub fn incomplete(&self) {
        let mut table = self.shared.lock();
        table.set_incomplete(self.index, true);
        table.make_room();
    }

    /// As [`Slot::busy`], with a complete request: from now on the holder does not count against its address.
    pub fn requested(&self) {
        let mut table = self.shared.lock();
        table.set_incomplete(self.index, false);
        table.busy(self.index);
    }

    /// As [`Slot::idle`], after the response to a request, even one that never became complete. An eviction that the holder has not obeyed is
    /// off.
    pub fn answered(&self) {
        let mut table = self.shared.lock();
        table.set_incomplete(self.index, false);
        if !matches!(table.entries[self.index].state, SlotState::Idle(_)) {
            table.make_idle(self.index);
        }
    }

    /// Marks the holder as idle. Repeated calls do not restart its idle time.
    pub fn idle(&self) {
        let mut table = self.shared.lock();
        if table.entries[self.index].state == SlotState::Busy {
            table.make_idle(self.index);
        }
    }

    /// Resolves once the holder is evicted: within its [grace](Slot::grace) it checks for work a last time, then calls [`Slot::busy`] or drops its slot.
    /// It is the one that has been idle longest, so all other holders were active later.
    ///
    /// One task may wait at a time.
    pub async fn evicted(&self) {
        while !self.is_evicted() {
            self.eviction.notified().await;
        }
    }

    /// As [`Slot::evicted`], and not before the grace after `since` is over, the last activity or the acceptance: the client may have just
    /// come, or be about to send. An eviction that is called off meanwhile is waited for again.
    pub async fn evicted_after_grace(&self, since: Instant) {
        loop {
            self.evicted().await;
            let until = since + self.grace();
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Waits for `closing`, the end of a connection on which nothing is in work: its client gets time to take everything, but does not keep the
    /// slot from another one. Returns false if the slot was needed first, after the grace; then the connection is to be closed as it is.
    pub async fn unless_evicted(&self, closing: impl Future<Output = ()>) -> bool {
        self.idle();
        let since = Instant::now();
        tokio::select! {
            biased;
            () = closing => true,
            () = self.evicted_after_grace(since) => false,
        }
    }

    /// Returns true if the holder is asked to leave.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        matches!(self.state(), SlotState::Leaving { .. })
    }

    /// Returns true if the holder is asked to leave because its address has too many without a complete request.
    #[must_use]
    pub fn is_evicted_as_incomplete(&self) -> bool {
        self.state() == SlotState::Leaving { incomplete: true }
    }

    /// The time after its last activity, or after it was accepted, by which an evicted holder may delay its end.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.shared.lock().grace(self.index)
    }

    fn state(&self) -> SlotState {
        self.shared.lock().entries[self.index].state
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.shared.lock();
        table.put(self.index, SlotState::Vacant);
        if let (Some(place), Some(incomplete)) = (table.entries[self.index].place, &mut table.incomplete) {
            incomplete.leave(place);
        }
        table.vacant.push(self.index);
        table.taken -= 1;
        drop(table);
        self.shared.freed.notify_one();
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.index)
    }
}

#[cfg(test)]
mod tests;
