//! Seats for connections: a fixed number, and a holder that is idle gives its seat up for a newcomer.
//!
//! A holder says when it is idle and when it is busy. Once all seats are taken, each waiting newcomer makes the holder that has been
//! idle the longest hear [`Seat::evicted`]; where that one has got work at the same moment it says [`Seat::busy`] and keeps its seat,
//! and the next one in line is asked. While all are busy newcomers wait, in order of arrival at the kernel.
//!
//! Where seats are [limited for each address](Seats::with_address_limit), a holder counts against its address until its client has sent
//! a complete request, and never again. Once all seats are taken, an address with too many of such loses the oldest of them first,
//! before any idle holder is asked: connections with half a request, opened again and again, are no reason to close those of others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a holder that is asked to leave may put that off after its last word, and a new one after it was let in: a round trip to
/// the other side of the earth. Whoever has just connected is about to say something, and would lose it.
pub const GRACE: Duration = Duration::from_millis(250);

/// The grace of a connection whose address has too many without a complete request. With [`GRACE`] an address that opens 3,000 such
/// connections again and again makes all other clients wait for 170 ms in the kernel's queue, because each of them keeps its place for so long.
/// A client on the same continent has sent its request by then.
pub const CROWDED_GRACE: Duration = Duration::from_millis(25);

/// Connections without a complete request that an address may hold while seats are short; half of the seats where there are fewer
/// than twice as many. A scraper of ten thousand targets has that many complete requests, and a client that is well has a request
/// incomplete for a round trip.
pub const MAX_INCOMPLETE: usize = 256;

/// The number of holders that are asked to leave beyond those that are lacking, where an address has too many incomplete requests.
const CROWDED_AT_ONCE: usize = 64;

/// A number of seats, shared by all who take from it.
#[derive(Clone)]
pub struct Seats(Arc<Shared>);

struct Shared {
    // Never held across an await: every critical section is a few steps in a map.
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    capacity: usize,
    taken: usize,
    /// Newcomers inside [`Seats::take`] that have found no free seat.
    waiting: usize,
    /// Holders that were told to leave and have not answered yet.
    leaving: usize,
    slots: Vec<Slot>,
    vacant: Vec<usize>,
    /// Idle holders by the order in which they became so.
    idle: BTreeMap<u64, usize>,
    next_turn: u64,
    /// Holders without a complete request, where these are limited.
    incomplete: Option<Incomplete>,
}

struct Slot {
    place: Place,
    bell: Arc<Notify>,
    /// The address for which it counts as incomplete, until it has sent a complete request.
    counted: Option<(IpAddr, u64)>,
}

/// Holders without a complete request, but for those that are asked to leave.
#[derive(Default)]
struct Incomplete {
    /// By address, oldest first. Bounded by the seats.
    by_address: HashMap<IpAddr, BTreeMap<u64, usize>, foldhash::fast::RandomState>,
    /// The number of holders of each address, for finding the address with the most.
    counts: BTreeSet<(usize, IpAddr)>,
}

impl Incomplete {
    fn insert(&mut self, (address, turn): (IpAddr, u64), index: usize) {
        let holders = self.by_address.entry(address).or_default();
        let before = holders.len();
        holders.insert(turn, index);
        let after = holders.len();
        self.counts.remove(&(before, address));
        self.counts.insert((after, address));
    }

    fn remove(&mut self, (address, turn): (IpAddr, u64)) {
        let Some(holders) = self.by_address.get_mut(&address) else { return };
        let before = holders.len();
        holders.remove(&turn);
        let after = holders.len();
        self.counts.remove(&(before, address));
        if after == 0 {
            self.by_address.remove(&address);
        } else {
            self.counts.insert((after, address));
        }
    }

    /// The oldest holder of the address that has the most, if those are more than `limit`.
    fn oldest_beyond(&self, limit: usize) -> Option<usize> {
        let (_, address) = self.counts.last().filter(|(count, _)| *count > limit)?;
        self.by_address.get(address)?.values().next().copied()
    }
}

