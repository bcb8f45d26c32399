use super::*;

#[test]
fn ten_failures_a_minute_and_no_more() {
    let (mut limiter, now) = (FailureLimiter::default(), Instant::now());
    for n in 1..=MAX_FAILURES {
        assert_eq!(limiter.blocked_for(1, now), None);
        assert_eq!(limiter.record_failure(1, now), n);
    }
    assert_eq!((limiter.blocked_for(1, now), limiter.blocked_for(2, now)), (Some(WINDOW), None));
    let last = now + WINDOW - Duration::from_millis(1);
    assert_eq!(limiter.blocked_for(1, last), Some(Duration::from_millis(1)));
    assert_eq!(limiter.blocked_for(1, now + WINDOW), None);
    assert_eq!(limiter.record_failure(1, now + WINDOW), 1);
}

#[test]
fn beyond_the_limit_attempts_are_spaced_and_not_refused_for_the_whole_minute() {
    let (mut limiter, now) = (FailureLimiter::default(), Instant::now());
    for _ in 0..MAX_FAILURES {
        assert!(limiter.admit(1, now), "below the limit nothing is spaced");
        limiter.record_failure(1, now);
    }
    let admitted = (0..1_000_u32).filter(|n| limiter.admit(1, now + Duration::from_millis(u64::from(*n) + 1)));
    assert_eq!(admitted.count(), 20, "twenty a second");
    assert!(limiter.admit(2, now));
    assert!((0..5).all(|_| limiter.admit(1, now + WINDOW)));
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
