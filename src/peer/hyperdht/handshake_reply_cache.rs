//! Cache of replies to handshakes: a handshake arrives through several relays, and all of them must return the same reply.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// Lifetime of an entry, the same as in the JavaScript implementation.
const TTL: Duration = Duration::from_secs(10);
/// Limit on entries. Unauthenticated peers can send any number of handshakes, so the oldest is evicted.
const MAX_ENTRIES: usize = 1024;
/// Limit on the bytes of a handshake, several times the size of a legitimate one. Longer ones are ignored.
const MAX_HANDSHAKE_BYTES: usize = 4096;

/// Handshakes and their replies; `None` for handshakes that are not answered.
#[derive(Default)]
pub(super) struct HandshakeReplyCache {
    replies: HashMap<Vec<u8>, Option<Vec<u8>>>,
    order: VecDeque<(Instant, Vec<u8>)>,
}

impl HandshakeReplyCache {
    /// Returns the cached reply to a handshake; `None` if it is not in the cache.
    pub(super) fn get(&mut self, handshake: &[u8], now: Instant) -> Option<Option<Vec<u8>>> {
        while self.order.front().is_some_and(|(since, _)| now.duration_since(*since) >= TTL) {
            self.evict_oldest();
        }
        if handshake.len() > MAX_HANDSHAKE_BYTES {
            return Some(None);
        }
        self.replies.get(handshake).cloned()
    }

    /// Adds a reply.
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