/// The address for which a client counts: of IPv6 the network of 64 bits, because the rest is the client's to choose.
fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            const NETWORK: u128 = u128::MAX << 64;
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Vacant,
    Busy,
    Idle(u64),
    /// Asked to leave, as one of too many without a complete request of one address or as an idle one.
    Leaving {
        crowded: bool,
    },
}

impl Seats {
    /// So many seats, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::holding(capacity, None)
    }

    /// So many seats, of which one address has at most [`MAX_INCOMPLETE`] without a complete request while they are short.
    #[must_use]
    pub fn with_address_limit(capacity: usize) -> Self {
        Self::holding(capacity, Some(Incomplete::default()))
    }

    fn holding(capacity: usize, incomplete: Option<Incomplete>) -> Self {
        let state = State {
            capacity: capacity.max(1),
            incomplete,
            ..State::default()
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            freed: Notify::new(),
        }))
    }

    /// Changes the number of seats; where there are fewer now, idle holders are asked to leave and busy ones stay until they end.
    pub fn set_capacity(&self, capacity: usize) {
        let mut state = self.0.lock();
        state.capacity = capacity.max(1);
        state.make_room();
        drop(state);
        self.0.freed.notify_waiters();
    }

    /// How many seats are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.lock().taken
    }

    /// How many holders are idle and have not been asked to leave.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.0.lock().idle.len()
    }

    /// Asks the longest idle holder, or one of too many without a complete request, to leave although seats are free: something else, such as file descriptors, has run out.
    ///
    /// Returns whether there was one.
    pub fn squeeze(&self) -> bool {
        self.0.lock().evict_one()
    }

    /// Takes a seat, busy, as soon as one is free; meanwhile asks an idle holder to leave.
    ///
    /// Dropping the future gives up the place in the queue and loses nothing.
    pub async fn take(&self) -> Seat {
        self.take_for(None).await
    }

    /// As [`Seats::take`], for a client at this address.
    pub async fn take_for(&self, address: Option<IpAddr>) -> Seat {
        if let Some(seat) = self.try_take(address) {
            return seat;
        }
        let _waiting = Waiting::new(&self.0);
        loop {
            let mut freed = std::pin::pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if let Some(seat) = self.try_take(address) {
                return seat;
            }
            freed.await;
        }
    }

    fn try_take(&self, address: Option<IpAddr>) -> Option<Seat> {
        let mut state = self.0.lock();
        if state.taken >= state.capacity {
            return None;
        }
        state.taken += 1;
        let bell = Arc::new(Notify::new());
        let address = address.filter(|_| state.incomplete.is_some());
        let slot = Slot {
            place: Place::Vacant,
            bell: bell.clone(),
            counted: address.map(|address| (counted_address(address), state.turn())),
        };
        let index = match state.vacant.pop() {
            Some(index) => {
                state.slots[index] = slot;
                index
            }
            None => {
                state.slots.push(slot);
                state.slots.len() - 1
            }
        };
        state.put(index, Place::Busy);
        Some(Seat {
            shared: self.0.clone(),
            index,
            bell,
        })
    }
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        write!(f, "Seats({} of {} taken, {} idle)", state.taken, state.capacity, state.idle.len())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Asks as many holders to leave as newcomers lack seats. Of an address with too many incomplete ones it is some more at once, for
    /// then more clients wait in the kernel's queue, and each of them would wait for another one to go.
    fn make_room(&mut self) {
        let lacking = (self.taken + self.waiting).saturating_sub(self.capacity);
        if lacking > 0 {
            while self.leaving < lacking + CROWDED_AT_ONCE && self.evict_crowded() {}
            while self.leaving < lacking && self.evict_idle() {}
        }
    }

    fn evict_one(&mut self) -> bool {
        self.evict_crowded() || self.evict_idle()
    }

    fn evict_crowded(&mut self) -> bool {
        let limit = MAX_INCOMPLETE.min(self.capacity / 2).max(1);
        let oldest = self.incomplete.as_ref().and_then(|incomplete| incomplete.oldest_beyond(limit));
        oldest.is_some_and(|index| self.ask_to_leave(index, true))
    }

    fn evict_idle(&mut self) -> bool {
        let longest = self.idle.first_key_value().map(|(_, index)| *index);
        longest.is_some_and(|index| self.ask_to_leave(index, false))
    }

    /// Always true.
    fn ask_to_leave(&mut self, index: usize, crowded: bool) -> bool {
        self.put(index, Place::Leaving { crowded });
        self.slots[index].bell.notify_one();
        true
    }

    /// A holder has work.
    fn busy(&mut self, index: usize) {
        if self.slots[index].place != Place::Busy {
            self.put(index, Place::Busy);
            self.make_room();
        }
    }

    /// A number that is larger than those before.
    fn turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    /// Moves a holder, keeping the books of who is idle, who is leaving and who is incomplete.
    fn put(&mut self, index: usize, place: Place) {
        let slot = &mut self.slots[index];
        let before = std::mem::replace(&mut slot.place, place);
        match before {
            Place::Idle(turn) => drop(self.idle.remove(&turn)),
            Place::Leaving { .. } => self.leaving -= 1,
            Place::Busy | Place::Vacant => {}
        }
        match place {
            Place::Idle(turn) => drop(self.idle.insert(turn, index)),
            Place::Leaving { .. } => self.leaving += 1,
            Place::Busy | Place::Vacant => {}
        }
        let is_listed = |place| matches!(place, Place::Busy | Place::Idle(_));
        if let (Some(incomplete), Some(counted)) = (&mut self.incomplete, slot.counted) {
            match (is_listed(before), is_listed(place)) {
                (false, true) => incomplete.insert(counted, index),
                (true, false) => incomplete.remove(counted),
                _ => {}
            }
        }
    }

    /// A holder has sent a complete request.
    fn complete(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let is_listed = matches!(slot.place, Place::Busy | Place::Idle(_));
        if let (Some(counted), Some(incomplete), true) = (slot.counted.take(), &mut self.incomplete, is_listed) {
            incomplete.remove(counted);
        }
    }
}

