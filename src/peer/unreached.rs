//! Which ends could not be reached, so that the log tells of each once and not at every try.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::PublicKey;

/// How long nothing is said of an end that stays out of reach for the same reason.
const SILENCE: Duration = Duration::from_secs(600);

/// Ends of which it is remembered that they are out of reach: more than any program dials. Beyond it all are told of anew.
const MAX_PEERS: usize = 4_096;

/// Why each end that is out of reach is so, and when that was said.
#[derive(Debug, Default)]
pub(super) struct Unreached(HashMap<PublicKey, (String, Instant)>);

impl Unreached {
    /// Whether this is news: another reason than before, or the same after a long silence.
    pub(super) fn is_news(&mut self, peer: &PublicKey, why: &str, now: Instant) -> bool {
        if let Some((before, said)) = self.0.get(peer)
            && before == why
            && now.saturating_duration_since(*said) < SILENCE
        {
            return false;
        }
        if self.0.len() >= MAX_PEERS {
            self.0.clear();
        }
        self.0.insert(*peer, (why.to_owned(), now));
        true
    }

    /// It has been heard of: the next failure is news.
    pub(super) fn reached(&mut self, peer: &PublicKey) {
        self.0.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_until_something_changes() {
        let (mut unreached, start) = (Unreached::default(), Instant::now());
        let [one, other] = [1, 2].map(|byte| PublicKey::new([byte; 32]));
        assert!(unreached.is_news(&one, "timed out", start));
        assert!(!unreached.is_news(&one, "timed out", start + SILENCE / 2));
        assert!(unreached.is_news(&other, "timed out", start), "another end");
        assert!(unreached.is_news(&one, "refused", start + SILENCE / 2), "another reason");
        assert!(unreached.is_news(&one, "refused", start + SILENCE * 2), "after a long silence");
        unreached.reached(&one);
        assert!(unreached.is_news(&one, "refused", start + SILENCE * 2), "it was there in between");
    }
}
