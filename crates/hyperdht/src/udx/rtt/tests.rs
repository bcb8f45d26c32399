//! Unit tests of `rtt.rs`.

use super::*;

#[test]
fn the_timeout_follows_the_measured_round_trip() {
    let mut rtt = Rtt::default();
    assert_eq!(rtt.probe_timeout(), INITIAL_TIMEOUT);
    rtt.measured(Duration::from_millis(100));
    assert_eq!(rtt.probe_timeout(), Duration::from_millis(300));
    for _ in 0..100 {
        rtt.measured(Duration::from_millis(40));
    }
    assert!(rtt.probe_timeout() < Duration::from_millis(45) && rtt.least() == Duration::from_millis(40));
    assert_eq!(rtt.max_in_flight(), 2_000_000);
    for _ in 0..100 {
        rtt.measured(Duration::from_micros(50));
    }
    assert_eq!((rtt.probe_timeout(), rtt.max_in_flight()), (MIN_TIMEOUT, MIN_IN_FLIGHT));
}
