//! What was answered to handshakes of late: each arrives through several relays, and all of them must be told the same.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// How long the copies of a handshake may be apart; what the JavaScript side allows.
const TTL: Duration = Duration::from_secs(10);
/// Handshakes that are remembered at once. Strangers can send as many as they like, so the oldest go first.
const MAX_ENTRIES: usize = 1024;
/// The longest handshake that is remembered: addresses and relays fit in many times over. A longer one is not looked at.
const MAX_HANDSHAKE_BYTES: usize = 4096;

/// Handshakes and what was said to them; nothing, to some.
#[derive(Default)]
pub(super) struct HandshakeReplyCache {
    replies: HashMap<Vec<u8>, Option<Vec<u8>>>,
    order: VecDeque<(Instant, Vec<u8>)>,
}

impl HandshakeReplyCache {
    /// What was said to this handshake; `None` where it is new.
    pub(super) fn get(&mut self, handshake: &[u8], now: Instant) -> Option<Option<Vec<u8>>> {
        while self.order.front().is_some_and(|(since, _)| now.duration_since(*since) >= TTL) {
            self.evict_oldest();
        }
        if handshake.len() > MAX_HANDSHAKE_BYTES {
            return Some(None);
        }
        self.replies.get(handshake).cloned()
    }

    /// Remembers what was said.
    pub(super) fn insert(&mut self, handshake: Vec<u8>, answer: Option<Vec<u8>>, now: Instant) {
        if self.order.len() == MAX_ENTRIES {
            self.evict_oldest();
        }
        if self.replies.insert(handshake.clone(), answer).is_none() {
            self.order.push_back((now, handshake));
        }
    }

    fn evict_oldest(&mut self) {
        if let Some((_, handshake)) = self.order.pop_front() {
            self.replies.remove(&handshake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_answered_alike_for_a_while() {
        let (mut cache, start) = (HandshakeReplyCache::default(), Instant::now());
        assert_eq!(cache.get(b"a", start), None);
        cache.insert(b"a".to_vec(), Some(b"yes".to_vec()), start);
        cache.insert(b"b".to_vec(), None, start + TTL / 2);
        assert_eq!(cache.get(b"a", start + TTL / 2), Some(Some(b"yes".to_vec())));
        assert_eq!(cache.get(b"b", start + TTL / 2), Some(None));
        assert_eq!(cache.get(b"a", start + TTL), None);
        assert_eq!(cache.get(b"b", start + TTL), Some(None));
    }

    #[test]
    fn a_flood_is_forgotten_from_its_start_and_long_ones_are_not_looked_at() {
        let (mut cache, now) = (HandshakeReplyCache::default(), Instant::now());
        for number in 0..MAX_ENTRIES + 10 {
            cache.insert(number.to_le_bytes().to_vec(), None, now);
        }
        assert_eq!((cache.replies.len(), cache.order.len()), (MAX_ENTRIES, MAX_ENTRIES));
        assert_eq!(cache.get(&9_usize.to_le_bytes(), now), None);
        assert_eq!(cache.get(&10_usize.to_le_bytes(), now), Some(None));
        assert_eq!(cache.get(&[0; MAX_HANDSHAKE_BYTES + 1], now), Some(None));
    }
}
