use proptest::prelude::*;

use super::*;

fn seconds(count: f64) -> Duration {
    Duration::from_secs_f64(count)
}

#[test]
fn bytes_make_up_for_a_pause_of_a_second_at_most() {
    let began = Instant::now();
    let mut pace = Pace::for_slot(began);
    assert!(pace.is_slow(began));
    pace.add(SLOW / 4, began);
    assert!(!pace.is_slow(began + seconds(0.249)) && pace.is_slow(began + seconds(0.25)));
    pace.add(SLOW / 4, began + seconds(0.125));
    assert!(!pace.is_slow(began + seconds(0.499)) && pace.is_slow(began + seconds(0.5)));
    pace.add(u64::MAX, began + seconds(0.25));
    assert!(!pace.is_slow(began + seconds(1.249)) && pace.is_slow(began + seconds(1.25)));
    pace.add(1, began + seconds(60.0));
    assert!(pace.is_slow(began + seconds(60.001)));
}

#[test]
fn where_memory_is_short_a_client_has_longer_and_from_the_start() {
    let began = Instant::now();
    let mut pace = Pace::for_memory(began);
    assert_eq!(pace.slow_from(), began + MEMORY_PAUSE);
    pace.add(SLOW, began + seconds(1.0));
    assert_eq!(
        pace.slow_from(),
        began + seconds(6.0),
        "what arrives makes up for no more than that"
    );
    pace.add(SLOW, began + seconds(4.0));
    assert_eq!(pace.slow_from(), began + seconds(7.0));
    pace.extend(seconds(10.0));
    assert!(!pace.is_slow(began + seconds(16.999)) && pace.is_slow(began + seconds(17.0)));
}

proptest! {
    /// A client with 16 KiB in each second is never slow, however these are split; one with half of that is slow before each of its pieces.
    #[test]
    fn a_steady_client_is_slow_below_the_rate_alone(pieces in 1..64_u32, whole_seconds in 2..20_u32) {
        let began = Instant::now();
        let (mut enough, mut half) = (Pace::for_slot(began), Pace::for_slot(began));
        let span = seconds(1.0 / f64::from(pieces));
        let bytes = SLOW.div_ceil(u64::from(pieces));
        let mut slow = 0;
        for number in 0..pieces * whole_seconds {
            let at = began + span * number;
            enough.add(bytes, at);
            half.add(SLOW / 2 / u64::from(pieces), at);
            // Just before the next piece.
            let last = at + span.mul_f64(0.999);
            prop_assert!(!enough.is_slow(last), "piece {number}");
            slow += u32::from(half.is_slow(last));
        }
        prop_assert_eq!(slow, pieces * whole_seconds);
    }
}