/// Counts a newcomer as waiting for as long as it waits.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut state = shared.lock();
        state.waiting += 1;
        state.make_room();
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

/// One taken seat, free again when it is dropped.
pub struct Seat {
    shared: Arc<Shared>,
    index: usize,
    bell: Arc<Notify>,
}

impl Seat {
    /// The holder has work; an eviction that it has not obeyed is off, and another holder is asked instead.
    pub fn busy(&self) {
        self.shared.lock().busy(self.index);
    }

    /// As [`Seat::busy`], with a complete request: from now on the holder does not count against its address.
    pub fn requested(&self) {
        let mut state = self.shared.lock();
        state.complete(self.index);
        state.busy(self.index);
    }

    /// The holder could be spared from now on. Saying so again does not start its idle time anew.
    pub fn idle(&self) {
        let mut state = self.shared.lock();
        if state.slots[self.index].place == Place::Busy {
            let turn = state.turn();
            state.put(self.index, Place::Idle(turn));
            state.make_room();
        }
    }

    /// Resolves once the holder is asked to leave: it should look for work one last time, within its [`GRACE`], then say [`Seat::busy`] or
    /// drop its seat. As the longest idle one is asked, all others have heard from their clients even later.
    ///
    /// One task may wait at a time.
    pub async fn evicted(&self) {
        while !matches!(self.place(), Place::Leaving { .. }) {
            self.bell.notified().await;
        }
    }

    /// Returns true if the holder is asked to leave because its address has too many without a complete request.
    #[must_use]
    pub fn is_crowded_out(&self) -> bool {
        self.place() == Place::Leaving { crowded: true }
    }

