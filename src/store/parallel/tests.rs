use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn each_part_is_done_once() {
    for count in [0, 1, 2, 3, 100] {
        let done: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        for_each(&done, |part| {
            part.fetch_add(1, Ordering::Relaxed);
        });
        assert!(done.iter().all(|part| part.load(Ordering::Relaxed) == 1), "{count} parts");
    }
}

#[test]
fn a_panic_reaches_the_caller() {
    let parts: Vec<usize> = (0..100).collect();
    let failed = catch_unwind(AssertUnwindSafe(|| for_each(&parts, |part| assert_ne!(*part, 50))));
    assert!(failed.is_err());
}
