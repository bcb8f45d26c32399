use super::*;

#[test]
fn waits_double_up_to_a_minute_and_start_over() {
    let mut backoff = Backoff::default();
    let waits: Vec<u64> = (0..100).map(|_| backoff.next(1.0).as_secs()).collect();
    assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(waits[99], 60);
    backoff.reset();
    assert_eq!(backoff.next(0.0), Duration::from_millis(500));
    assert!((0..1_000).map(|_| chance()).all(|chance| (0.0..=1.0).contains(&chance)));
}
