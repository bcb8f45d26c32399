use super::*;

#[test]
fn ten_failures_a_minute_and_no_more() {
    let (mut limiter, now) = (FailureLimiter::default(), Instant::now());
    for n in 1..=MAX_FAILURES {
        assert!(limiter.allows(1, now));
        assert_eq!(limiter.record_failure(1, now), n);
    }
    assert!(!limiter.allows(1, now) && limiter.allows(2, now));
    assert!(limiter.has_failed(1, now) && !limiter.has_failed(2, now) && !limiter.has_failed(1, now + WINDOW));
    assert!(!limiter.allows(1, now + WINDOW - Duration::from_millis(1)));
    assert!(limiter.allows(1, now + WINDOW));
    assert_eq!(limiter.record_failure(1, now + WINDOW), 1);
}

#[test]
fn a_flood_is_remembered_within_bounds() {
    let (mut limiter, now) = (FailureLimiter::default(), Instant::now());
    for n in 0..20_000_u32 {
        limiter.record_failure(n, now + Duration::from_millis(u64::from(n)));
        assert!(limiter.failures.len() <= MAX_ENTRIES);
    }
    assert!(limiter.failures.contains_key(&19_999));
}
