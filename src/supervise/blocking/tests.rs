#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use super::*;
use crate::supervise::panic_message;

#[tokio::test]
async fn the_result_comes_back() {
    assert_eq!(blocking(|| 6 * 7).await, 42);
}

#[tokio::test]
async fn a_panic_goes_on_in_the_caller() {
    let caught = AssertUnwindSafe(blocking(|| -> u8 { panic!("in the work") })).catch_unwind().await;
    assert_eq!(panic_message(&*caught.unwrap_err()), "in the work");
}

#[tokio::test]
async fn a_thread_holds_its_permit_when_its_caller_is_gone() {
    static PERMITS: Semaphore = Semaphore::const_new(1);
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let mut abandoned = Box::pin(blocking_within(&PERMITS, move || {
        begun.send(()).unwrap();
        let _ = held.recv();
    }));
    assert!(futures_util::poll!(&mut abandoned).is_pending());
    blocking(move || has_begun.recv()).await.unwrap();
    drop(abandoned);
    assert_eq!(PERMITS.available_permits(), 0);
    drop(release);
    assert_eq!(blocking_within(&PERMITS, || 6 * 7).await, 42);
}

/// The permits that are given out for work that hangs.
async fn permit_of(permits: &'static Semaphore) -> Option<tokio::sync::SemaphorePermit<'static>> {
    permits.acquire().await.ok()
}

#[tokio::test]
async fn a_thread_exchanges_its_permit_while_it_works_and_gives_back_the_other_one() {
    static USUAL: Semaphore = Semaphore::const_new(1);
    static SLOW: Semaphore = Semaphore::const_new(1);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let mut abandoned = Box::pin(blocking_holding(permit_of(&USUAL).await, permit_of(&SLOW), move || {
        let _ = held.recv();
    }));
    assert!(futures_util::poll!(&mut abandoned).is_pending());
    assert_eq!((USUAL.available_permits(), SLOW.available_permits()), (1, 0));
    // The thread holds it also without its caller.
    drop(abandoned);
    assert_eq!((USUAL.available_permits(), SLOW.available_permits()), (1, 0));
    drop(release);
    drop(permit_of(&SLOW).await);
    assert_eq!((USUAL.available_permits(), SLOW.available_permits()), (1, 1));
}

#[tokio::test]
async fn a_thread_keeps_its_permit_until_there_is_another_one() {
    static USUAL: Semaphore = Semaphore::const_new(1);
    static SLOW: Semaphore = Semaphore::const_new(0);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let mut working = Box::pin(blocking_holding(permit_of(&USUAL).await, permit_of(&SLOW), move || {
        let _ = held.recv();
        6 * 7
    }));
    assert!(futures_util::poll!(&mut working).is_pending());
    assert_eq!(USUAL.available_permits(), 0);
    drop(release);
    assert_eq!(working.await, 42);
    assert_eq!((USUAL.available_permits(), SLOW.available_permits()), (1, 0));
    let panicked = blocking_holding(permit_of(&USUAL).await, permit_of(&SLOW), || -> u8 { panic!("in the work") });
    assert!(AssertUnwindSafe(panicked).catch_unwind().await.is_err());
    assert_eq!(USUAL.available_permits(), 1);
}

#[test]
fn work_that_never_began_has_no_result() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    // A runtime that is gone begins no work.
    let _inside = handle.enter();
    assert_eq!(blocking(|| 1).now_or_never(), None);
}
