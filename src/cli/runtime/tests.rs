#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroUsize;
use std::sync::mpsc;

use tokio::runtime::RuntimeFlavor;

use super::*;
use crate::supervise::blocking;

#[test]
fn as_many_threads_serve_as_the_setting_says() {
    let one = service(Threads::Current).unwrap().runtime;
    assert_eq!(one.handle().runtime_flavor(), RuntimeFlavor::CurrentThread);
    let cores = std::thread::available_parallelism().unwrap();
    let six = NonZeroUsize::new(6).unwrap();
    for (setting, workers) in [
        (Threads::PerCore, cores),
        (Threads::Pool(six), six),
        (Threads::Pool(NonZeroUsize::MIN), NonZeroUsize::MIN),
    ] {
        let runtime = service(setting).unwrap().runtime;
        assert_eq!(runtime.handle().runtime_flavor(), RuntimeFlavor::MultiThread);
        assert_eq!(runtime.metrics().num_workers(), workers.get());
    }
}

#[test]
fn blocking_work_that_hangs_does_not_delay_the_end() {
    for runtime in [
        current_thread_runtime().unwrap(),
        service(Threads::Current).unwrap(),
        service(Threads::Pool(NonZeroUsize::MIN)).unwrap(),
    ] {
        let (begun, has_begun) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let (ended, has_ended) = mpsc::channel();
        // A runtime that waits would hang here, because the work waits for this thread: the watch ends it then.
        let watch = std::thread::spawn(move || {
            let in_time = has_ended.recv_timeout(Duration::from_secs(30)).is_ok();
            drop(release);
            in_time
        });
        let output = runtime.block_on(async move {
            tokio::spawn(blocking(move || {
                let _ = begun.send(());
                let _ = held.recv();
            }));
            blocking(move || has_begun.recv()).await.unwrap();
            42
        });
        assert_eq!(output, 42);
        let _ = ended.send(());
        assert!(watch.join().unwrap(), "the end waited for the work");
    }
}
