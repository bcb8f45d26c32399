//! The runtimes of commands and services, with a bound on their end.

use std::io;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::config::Threads;
use crate::supervise::BLOCKING_THREADS;

/// Time for blocking work of a service that still runs when all of its tasks have ended, such as a write to a file. State was written before.
/// A lookup without an answer, or a file system that hangs, may take minutes or for ever.
const BLOCKING_END: Duration = Duration::from_millis(200);

/// A runtime for one future. Unlike tokio's, it does not wait for blocking work when it ends.
#[derive(Debug)]
pub(super) struct Runtime {
    runtime: tokio::runtime::Runtime,
    /// Timeout of blocking work that has begun, once the future has ended.
    end: Duration,
}

impl Runtime {
    /// Runs a future to its end and returns its output. Blocking work that still runs then is left to end with the process.
    pub(super) fn block_on<F: Future>(self, future: F) -> F::Output {
        let output = self.runtime.block_on(future);
        self.runtime.shutdown_timeout(self.end);
        output
    }
}

/// The runtime of a service, with as many threads as the setting says.
///
/// # Errors
/// When the system refuses a thread or a file descriptor.
pub(super) fn service(threads: Threads) -> io::Result<Runtime> {
    let mut builder = match threads {
        Threads::Current => Builder::new_current_thread(),
        Threads::PerCore => Builder::new_multi_thread(),
        Threads::Pool(threads) => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads.get());
            builder
        }
    };
    builder.max_blocking_threads(BLOCKING_THREADS);
    let runtime = builder.enable_all().thread_name("exporter-proxy").build()?;
    Ok(Runtime {
        runtime,
        end: BLOCKING_END,
    })
}

/// A runtime for commands that send requests to a proxy: one thread is enough.
///
/// # Errors
/// When the system refuses a file descriptor.
pub(super) fn current_thread_runtime() -> anyhow::Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let end = Duration::ZERO;
    Ok(Runtime { runtime, end })
}

#[cfg(test)]
mod tests;
