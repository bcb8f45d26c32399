//! What was answered to handshakes of late: each arrives through several relays, and all of them must be told the same.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// How long the copies of a handshake may be apart; what the JavaScript side allows.
const SPREAD: Duration = Duration::from_secs(10);
/// Handshakes that are remembered at once. Strangers can send as many as they like, so the oldest go first.
const MEMORY: usize = 1024;
/// The longest handshake that is remembered: addresses and relays fit in many times over. A longer one is not looked at.
const MAX_BYTES: usize = 4096;

/// Handshakes and what was said to them; nothing, to some.
#[derive(Default)]
pub(super) struct Answers {
    said: HashMap<Vec<u8>, Option<Vec<u8>>>,
    order: VecDeque<(Instant, Vec<u8>)>,
}

impl Answers {
    /// What was said to this handshake; `None` where it is new.
    pub(super) fn find(&mut self, handshake: &[u8], now: Instant) -> Option<Option<Vec<u8>>> {
        while self.order.front().is_some_and(|(since, _)| now.duration_since(*since) >= SPREAD) {
            self.forget();
        }
        if handshake.len() > MAX_BYTES {
            return Some(None);
        }
        self.said.get(handshake).cloned()
    }

    /// Remembers what was said.
    pub(super) fn keep(&mut self, handshake: Vec<u8>, answer: Option<Vec<u8>>, now: Instant) {
        if self.order.len() == MEMORY {
            self.forget();
        }
        if self.said.insert(handshake.clone(), answer).is_none() {
            self.order.push_back((now, handshake));
        }
    }

    fn forget(&mut self) {
        if let Some((_, handshake)) = self.order.pop_front() {
            self.said.remove(&handshake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_answered_alike_for_a_while() {
        let (mut answers, start) = (Answers::default(), Instant::now());
        assert_eq!(answers.find(b"a", start), None);
        answers.keep(b"a".to_vec(), Some(b"yes".to_vec()), start);
        answers.keep(b"b".to_vec(), None, start + SPREAD / 2);
        assert_eq!(answers.find(b"a", start + SPREAD / 2), Some(Some(b"yes".to_vec())));
        assert_eq!(answers.find(b"b", start + SPREAD / 2), Some(None));
        assert_eq!(answers.find(b"a", start + SPREAD), None);
        assert_eq!(answers.find(b"b", start + SPREAD), Some(None));
    }

    #[test]
    fn a_flood_is_forgotten_from_its_start_and_long_ones_are_not_looked_at() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        for number in 0..MEMORY + 10 {
            answers.keep(number.to_le_bytes().to_vec(), None, now);
        }
        assert_eq!((answers.said.len(), answers.order.len()), (MEMORY, MEMORY));
        assert_eq!(answers.find(&9_usize.to_le_bytes(), now), None);
        assert_eq!(answers.find(&10_usize.to_le_bytes(), now), Some(None));
        assert_eq!(answers.find(&[0; MAX_BYTES + 1], now), Some(None));
    }
}
