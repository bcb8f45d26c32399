#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_are_rendered_one_at_a_time_with_pauses_between_them() {
    const PAGES: u32 = 8;
    const WORK: Duration = Duration::from_millis(10);
    let (queue, inside) = (Arc::new(RenderQueue::default()), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..PAGES {
        let (queue, inside) = (Arc::clone(&queue), Arc::clone(&inside));
        tasks.spawn(async move {
            queue
                .render(move || {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                    std::thread::sleep(WORK);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    number
                })
                .await
        });
    }
    let mut rendered = tasks.join_all().await;
    rendered.sort_unstable();
    assert_eq!(rendered, (0..PAGES).collect::<Vec<_>>());
    assert!(began.elapsed() >= WORK * (2 * PAGES - 1), "{:?}", began.elapsed());
}
