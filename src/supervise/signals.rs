//! SIGTERM and SIGINT as a [`Stop`]: the first asks for a gentle end, the second for one at once. SIGXFSZ as an error of the write.

#![allow(unsafe_code, reason = "what a signal handler may do is for its author to keep to")]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::libc::{SIGINT, SIGTERM};
use nix::sys::signal::{SigHandler, Signal};
use tokio::signal::unix::{self, SignalKind, signal};

use super::Stop;

/// A signal and how often it has come. Counted in the handler, because the runtime notices two that come in quick succession as one.
struct Counter {
    signal: i32,
    name: &'static str,
    count: AtomicUsize,
}

static COUNTERS: [Counter; 2] = [Counter::new(SIGTERM, "SIGTERM"), Counter::new(SIGINT, "SIGINT")];

impl Counter {
    const fn new(signal: i32, name: &'static str) -> Self {
        Self {
            signal,
            name,
            count: AtomicUsize::new(0),
        }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn install(&'static self) -> io::Result<()> {
        let counting = || {
            self.count.fetch_add(1, Ordering::SeqCst);
        };
        // SAFETY: an atomic addition is all that the handler does; it takes no lock and allocates nothing.
        unsafe { signal_hook_registry::register(self.signal, counting) }.map(drop)
    }
}

/// Has signals counted, once in the life of the process.
fn count_signals() -> io::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*installed {
        COUNTERS.iter().try_for_each(Counter::install)?;
        *installed = true;
    }
    Ok(())
}

/// The signals that end the program, caught from the moment of their installation on.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    /// The number of each that was taken, in the order of [`COUNTERS`].
    taken: [usize; 2],
}

impl Signals {
    /// Installs the handlers; until then either signal ends the process the hard way.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a handler.
    pub fn install() -> io::Result<Self> {
        // Before the runtime's own, so that a signal is counted when that wakes us.
        count_signals()?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            taken: [0, 1].map(|at: usize| COUNTERS[at].count()),
        })
    }

    /// Turns signals into stops and never returns, because a third one finds nothing left to ask for: run it beside the supervisor.
    pub async fn drive(mut self, stop: &Stop) {
        let name = self.next().await;
        tracing::info!("{name}: finishing open requests (send again to stop now)");
        stop.graceful.cancel();
        let name = self.next().await;
        tracing::warn!("{name} again: stopping now");
        stop.immediate.cancel();
        std::future::pending().await
    }

    /// Waits for the first signal, while there is nothing yet that could be stopped gracefully.
    pub async fn first(&mut self) -> &'static str {
        self.next().await
    }

    async fn next(&mut self) -> &'static str {
        loop {
            for (counter, taken) in COUNTERS.iter().zip(&mut self.taken) {
                if counter.count() > *taken {
                    *taken += 1;
                    return counter.name;
                }
            }
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        }
    }
}

/// Makes a write beyond the limit on file sizes (`ulimit -f`, `LimitFSIZE=`) fail with an error, which names the file like that of a full
/// disk. By default the signal ends the process without a word.
///
/// # Errors
///
/// If the operating system refuses it.
pub fn ignore_file_size_signal() -> io::Result<()> {
    // SAFETY: ignoring a signal installs no handler, so none of this program's code runs in one.
    unsafe { nix::sys::signal::signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    Ok(())
}

#[cfg(test)]
mod tests;
