use std::sync::atomic::AtomicUsize;

use super::*;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The polls of a future that wakes itself `wakes` times, and how often its task was woken.
fn polls(wakes: usize, may_repeat: bool) -> (usize, usize) {
    let counter = Arc::new(Counter::default());
    let task = Waker::from(Arc::clone(&counter));
    let mut polls = 0;
    let polled = SelfWakes::new().poll(
        &Context::from_waker(&task),
        |cx| {
            polls += 1;
            if polls <= wakes {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        },
        || may_repeat,
    );
    assert!(polled.is_pending());
    (polls, counter.0.load(Ordering::SeqCst))
}

#[test]
fn a_future_that_wakes_itself_is_polled_again_without_its_task() {
    assert_eq!(polls(0, true), (1, 0));
    assert_eq!(polls(3, true), (4, 0));
    assert_eq!(polls(MAX_POLLS - 1, true), (MAX_POLLS, 0));
}

#[test]
fn it_waits_for_its_turn_where_it_must_or_has_had_enough() {
    assert_eq!(polls(1, false), (1, 1));
    assert_eq!(polls(usize::MAX, true), (MAX_POLLS, 1));
}

#[test]
fn a_wake_after_the_poll_wakes_the_task() {
    let counter = Arc::new(Counter::default());
    let task = Waker::from(Arc::clone(&counter));
    let wakes = SelfWakes::new();
    let mut kept = None;
    let polled = wakes.poll(
        &Context::from_waker(&task),
        |cx| {
            kept = Some(cx.waker().clone());
            Poll::<()>::Pending
        },
        || true,
    );
    assert!(polled.is_pending());
    assert_eq!(counter.0.load(Ordering::SeqCst), 0);
    kept.expect("the future was polled").wake();
    assert_eq!(counter.0.load(Ordering::SeqCst), 1);
}
