#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Mutex, Weak};
use std::time::Duration;

use proptest::prelude::*;

use super::super::delivery::Delivery;
use super::*;

/// A connection state that reports its outcomes immediately, each with the number of its response.
struct Told {
    state: ConnectionState,
    told: Arc<Mutex<Vec<(usize, DeliveryOutcome)>>>,
    tracked: usize,
}

impl Told {
    fn new() -> Self {
        Self {
            state: ConnectionState::new(Instant::now()),
            told: Arc::default(),
            tracked: 0,
        }
    }

    fn tell(&mut self, act: impl FnOnce(&mut ConnectionState) -> Outcomes) {
        for (tracked, outcome) in act(&mut self.state) {
            tracked.settle(outcome);
        }
    }

    fn read(&mut self, text: &str) {
        self.tell(|state| state.read(text.as_bytes(), Instant::now()));
    }

    fn track(&mut self) -> Arc<TrackedResponse> {
        let (number, told) = (self.tracked, self.told.clone());
        self.tracked += 1;
        let tracked = TrackedResponse::new(move |outcome| told.lock().unwrap().push((number, outcome)));
        self.tell(|state| state.track(tracked.clone()));
        tracked
    }

    /// Answers the request that was read, following its response.
    fn answer(&mut self, body: Option<u64>, quiet: bool) -> Arc<TrackedResponse> {
        self.state.begin(body);
        let tracked = self.track();
        self.state.answered(true);
        assert_eq!(self.state.may_end(), Some(true));
        self.tell(|state| state.flushed(quiet, Instant::now()));
        tracked
    }

