//! The decision whether a replica is ready: whole, and with the engine that the others have.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// The time without the engine after which a replica asks the others. Shorter than a scrape interval, so that a balancer leaves it out before
/// it shows many outdated values; longer than a restart of the engine takes.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// A state of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// It serves what the others serve.
    Yes,
    /// It has not loaded all apps yet.
    Loading,
    /// It has lost the engine, which others hold.
    Alone,
}

/// The state of the connection to the engine.
#[derive(Debug)]
pub(super) struct Connectivity {
    /// True once all apps of the engine were loaded.
    whole: bool,
    /// The time since which there is no connection, or no complete one; `None` with one.
    lost_since: Option<Instant>,
    /// True if another replica has answered that it holds the engine.
    others_hold: bool,
}

impl Connectivity {
    /// A replica that has just started.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            whole: false,
            lost_since: Some(now),
            others_hold: false,
        }
    }

    /// The store has all that the engine has.
    pub(super) fn synchronized(&mut self) {
        self.whole = true;
        self.lost_since = None;
        self.others_hold = false;
    }

    /// The connection is lost.
    pub(super) fn lost(&mut self, now: Instant) {
        self.lost_since.get_or_insert(now);
    }

    /// True if the others are to be asked for the engine now.
    pub(super) fn asks(&self, now: Instant) -> bool {
        self.whole && self.lost_since.is_some_and(|since| now.saturating_duration_since(since) >= GRACE)
    }

    /// Notes whether one of the others holds the engine.
    pub(super) fn answered(&mut self, hold: bool) {
        self.others_hold = hold && self.lost_since.is_some();
    }

    /// True once all apps of the engine were loaded.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The readiness.
    pub(super) fn ready(&self) -> Ready {
        match (self.whole, self.others_hold) {
            (false, _) => Ready::Loading,
            (true, true) => Ready::Alone,
            (true, false) => Ready::Yes,
        }
    }
}
