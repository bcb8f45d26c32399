#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::*;

impl ConnectionSlots {
    pub(crate) fn taken(&self) -> usize {
        self.0.lock().taken
    }

    /// The number of idle holders that were not evicted.
    pub(crate) fn idle(&self) -> usize {
        self.0.lock().idle.len()
    }
}

fn take_now(slots: &ConnectionSlots) -> Slot {
    slots.take_for(None).now_or_never().expect("a slot is free")
}

fn is_evicted(slot: &Slot) -> bool {
    slot.evicted().now_or_never().is_some()
}

#[test]
fn slots_are_counted_and_come_back() {
    let slots = ConnectionSlots::new(2);
    let first = take_now(&slots);
    let _second = take_now(&slots);
    assert!(slots.take_for(None).now_or_never().is_none());
    drop(first);
    let _third = take_now(&slots);
    assert_eq!(slots.taken(), 2);
}

#[tokio::test]
async fn the_longest_idle_gives_way() {
    let slots = ConnectionSlots::new(3);
    let (a, b, c) = (take_now(&slots), take_now(&slots), take_now(&slots));
    b.idle();
    a.idle();
    // Saying it twice changes nothing about the order.
    b.idle();
    let mut newcomer = std::pin::pin!(slots.take_for(None));
    assert!(newcomer.as_mut().now_or_never().is_none());
    assert_eq!([is_evicted(&a), is_evicted(&b), is_evicted(&c)], [false, true, false]);
    drop(b);
    newcomer.await;
}

#[tokio::test]
async fn a_holder_that_got_work_keeps_its_seat_and_the_next_one_is_asked() {
    let slots = ConnectionSlots::new(2);
    let (a, b) = (take_now(&slots), take_now(&slots));
    a.idle();
    b.idle();
    let mut newcomer = std::pin::pin!(slots.take_for(None));
    assert!(newcomer.as_mut().now_or_never().is_none());
    assert_eq!((is_evicted(&a), is_evicted(&b)), (true, false));
    a.busy();
    assert_eq!((is_evicted(&a), is_evicted(&b)), (false, true));
    drop(b);
    newcomer.await;
}

#[tokio::test]
async fn while_all_are_busy_a_newcomer_waits_for_the_first_to_rest() {
    let slots = ConnectionSlots::new(1);
    let a = take_now(&slots);
    let mut newcomer = std::pin::pin!(slots.take_for(None));
    assert!(newcomer.as_mut().now_or_never().is_none());
    assert!(!is_evicted(&a));
    a.idle();
    assert!(is_evicted(&a));
    drop(a);
    newcomer.await;
}

#[test]
fn a_newcomer_that_gave_up_evicts_nobody_more() {
    let slots = ConnectionSlots::new(2);
    let (a, b) = (take_now(&slots), take_now(&slots));
    assert!(slots.take_for(None).now_or_never().is_none());
    a.idle();
    b.idle();
    assert!(!is_evicted(&a) && !is_evicted(&b));
    assert_eq!(slots.idle(), 2);
}

#[test]
fn one_newcomer_evicts_one_holder_only() {
    let slots = ConnectionSlots::new(64);
    let held: Vec<Slot> = (0..64).map(|_| take_now(&slots)).collect();
    held.iter().for_each(Slot::idle);
    let newcomers: Vec<_> = (0..3)
        .map(|_| {
            let mut newcomer = Box::pin(slots.take_for(None));
            assert!(newcomer.as_mut().now_or_never().is_none());
            newcomer
        })
        .collect();
    let told: Vec<bool> = held.iter().map(is_evicted).collect();
    assert_eq!(told.iter().filter(|told| **told).count(), newcomers.len());
    assert!(told[..3].iter().all(|told| *told), "the longest idle first");
}

