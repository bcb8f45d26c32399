//! Rate limit for log lines about unreachable peers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::peer::identity::PublicKey;

/// Interval for logging the same reason again.
const REPEAT_INTERVAL: Duration = Duration::from_secs(600);

/// Limit on entries, more than any program dials. Beyond it all are removed and logged again.
const MAX_PEERS: usize = 4_096;

/// The last logged reason of each unreachable peer, and its time.
#[derive(Debug, Default)]
pub(crate) struct UnreachablePeers(HashMap<PublicKey, (String, Instant)>);

impl UnreachablePeers {
    /// Returns true if the failure should be logged: the reason is new, or was logged longer than [`REPEAT_INTERVAL`] ago.
    pub(crate) fn should_log(&mut self, peer: &PublicKey, why: &str, now: Instant) -> bool {
        if let Some((before, logged)) = self.0.get(peer)
            && before == why
            && now.saturating_duration_since(*logged) < REPEAT_INTERVAL
        {
            return false;
        }
        if self.0.len() >= MAX_PEERS {
            self.0.clear();
        }
        self.0.insert(*peer, (why.to_owned(), now));
        true
    }

    /// Removes a peer that was reached: the next failure is logged.
    pub(crate) fn reached(&mut self, peer: &PublicKey) {
        self.0.remove(peer);
    }
}

#[cfg(test)]
mod tests;
