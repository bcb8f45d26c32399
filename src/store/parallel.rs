//! Work on the parts of one response, shared between threads.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Threads that work on one response, the calling one included. More would wait for one another's memory rather than finish sooner.
const MAX_THREADS: usize = 8;

/// Parts for each thread at least, some 100 kB of text each: starting a thread takes as long as half a part.
const MIN_PARTS: usize = 2;

/// Asking the system reads several files.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));

/// Calls `work` once for each part, on as many threads as there are cores, and returns when all is done.
///
/// # Panics
///
/// Where `work` panics for a part.
pub(super) fn for_each<T: Sync>(parts: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(part);
        }
    };
    let threads = (*CORES).min(MAX_THREADS).min(parts.len() / MIN_PARTS);
    thread::scope(|scope| {
        for _ in 1..threads {
            // If the system has no thread left, the others do its share.
            let _ = thread::Builder::new().name("render".to_owned()).spawn_scoped(scope, run);
        }
        run();
    });
}

#[cfg(test)]
mod tests {
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
}