    fn place(&self) -> Place {
        self.shared.lock().slots[self.index].place
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.put(self.index, Place::Vacant);
        state.vacant.push(self.index);
        state.taken -= 1;
        drop(state);
        self.shared.freed.notify_one();
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({})", self.index)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use tokio::task::JoinSet;

    use super::*;

    fn take_now(seats: &Seats) -> Seat {
        seats.take().now_or_never().expect("a seat is free")
    }

    fn is_evicted(seat: &Seat) -> bool {
        seat.evicted().now_or_never().is_some()
    }

    #[test]
    fn seats_are_counted_and_come_back() {
        let seats = Seats::new(2);
        let first = take_now(&seats);
        let _second = take_now(&seats);
        assert!(seats.take().now_or_never().is_none());
        drop(first);
        let _third = take_now(&seats);
        assert_eq!(seats.taken(), 2);
    }

    #[tokio::test]
    async fn the_longest_idle_gives_way() {
        let seats = Seats::new(3);
        let (a, b, c) = (take_now(&seats), take_now(&seats), take_now(&seats));
        b.idle();
        a.idle();
        // Saying it twice changes nothing about the order.
        b.idle();
        let mut newcomer = std::pin::pin!(seats.take());
        assert!(newcomer.as_mut().now_or_never().is_none());
        assert_eq!([is_evicted(&a), is_evicted(&b), is_evicted(&c)], [false, true, false]);
        drop(b);
        newcomer.await;
    }

    #[tokio::test]
    async fn a_holder_that_got_work_keeps_its_seat_and_the_next_one_is_asked() {
        let seats = Seats::new(2);
        let (a, b) = (take_now(&seats), take_now(&seats));
        a.idle();
        b.idle();
        let mut newcomer = std::pin::pin!(seats.take());
        assert!(newcomer.as_mut().now_or_never().is_none());
        assert_eq!((is_evicted(&a), is_evicted(&b)), (true, false));
        a.busy();
        assert_eq!((is_evicted(&a), is_evicted(&b)), (false, true));
        drop(b);
        newcomer.await;
    }

    #[tokio::test]
    async fn while_all_are_busy_a_newcomer_waits_for_the_first_to_rest() {
        let seats = Seats::new(1);
        let a = take_now(&seats);
        let mut newcomer = std::pin::pin!(seats.take());
        assert!(newcomer.as_mut().now_or_never().is_none());
        assert!(!is_evicted(&a));
        a.idle();
        assert!(is_evicted(&a));
        drop(a);
        newcomer.await;
    }

    #[test]
    fn a_newcomer_that_gave_up_evicts_nobody_more() {
        let seats = Seats::new(2);
        let (a, b) = (take_now(&seats), take_now(&seats));
        assert!(seats.take().now_or_never().is_none());
        a.idle();
        b.idle();
        assert!(!is_evicted(&a) && !is_evicted(&b));
        assert_eq!(seats.idle(), 2);
    }

    #[test]
    fn one_newcomer_evicts_one_holder_only() {
        let seats = Seats::new(64);
        let held: Vec<Seat> = (0..64).map(|_| take_now(&seats)).collect();
        held.iter().for_each(Seat::idle);
        let newcomers: Vec<_> = (0..3)
            .map(|_| {
                let mut newcomer = Box::pin(seats.take());
                assert!(newcomer.as_mut().now_or_never().is_none());
                newcomer
            })
            .collect();
        let told: Vec<bool> = held.iter().map(is_evicted).collect();
        assert_eq!(told.iter().filter(|told| **told).count(), newcomers.len());
        assert!(told[..3].iter().all(|told| *told), "the longest idle first");
    }

    #[tokio::test]
    async fn the_number_can_change_while_seats_are_taken() {
        let seats = Seats::new(1);
        let a = take_now(&seats);
        let mut newcomer = std::pin::pin!(seats.take());
        assert!(newcomer.as_mut().now_or_never().is_none());
        seats.set_capacity(2);
        let b = newcomer.await;
        a.idle();
        b.idle();
        seats.set_capacity(1);
        assert_eq!((is_evicted(&a), is_evicted(&b)), (true, false));
    }

    #[test]
    fn a_squeeze_takes_the_longest_idle_although_seats_are_free() {
        let seats = Seats::new(8);
        let (a, b) = (take_now(&seats), take_now(&seats));
        assert!(!seats.squeeze());
        b.idle();
        a.idle();
        assert!(seats.squeeze());
        assert_eq!((is_evicted(&a), is_evicted(&b)), (false, true));
    }

    fn at(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, number]))
    }

    fn take_at(seats: &Seats, number: u8) -> Seat {
        seats.take_for(at(number)).now_or_never().expect("a seat is free")
    }

    #[tokio::test]
    async fn an_address_with_too_many_incomplete_requests_loses_the_oldest_of_them() {
        let seats = Seats::with_address_limit(8);
        let innocent = take_at(&seats, 1);
        innocent.requested();
        innocent.idle();
        let crowd: Vec<Seat> = (0..7).map(|_| take_at(&seats, 2)).collect();
        let mut newcomers: Vec<_> = (3..7).map(|number| Box::pin(seats.take_for(at(number)))).collect();
        for (number, newcomer) in newcomers.iter_mut().enumerate() {
            assert!(newcomer.as_mut().now_or_never().is_none());
            let told: Vec<bool> = crowd.iter().map(is_evicted).collect();
            assert_eq!(told, [true, true, true, false, false, false, false], "half of eight seats may stay");
            assert_eq!(is_evicted(&innocent), number == 3, "the idle one goes when nobody else is left");
        }
        assert!(!innocent.is_crowded_out());
        assert!(crowd[0].is_crowded_out());
        drop(crowd);
        newcomers.remove(0).await;
    }

    #[test]
    fn who_has_sent_a_request_never_counts_again() {
        let seats = Seats::with_address_limit(4);
        let scraper: Vec<Seat> = (0..4).map(|_| take_at(&seats, 1)).collect();
        for seat in &scraper {
            seat.requested();
            seat.idle();
            seat.busy();
        }
        let mut newcomer = Box::pin(seats.take_for(at(2)));
        assert!(newcomer.as_mut().now_or_never().is_none());
        assert!(!scraper.iter().any(is_evicted), "all have work");
        scraper[2].idle();
        assert!(is_evicted(&scraper[2]) && !scraper[2].is_crowded_out());
    }

    #[test]
    fn one_that_gets_its_request_in_time_stays_and_the_next_one_goes() {
        let seats = Seats::with_address_limit(4);
        let crowd: Vec<Seat> = (0..4).map(|_| take_at(&seats, 1)).collect();
        let mut newcomer = Box::pin(seats.take_for(at(2)));
        assert!(newcomer.as_mut().now_or_never().is_none());
        let told = || crowd.iter().map(is_evicted).collect::<Vec<_>>();
        assert_eq!(told(), [true, true, false, false]);
        crowd[0].requested();
        assert_eq!(told(), [false, true, false, false]);
        // One more byte is no request: it is among the oldest still.
        crowd[1].busy();
        assert_eq!(told(), [false, true, false, false]);
        drop(crowd);
        let state = seats.0.lock();
        let incomplete = state.incomplete.as_ref().unwrap();
        assert!(
            incomplete.by_address.is_empty() && incomplete.counts.is_empty(),
            "nothing is left of those who went"
        );
    }

    #[test]
    fn what_counts_as_one_address() {
        let same = |a: &str, b: &str| counted_address(a.parse().unwrap()) == counted_address(b.parse().unwrap());
        assert!(same("10.0.0.1", "::ffff:10.0.0.1") && same("2001:db8:1:2:3::4", "2001:db8:1:2::9"));
        assert!(!same("10.0.0.1", "10.0.0.2") && !same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    }

    /// Many holders on several threads, each changing between idle and busy; whoever is told to leave leaves or claims work.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn under_stress_nobody_is_lost_and_the_number_holds() {
        const CAPACITY: usize = 16;
        const NEWCOMERS: usize = 2_000;
        let seats = Seats::new(CAPACITY);
        let inside = Arc::new(AtomicUsize::new(0));
        let mut holders = JoinSet::new();
        for number in 0..NEWCOMERS {
            let seat = seats.take().await;
            let inside = inside.clone();
            assert!(inside.fetch_add(1, Ordering::SeqCst) < CAPACITY);
            holders.spawn(async move {
                for round in 0..number % 7 {
                    tokio::task::yield_now().await;
                    seat.idle();
                    tokio::task::yield_now().await;
                    if (number + round) % 3 == 0 {
                        seat.busy();
                    }
                }
                // From here on only an eviction ends this holder, as with a connection that stays open for ever.
                seat.idle();
                seat.evicted().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(seat);
            });
        }
        seats.set_capacity(1);
        while seats.taken() > 1 {
            holders.join_next().await.unwrap().unwrap();
        }
        assert_eq!(inside.load(Ordering::SeqCst), 1);
    }
}
