use super::*;

/// The packets of the default limit.
const MAX_AHEAD: u64 = 8192;

#[test]
fn what_comes_early_waits_and_is_told() {
    let mut receiver = Receiver::new(MAX_RECEIVE_BYTES);
    for seq in [2, 1, 5, 2] {
        receiver.receive(seq, &[u8::try_from(seq).unwrap_or(0)], false);
    }
    assert_eq!((receiver.next(), receiver.ranges()), (0, vec![(1, 3), (5, 6)]));
    receiver.receive(0, &[0], false);
    let mut out = Vec::new();
    assert_eq!((receiver.read(&mut out), out), (3, vec![0, 1, 2]));
    receiver.receive(4, &[], true);
    receiver.receive(3, &[3], false);
    assert!(
        receiver.ended() && !receiver.exhausted(),
        "what comes after the end is not looked at"
    );
    assert_eq!(receiver.read(&mut Vec::new()), 1);
    assert!(receiver.exhausted());
}

#[test]
fn what_is_missing_is_taken_however_much_has_come_early() {
    let mut receiver = Receiver::new(MAX_RECEIVE_BYTES);
    let packet = [0; 1024];
    (1..MAX_AHEAD).for_each(|seq| receiver.receive(seq, &packet, false));
    assert!(
        receiver.out_of_order_bytes <= MAX_RECEIVE_BYTES + WINDOW_SLACK,
        "{} bytes",
        receiver.out_of_order_bytes
    );
    assert!(
        receiver.out_of_order_bytes > 10 * receiver.window,
        "the sender did not keep to the window"
    );
    receiver.receive(0, &packet, false);
    assert!(receiver.out_of_order.is_empty() && receiver.next() > 4096, "{}", receiver.next());
}

#[test]
fn packets_of_one_byte_are_bounded_by_their_number() {
    let mut receiver = Receiver::new(MAX_RECEIVE_BYTES);
    receiver.raise_window(MAX_RECEIVE_BYTES);
    for seq in 0..3 * MAX_AHEAD {
        receiver.receive(seq, b"x", false);
    }
    assert_eq!((receiver.next(), receiver.ready.len() as u64), (MAX_AHEAD, MAX_AHEAD));
    assert_eq!(receiver.read(&mut Vec::new()) as u64, MAX_AHEAD);
    receiver.receive(MAX_AHEAD, b"x", false);
    assert_eq!(receiver.next(), MAX_AHEAD + 1);
}

#[test]
fn memory_is_bounded_and_room_is_told() {
    let mut receiver = Receiver::new(MAX_RECEIVE_BYTES);
    assert_eq!(receiver.advertise_window() as usize, MIN_IN_FLIGHT);
    receiver.raise_window(usize::MAX);
    receiver.raise_window(0);
    let packet = [0; 1024];
    for seq in 0..10_000 {
        receiver.receive(seq, &packet, false);
    }
    assert_eq!((receiver.next(), receiver.advertise_window()), (4096 + 32, 0));
    assert!(!receiver.window_update_due());
    receiver.receive(4096 + 32 + MAX_AHEAD, &[], false);
    assert!(receiver.ranges().is_empty(), "too far ahead");
    receiver.read(&mut &mut vec![0; MAX_RECEIVE_BYTES / 2][..]);
    assert!(receiver.window_update_due());
    assert_eq!(receiver.advertise_window() as usize, MAX_RECEIVE_BYTES / 2 - WINDOW_SLACK);
}

#[test]
fn a_lower_limit_bounds_all_that_a_peer_can_have_buffered() {
    let limit = MIN_RECEIVE_BYTES;
    for bytes in [1, 1152] {
        let mut receiver = Receiver::new(0);
        // A round-trip time that the peer has made up by delaying its acknowledgements.
        receiver.raise_window(MAX_RECEIVE_BYTES);
        assert_eq!(receiver.advertise_window() as usize, limit);
        let packet = vec![0; bytes];
        (1..10_000).for_each(|seq| receiver.receive(seq, &packet, false));
        assert!(
            receiver.out_of_order_bytes <= limit + WINDOW_SLACK,
            "{} bytes",
            receiver.out_of_order_bytes
        );
        assert!(
            receiver.out_of_order.len() < limit / BYTES_PER_PACKET,
            "{} packets",
            receiver.out_of_order.len()
        );
        (0..10_000).for_each(|seq| receiver.receive(seq, &packet, false));
        assert!(receiver.ready_bytes + receiver.out_of_order_bytes <= 2 * (limit + WINDOW_SLACK));
        assert!(
            receiver.ready.len() <= 2 * limit / BYTES_PER_PACKET,
            "{} packets",
            receiver.ready.len()
        );
        // What was read makes room.
        let next = receiver.next();
        receiver.read(&mut Vec::new());
        receiver.receive(next, &packet, false);
        assert!(receiver.next() > next);
    }
}
