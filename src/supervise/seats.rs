//! Seats for connections: a fixed number, and a holder that is idle gives its seat up for a newcomer.
//!
//! A holder says when it is idle and when it is busy. Once all seats are taken, each waiting newcomer makes the holder that has been
//! idle the longest hear [`Seat::evicted`]; where that one has got work at the same moment it says [`Seat::busy`] and keeps its seat,
//! and the next one in line is asked. While all are busy newcomers wait, in order of arrival at the kernel.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a holder that is asked to leave may put that off after its last word, and a new one after it was let in: a round trip to
/// the other side of the earth. Whoever has just connected is about to say something, and would lose it.
pub const GRACE: Duration = Duration::from_millis(250);

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
}

struct Slot {
    place: Place,
    bell: Arc<Notify>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Vacant,
    Busy,
    Idle(u64),
    Leaving,
}

impl Seats {
    /// So many seats, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let state = State {
            capacity: capacity.max(1),
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

    /// Asks the longest idle holder to leave although seats are free: something else, such as file descriptors, has run out.
    ///
    /// Returns whether there was one.
    pub fn squeeze(&self) -> bool {
        self.0.lock().evict_one()
    }

    /// Takes a seat, busy, as soon as one is free; meanwhile asks an idle holder to leave.
    ///
    /// Dropping the future gives up the place in the queue and loses nothing.
    pub async fn take(&self) -> Seat {
        if let Some(seat) = self.try_take() {
            return seat;
        }
        let _waiting = Waiting::new(&self.0);
        loop {
            let mut freed = std::pin::pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if let Some(seat) = self.try_take() {
                return seat;
            }
            freed.await;
        }
    }

    fn try_take(&self) -> Option<Seat> {
        let mut state = self.0.lock();
        if state.taken >= state.capacity {
            return None;
        }
        state.taken += 1;
        let bell = Arc::new(Notify::new());
        let slot = Slot {
            place: Place::Busy,
            bell: bell.clone(),
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
    /// Asks as many idle holders to leave as newcomers lack seats.
    fn make_room(&mut self) {
        let lacking = (self.taken + self.waiting).saturating_sub(self.capacity);
        while self.leaving < lacking && self.evict_one() {}
    }

    fn evict_one(&mut self) -> bool {
        let Some((_, index)) = self.idle.pop_first() else { return false };
        self.slots[index].place = Place::Leaving;
        self.leaving += 1;
        self.slots[index].bell.notify_one();
        true
    }

    /// Moves a holder, keeping the books of who is idle and who is leaving.
    fn put(&mut self, index: usize, place: Place) {
        match std::mem::replace(&mut self.slots[index].place, place) {
            Place::Idle(turn) => drop(self.idle.remove(&turn)),
            Place::Leaving => self.leaving -= 1,
            Place::Busy | Place::Vacant => {}
        }
        if let Place::Idle(turn) = place {
            self.idle.insert(turn, index);
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
        let mut state = self.shared.lock();
        match state.slots[self.index].place {
            Place::Busy => {}
            _ => {
                state.put(self.index, Place::Busy);
                state.make_room();
            }
        }
    }

    /// The holder could be spared from now on. Saying so again does not start its idle time anew.
    pub fn idle(&self) {
        let mut state = self.shared.lock();
        if state.slots[self.index].place == Place::Busy {
            let turn = state.next_turn;
            state.next_turn += 1;
            state.put(self.index, Place::Idle(turn));
            state.make_room();
        }
    }

    /// Resolves once the holder is asked to leave: it should look for work one last time, within its [`GRACE`], then say [`Seat::busy`] or
    /// drop its seat. As the longest idle one is asked, all others have heard from their clients even later.
    ///
    /// One task may wait at a time.
    pub async fn evicted(&self) {
        while self.shared.lock().slots[self.index].place != Place::Leaving {
            self.bell.notified().await;
        }
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
