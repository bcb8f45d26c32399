use super::*;

#[test]
fn waits_grow_to_the_last_and_start_over() {
    const STEPS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(60)];
    let mut backoff = Backoff::new(&STEPS);
    for step in [2, 10, 60, 60, 60] {
        let wait = backoff.next().as_secs_f64();
        assert!(wait >= f64::from(step) / 2.0 && wait <= f64::from(step), "{wait}");
    }
    backoff.reset();
    assert!(backoff.next() <= STEPS[0]);
}

#[test]
fn jitter_spans_the_upper_half() {
    let second = Duration::from_secs(1);
    assert_eq!(jittered(second, 0), second / 2);
    assert_eq!(jittered(second, u32::MAX), second);
}
