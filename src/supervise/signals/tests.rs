#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use nix::sys::signal::{Signal, raise};

use super::*;

#[tokio::test]
async fn the_first_signal_is_gentle_and_the_second_is_not() {
    let signals = Signals::install().unwrap();
    let stop = Stop::default();
    let watch = async {
        raise(Signal::SIGTERM).unwrap();
        stop.graceful.cancelled().await;
        assert!(!stop.immediate.is_cancelled());
        raise(Signal::SIGINT).unwrap();
        stop.immediate.cancelled().await;
    };
    tokio::select! {
        () = signals.drive(&stop) => unreachable!("it never ends"),
        () = watch => {}
    }
    // Two at the same moment, before the runtime has noticed the first, are two.
    let signals = Signals::install().unwrap();
    let stop = Stop::default();
    raise(Signal::SIGTERM).unwrap();
    raise(Signal::SIGTERM).unwrap();
    tokio::select! {
        () = signals.drive(&stop) => unreachable!("it never ends"),
        () = stop.immediate.cancelled() => {}
    }
}

/// With a limit of the process itself, the other tests could write no file either; `tests/border/process.rs` has that.
#[test]
fn the_signal_of_a_file_that_is_too_large_ends_nothing() {
    ignore_file_size_signal().unwrap();
    raise(Signal::SIGXFSZ).unwrap();
}
