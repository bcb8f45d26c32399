//! SIGTERM and SIGINT as a [`Stop`]: the first asks for a gentle end, the second for one at once.

use std::io;

use tokio::signal::unix::{self, SignalKind, signal};

use super::Stop;

/// The signals that end the program, caught from the moment of their installation on.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    /// Installs the handlers; until then either signal ends the process the hard way.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Turns signals into stops and never returns, because a third one finds nothing left to ask for: run it beside the supervisor.
    pub async fn drive(mut self, stop: &Stop) {
        let name = self.next().await;
        tracing::info!("{name}: finishing what is in work; a second signal stops at once");
        stop.gently.cancel();
        let name = self.next().await;
        tracing::warn!("{name} again: stopping at once");
        stop.at_once.cancel();
        std::future::pending().await
    }

    /// Waits for the first signal, while there is nothing yet that could be stopped gracefully.
    pub async fn first(&mut self) -> &'static str {
        self.next().await
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_is_gentle_and_the_second_is_not() {
        let signals = Signals::install().unwrap();
        let stop = Stop::default();
        let watch = async {
            raise(Signal::SIGTERM).unwrap();
            stop.gently.cancelled().await;
            assert!(!stop.at_once.is_cancelled());
            raise(Signal::SIGINT).unwrap();
            stop.at_once.cancelled().await;
        };
        tokio::select! {
            () = signals.drive(&stop) => unreachable!("it never ends"),
            () = watch => {}
        }
    }
}
