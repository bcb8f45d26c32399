//! Work on the parts of one response, shared between threads.

#[cfg(test)]
mod tests;

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
/// If `work` panics for a part.
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
