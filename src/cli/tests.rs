#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::sync::mpsc;

use super::*;
use crate::supervise::blocking;

#[test]
fn a_cause_is_told_once() {
    #[derive(Debug, thiserror::Error)]
    enum Refused {
        #[error("not a file of groups: {0}")]
        Repeats(#[from] std::fmt::Error),
        #[error("cannot read")]
        Names(#[source] std::fmt::Error),
    }
    let cause = std::fmt::Error.to_string();
    let repeats = anyhow::Error::new(Refused::Repeats(std::fmt::Error)).context("groups.bin");
    assert_eq!(with_causes(&repeats), format!("groups.bin: not a file of groups: {cause}"));
    let names = anyhow::Error::new(Refused::Names(std::fmt::Error));
    assert_eq!(with_causes(&names), format!("cannot read: {cause}"));
}

#[test]
fn a_lookup_that_a_command_has_given_up_is_not_waited_for() {
    let (release, released) = mpsc::channel::<()>();
    let (start, started) = mpsc::channel();
    let lookup = async {
        let hanging = blocking(move || {
            start.send(()).unwrap();
            released.recv()
        });
        tokio::select! {
            biased;
            _ = hanging => unreachable!("it is not released"),
            () = std::future::ready(()) => {}
        }
        started.recv().unwrap();
        Ok(7)
    };
    assert_eq!(block_on(lookup).unwrap(), 7);
    // Until here the blocking call could not end.
    drop(release);
}
