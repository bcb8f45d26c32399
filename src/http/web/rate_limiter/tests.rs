use std::time::Duration;

use super::*;

#[test]
fn a_burst_passes_and_then_one_request_for_each_interval() {
    let limiter = RateLimiter::new(RateLimit {
        interval: Duration::from_secs(2),
        burst: 3,
    });
    let start = Instant::now();
    let admitted = |after: f64| limiter.admit(start + Duration::from_secs_f64(after));
    assert_eq!([0.0; 5].map(admitted), [Ok(()), Ok(()), Ok(()), Err(2), Err(2)]);
    assert_eq!([1.9, 2.1, 2.2].map(admitted), [Err(2), Ok(()), Err(2)]);
    assert_eq!([100.0; 4].map(admitted), [Ok(()), Ok(()), Ok(()), Err(2)]);
}

#[test]
fn a_burst_of_nothing_lets_nothing_pass() {
    let interval = Duration::from_millis(1);
    let limiter = RateLimiter::new(RateLimit { interval, burst: 0 });
    let start = Instant::now();
    assert_eq!(limiter.admit(start), Err(1));
    assert_eq!(limiter.admit(start + Duration::from_secs(9)), Err(1));
}