#[test]
fn evict_idle_takes_the_longest_idle_although_slots_are_free() {
    let slots = ConnectionSlots::new(8);
    let (a, b) = (take_now(&slots), take_now(&slots));
    assert!(!slots.evict_idle());
    b.idle();
    a.idle();
    assert!(slots.evict_idle());
    assert_eq!((is_evicted(&a), is_evicted(&b)), (false, true));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_waits_for_its_client_to_close_gives_way_after_the_grace() {
    let slots = ConnectionSlots::new(2);
    let (a, b) = (take_now(&slots), take_now(&slots));
    let mut closing = Box::pin(a.unless_evicted(std::future::pending()));
    assert!(closing.as_mut().now_or_never().is_none(), "no other connection needs the slot");
    b.idle();
    let began = Instant::now();
    let mut newcomer = std::pin::pin!(slots.take_for(None));
    assert!(newcomer.as_mut().now_or_never().is_none());
    assert!(!closing.await && !is_evicted(&b));
    assert_eq!(began.elapsed(), GRACE);
    drop(a);
    newcomer.await;
    assert!(b.unless_evicted(async {}).await, "it was done before");
}

fn at(number: u8) -> Option<IpAddr> {
    Some(IpAddr::from([10, 0, 0, number]))
}

fn take_at(slots: &ConnectionSlots, number: u8) -> Slot {
    slots.take_for(at(number)).now_or_never().expect("a slot is free")
}

#[tokio::test]
async fn an_address_with_too_many_incomplete_requests_loses_the_oldest_of_them() {
    let slots = ConnectionSlots::with_address_limit(8);
    let innocent = take_at(&slots, 1);
    innocent.requested();
    innocent.idle();
    let crowd: Vec<Slot> = (0..7).map(|_| take_at(&slots, 2)).collect();
    let mut newcomers: Vec<_> = (3..7).map(|number| Box::pin(slots.take_for(at(number)))).collect();
    for (number, newcomer) in newcomers.iter_mut().enumerate() {
        assert!(newcomer.as_mut().now_or_never().is_none());
        let told: Vec<bool> = crowd.iter().map(is_evicted).collect();
        assert_eq!(told, [true, true, true, false, false, false, false], "half of eight slots may stay");
        assert_eq!(
            is_evicted(&innocent),
            number == 3,
            "the idle one goes when no other connection is left"
        );
    }
    assert!(!innocent.is_evicted_as_incomplete());
    assert!(crowd[0].is_evicted_as_incomplete());
    drop(crowd);
    newcomers.remove(0).await;
}

#[test]
fn one_in_the_middle_of_a_later_request_counts_again_until_it_is_complete_or_answered() {
    let slots = ConnectionSlots::with_address_limit(4);
    let crowd: Vec<Slot> = (0..4).map(|_| take_at(&slots, 1)).collect();
    for slot in &crowd {
        slot.requested();
        slot.answered();
        slot.busy();
        slot.incomplete();
    }
    let mut newcomer = Box::pin(slots.take_for(at(2)));
    assert!(newcomer.as_mut().now_or_never().is_none());
    let told = || crowd.iter().map(is_evicted).collect::<Vec<_>>();
    assert_eq!(told(), [true, true, false, false]);
    crowd[0].requested();
    assert_eq!(told(), [false, true, false, false], "two are left, which may stay");
    // It waits again, and is the youngest of three.
    crowd[0].incomplete();
    assert_eq!(told(), [false, true, true, false]);
    crowd[1].answered();
    assert_eq!(told(), [false, false, true, false], "another one leaves");
    assert!(crowd[2].is_evicted_as_incomplete());
}

#[test]
fn one_between_two_requests_does_not_count() {
    let slots = ConnectionSlots::with_address_limit(4);
    let scraper: Vec<Slot> = (0..4).map(|_| take_at(&slots, 1)).collect();
    for slot in &scraper {
        slot.requested();
        slot.idle();
        slot.busy();
    }
    let mut newcomer = Box::pin(slots.take_for(at(2)));
    assert!(newcomer.as_mut().now_or_never().is_none());
    assert!(!scraper.iter().any(is_evicted), "all have work");
    scraper[2].idle();
    assert!(is_evicted(&scraper[2]) && !scraper[2].is_evicted_as_incomplete());
}

#[test]
fn one_that_gets_its_request_in_time_stays_and_the_next_one_goes() {
    let slots = ConnectionSlots::with_address_limit(4);
    let crowd: Vec<Slot> = (0..4).map(|_| take_at(&slots, 1)).collect();
    let mut newcomer = Box::pin(slots.take_for(at(2)));
    assert!(newcomer.as_mut().now_or_never().is_none());
    let told = || crowd.iter().map(is_evicted).collect::<Vec<_>>();
    assert_eq!(told(), [true, true, false, false]);
    crowd[0].requested();
    assert_eq!(told(), [false, true, false, false]);
    // One more byte is no request: it is among the oldest still.
    crowd[1].busy();
    assert_eq!(told(), [false, true, false, false]);
    drop(crowd);
    let table = slots.0.lock();
    let incomplete = table.incomplete.as_ref().unwrap();
    assert!(incomplete.is_empty(), "nothing is left of those who went");
}

#[test]
fn what_counts_as_one_address() {
    let same = |a: &str, b: &str| counted_address(a.parse().unwrap()) == counted_address(b.parse().unwrap());
    assert!(same("10.0.0.1", "::ffff:10.0.0.1") && same("2001:db8:1:2:3::4", "2001:db8:1:2::9"));
    assert!(!same("10.0.0.1", "10.0.0.2") && !same("2001:db8:1:2::1", "2001:db8:1:3::1"));
}

/// Many holders on several threads, each changing between idle and busy; evicted holders end or become busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_stress_nobody_is_lost_and_the_number_holds() {
    const CAPACITY: usize = 16;
    const NEWCOMERS: usize = 2_000;
    let slots = ConnectionSlots::new(CAPACITY);
    let inside = Arc::new(AtomicUsize::new(0));
    let mut holders = JoinSet::new();
    for number in 0..NEWCOMERS {
        let slot = slots.take_for(None).await;
        let inside = inside.clone();
        assert!(inside.fetch_add(1, Ordering::SeqCst) < CAPACITY);
        holders.spawn(async move {
            for round in 0..number % 7 {
                tokio::task::yield_now().await;
                slot.idle();
                tokio::task::yield_now().await;
                if (number + round) % 3 == 0 {
                    slot.busy();
                }
            }
            // From here on only an eviction ends this holder, as with a connection that stays open for ever.
            slot.idle();
            slot.evicted().await;
            inside.fetch_sub(1, Ordering::SeqCst);
            drop(slot);
        });
    }
    while inside.load(Ordering::SeqCst) > 0 {
        slots.evict_idle();
        tokio::task::yield_now().await;
    }
    while let Some(ended) = holders.join_next().await {
        ended.unwrap();
    }
    assert_eq!(slots.taken(), 0);
}

#[test]
fn with_few_files_an_address_has_a_shorter_grace_the_fewer_it_may_hold() {
    let grace = |slots: &ConnectionSlots, capacity: usize| {
        let crowd: Vec<Slot> = (0..capacity).map(|_| take_at(slots, 1)).collect();
        let mut newcomer = Box::pin(slots.take_for(at(2)));
        assert!(newcomer.as_mut().now_or_never().is_none());
        assert!(crowd[0].is_evicted_as_incomplete());
        crowd[0].grace()
    };
    for (capacity, expected) in [(1_024, INCOMPLETE_GRACE), (128, INCOMPLETE_GRACE / 4), (4, MIN_INCOMPLETE_GRACE)] {
        assert_eq!(grace(&ConnectionSlots::for_few_files(capacity), capacity), expected);
        assert_eq!(grace(&ConnectionSlots::with_address_limit(capacity), capacity), INCOMPLETE_GRACE);
    }
    let slots = ConnectionSlots::new(1);
    let idle = take_now(&slots);
    idle.idle();
    assert!(slots.evict_idle() && is_evicted(&idle));
    assert_eq!(idle.grace(), GRACE, "an idle one that is not one of too many");
}
