#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::num::NonZeroUsize;

use tokio::runtime::RuntimeFlavor;

use super::*;

#[test]
fn as_many_threads_serve_as_the_setting_says() {
    let one = runtime(Threads::Current).unwrap();
    assert_eq!(one.handle().runtime_flavor(), RuntimeFlavor::CurrentThread);
    let cores = std::thread::available_parallelism().unwrap();
    let six = NonZeroUsize::new(6).unwrap();
    for (setting, workers) in [
        (Threads::PerCore, cores),
        (Threads::Pool(six), six),
        (Threads::Pool(NonZeroUsize::MIN), NonZeroUsize::MIN),
    ] {
        let runtime = runtime(setting).unwrap();
        assert_eq!(runtime.handle().runtime_flavor(), RuntimeFlavor::MultiThread);
        assert_eq!(runtime.metrics().num_workers(), workers.get());
    }
}