    fn told(&self) -> Vec<(usize, DeliveryOutcome)> {
        self.told.lock().unwrap().clone()
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn a_new_request_confirms_all_that_was_written() {
    let mut told = Told::new();
    told.read(GET);
    told.answer(Some(0), true);
    assert_eq!(told.told(), []);
    told.read("G");
    assert_eq!(told.told(), [(0, DeliveryOutcome::Acked)]);
}

#[test]
fn what_waits_unread_when_the_response_is_written_confirms_nothing() {
    let mut told = Told::new();
    told.read(GET);
    told.answer(Some(0), false);
    told.read(GET);
    told.answer(Some(0), true);
    told.read(GET);
    assert_eq!(told.told(), []);
    told.tell(|state| state.settle_all(DeliveryOutcome::Unacked));
    assert_eq!(told.told(), [(0, DeliveryOutcome::Unacked), (1, DeliveryOutcome::Unacked)]);
}

#[test]
fn two_requests_read_at_once_are_pipelined_however_the_first_ends() {
    for (first, body) in [(GET.to_owned(), Some(0)), ("PUT / HTTP/1.1\r\n\r\nabc".to_owned(), Some(3))] {
        for more in ["G", GET] {
            let mut told = Told::new();
            told.read(&format!("{first}{more}"));
            told.answer(body, true);
            told.read("x");
            assert_eq!(told.told(), [], "{first}{more}");
        }
    }
}

#[test]
fn the_body_of_a_request_is_no_pipelining() {
    for pieces in [&["PUT / HTTP/1.1\r\n\r\nabc"][..], &["PUT / HTTP/1.1\r\n\r\n", "a", "bc"]] {
        let mut told = Told::new();
        told.read(pieces[0]);
        told.state.begin(Some(3));
        pieces[1..].iter().for_each(|piece| told.read(piece));
        told.track();
        told.state.answered(true);
        told.tell(|state| state.flushed(true, Instant::now()));
        told.read(GET);
        assert_eq!(told.told(), [(0, DeliveryOutcome::Acked)]);
    }
}

#[test]
fn a_body_of_unknown_length_could_hide_a_request() {
    let mut told = Told::new();
    told.read("PUT / HTTP/1.1\r\n\r\n");
    told.answer(None, true);
    told.read(GET);
    assert_eq!(told.told(), []);
}

#[test]
fn a_body_that_was_not_read_to_its_end_could_be_taken_for_a_request() {
    let mut told = Told::new();
    told.read("PUT / HTTP/1.1\r\n\r\nab");
    told.answer(Some(3), true);
    told.read("c");
    assert_eq!(told.told(), []);
}

#[test]
fn a_response_that_broke_off_is_given_back_and_one_before_it_is_not() {
    let mut told = Told::new();
    told.read(GET);
    told.answer(Some(0), false);
    told.read(GET);
    told.state.begin(Some(0));
    told.track();
    told.state.answered(false);
    told.tell(|state| state.flushed(true, Instant::now()));
    assert_eq!(told.told(), [(1, DeliveryOutcome::Unacked)]);
    told.tell(ConnectionState::confirm_written);
    assert_eq!(told.told(), [(1, DeliveryOutcome::Unacked), (0, DeliveryOutcome::Acked)]);
}

#[test]
fn a_flush_in_the_middle_of_a_response_ends_nothing() {
    let mut told = Told::new();
    told.read(GET);
    told.state.begin(Some(0));
    let tracked = told.track();
    assert_eq!(told.state.may_end(), None);
    told.tell(|state| state.flushed(true, Instant::now()));
    assert_eq!(told.state.is_written(&tracked), None);
    told.state.answered(true);
    told.tell(|state| state.flushed(true, Instant::now()));
    assert_eq!(told.state.is_written(&tracked), Some(true));
}

#[test]
fn an_error_gives_everything_back_and_nothing_is_lent_after_it() {
    let mut told = Told::new();
    told.read(GET);
    told.answer(Some(0), false);
    told.read(GET);
    told.state.begin(Some(0));
    told.track();
    told.tell(|state| state.fail(true));
    told.track();
    assert_eq!(
        told.told(),
        [
            (0, DeliveryOutcome::Unacked),
            (1, DeliveryOutcome::Unacked),
            (2, DeliveryOutcome::Unacked)
        ]
    );
}

#[test]
fn a_reset_after_everything_was_acknowledged_is_no_doubt_where_that_is_enough() {
    for (had_all, may_be_reset, outcome) in [
        (true, true, DeliveryOutcome::Acked),
        (true, false, DeliveryOutcome::Unacked),
        (false, true, DeliveryOutcome::Unacked),
    ] {
        let mut told = Told::new();
        told.read(GET);
        let delivery = Delivery {
            tracked: told.answer(Some(0), true),
            shared: Weak::new(),
        };
        if may_be_reset {
            delivery.allow_reset();
        }
        told.tell(|state| state.fail(had_all));
        assert_eq!(told.told(), [(0, outcome)]);
    }
    // What was not written whole is lost in any case.
    let mut told = Told::new();
    told.read(GET);
    told.state.begin(Some(0));
    let tracked = told.track();
    let shared = Weak::new();
    Delivery { tracked, shared }.allow_reset();
    told.tell(|state| state.fail(true));
    assert_eq!(told.told(), [(0, DeliveryOutcome::Unacked)]);
}

#[test]
fn nothing_can_be_lent_while_no_request_is_answered() {
    let mut told = Told::new();
    told.track();
    told.read(GET);
    told.answer(Some(0), true);
    told.track();
    assert_eq!(told.told(), [(0, DeliveryOutcome::Unacked), (2, DeliveryOutcome::Unacked)]);
}

#[test]
fn a_client_that_never_stops_pipelining_costs_a_bounded_list() {
    let mut told = Told::new();
    for _ in 0..MAX_OPEN + 3 {
        told.read(GET);
        told.answer(Some(0), false);
    }
    assert_eq!(told.state.open.len(), MAX_OPEN);
    assert_eq!(
        told.told(),
        [
            (0, DeliveryOutcome::Unacked),
            (1, DeliveryOutcome::Unacked),
            (2, DeliveryOutcome::Unacked)
        ]
    );
}

#[test]
fn blank_lines_before_a_request_are_not_its_head() {
    let mut scan = HeadScan::default();
    assert_eq!(scan.feed(b"\r\n\n"), 0);
    assert!(!scan.complete);
    assert_eq!(scan.feed(b"GET / HTTP/1.1\n\nxy"), 2);
    assert!(scan.complete);
}

#[test]
fn a_request_that_was_found_behind_a_whole_response_does_not_keep_it_from_being_acked() {
    let mut told = Told::new();
    told.read(GET);
    told.state.begin(Some(0));
    told.track();
    told.state.answered(true);
    // The next request came before it was noted that all was written.
    told.tell(|state| state.flushed(false, Instant::now()));
    told.read(GET);
    assert_eq!(told.told(), [], "by itself it proves nothing");
    told.tell(ConnectionState::confirm_asked_again);
    assert_eq!(told.told(), [(0, DeliveryOutcome::Acked)]);
}

#[test]
fn a_client_that_asks_ahead_gets_nothing_acked_by_asking_again() {
    let read_at_once: fn(&mut Told) = |told| {
        told.read(&format!("{GET}{GET}"));
        told.answer(Some(0), true);
    };
    let unread_before_a_write: fn(&mut Told) = |told| {
        told.read(GET);
        told.state.begin(Some(0));
        told.track();
        assert!(told.state.is_writing_open());
        told.state.read_ahead();
        told.state.answered(true);
        told.tell(|state| state.flushed(true, Instant::now()));
    };
    let read_while_sending: fn(&mut Told) = |told| {
        told.read(GET);
        told.state.begin(Some(0));
        told.track();
        told.read(GET);
        told.state.answered(true);
        told.tell(|state| state.flushed(true, Instant::now()));
    };
    for asks_ahead in [read_at_once, unread_before_a_write, read_while_sending] {
        let mut told = Told::new();
        asks_ahead(&mut told);
        told.tell(ConnectionState::confirm_asked_again);
        assert_eq!(told.told(), []);
        told.tell(|state| state.settle_all(DeliveryOutcome::Unacked));
        assert_eq!(told.told(), [(0, DeliveryOutcome::Unacked)]);
    }
}

proptest! {
    #[test]
    fn a_head_ends_at_the_same_byte_however_it_is_split(
        lines in prop::collection::vec("[a-z: ]{1,9}", 1..6),
        ends in prop::collection::vec(prop::bool::ANY, 7),
        beyond in "[a-z\r\n]{0,20}",
        cuts in prop::collection::vec(0usize..200, 0..6),
    ) {
        let mut text = String::new();
        for (line, crlf) in lines.iter().map(String::as_str).chain([""]).zip(&ends) {
            text.push_str(line);
            text.push_str(if *crlf { "\r\n" } else { "\n" });
        }
        text.push_str(&beyond);
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < text.len()).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let mut scan = HeadScan::default();
        let found: usize = cuts.windows(2).map(|cut| scan.feed(&text.as_bytes()[cut[0]..cut[1]])).sum();
        prop_assert!(scan.complete);
        prop_assert_eq!(found, beyond.len());
    }
}

#[test]
fn the_slot_learns_of_each_request_and_of_each_wait_inside_one() {
    let now = Instant::now();
    let mut state = ConnectionState::new(now);
    let read = |state: &mut ConnectionState, text: &str| {
        state.read(text.as_bytes(), now);
        state.slot_news(false)
    };
    // Before its first request a connection counts as incomplete.
    assert_eq!(state.slot_news(true), None);
    assert_eq!(read(&mut state, "GET / HT"), Some(SlotNews::Busy));
    assert_eq!(state.slot_news(true), None);
    assert_eq!(read(&mut state, "TP/1.1\r\n\r\n"), None);
    state.begin(Some(0));
    assert_eq!(state.slot_news(false), Some(SlotNews::Requested));
    let answered = |state: &mut ConnectionState| {
        state.answered(true);
        state.flushed(true, now);
        assert_eq!(state.slot_news(true), None);
    };
    answered(&mut state);
    // A later one that arrives at once is busy and nothing more.
    assert_eq!(read(&mut state, GET), Some(SlotNews::Busy));
    state.begin(Some(0));
    assert_eq!(state.slot_news(false), None);
    answered(&mut state);
    // One with a body that comes later counts from the first wait on until its last byte.
    assert_eq!(read(&mut state, GET), Some(SlotNews::Busy));
    state.begin(Some(3));
    assert_eq!(state.slot_news(false), None);
    assert_eq!([state.slot_news(true), state.slot_news(true)], [Some(SlotNews::Incomplete), None]);
    assert_eq!(read(&mut state, "ab"), None);
    assert_eq!(read(&mut state, "c"), Some(SlotNews::Requested));
    answered(&mut state);
    // One that was read before the last response was written.
    state.begin(Some(0));
    assert_eq!(state.slot_news(false), Some(SlotNews::Busy));
}

#[test]
fn a_body_is_slow_if_little_of_it_has_come_lately() {
    let began = Instant::now();
    let at = |millis| began + Duration::from_millis(millis);
    let mut state = ConnectionState::new(began);
    state.read(b"PUT / HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n", began);
    assert!(state.is_slow(began), "a head has no bytes to make up for it");
    state.begin(Some(1_000_000));
    assert!(!state.is_slow(at(500)), "nothing is waited for");
    let timers = Timers::default();
    let waits = |state: &mut ConnectionState, millis| {
        state.deadline(&timers, at(millis));
        state.is_slow(at(millis))
    };
    assert!(waits(&mut state, 1));
    // A quarter of what a second takes.
    state.read(&[b'x'; 4_096], at(1_000));
    assert!(!waits(&mut state, 1_249) && waits(&mut state, 1_250));
    // However much it was, it makes up for a second.
    state.read(&[b'x'; 100_000], at(2_000));
    assert!(!waits(&mut state, 2_999) && waits(&mut state, 3_000));
    // A byte from time to time makes up for nothing.
    state.read(b"x", at(30_000));
    assert!(waits(&mut state, 30_001));
}
