use std::future::poll_fn;

use super::*;

const LIMIT: Duration = Duration::from_secs(60);

/// The timeout of a blocked write in seconds, given the number of unacknowledged bytes at each second.
async fn patience(unacked: impl Fn(u64) -> Option<u64>) -> u64 {
    let begun = Instant::now();
    let mut stall = Stall::default();
    poll_fn(|cx| stall.poll(cx, LIMIT, || unacked(begun.elapsed().as_secs()))).await;
    begun.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_count_as_progress() {
    assert_eq!(patience(|_| None).await, 60);
    assert_eq!(patience(|_| Some(4_000_000)).await, 60);
    // A reader of 10 kB/s, which the kernel lets us write to only after minutes.
    assert_eq!(patience(|second| Some(3_000_000 - second.min(300) * 10_000)).await, 360);
    // One byte in the last moment that still counts.
    assert_eq!(patience(|second| Some(if second < 50 { 10 } else { 9 })).await, 110);
}

#[tokio::test(start_paused = true)]
async fn a_limit_may_become_shorter_on_the_way() {
    let begun = Instant::now();
    let mut stall = Stall::default();
    let early = poll_fn(|cx| stall.poll(cx, LIMIT, || None));
    assert!(tokio::time::timeout(Duration::from_secs(3), early).await.is_err());
    poll_fn(|cx| stall.poll(cx, Duration::from_secs(6), || None)).await;
    assert_eq!(begun.elapsed().as_secs(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_went_on_starts_the_span_anew() {
    let mut stall = Stall::default();
    let begun = Instant::now();
    for _ in 0..3 {
        let wait = poll_fn(|cx| stall.poll(cx, LIMIT, || None));
        assert!(tokio::time::timeout(LIMIT - Duration::from_secs(1), wait).await.is_err());
        stall.waiting = None;
    }
    assert_eq!(begun.elapsed(), (LIMIT - Duration::from_secs(1)) * 3);
    poll_fn(|cx| stall.poll(cx, LIMIT, || None)).await;
    assert_eq!(begun.elapsed(), (LIMIT - Duration::from_secs(1)) * 3 + LIMIT);
}
