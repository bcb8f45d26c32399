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
pub(crate) struct HandshakeReplyCache {
    replies: HashMap<Vec<u8>, Option<Vec<u8>>>,
    order: VecDeque<(Instant, Vec<u8>)>,
}

impl HandshakeReplyCache {
    /// Returns the cached reply to a handshake; `None` if it is not in the cache.
    pub(crate) fn get(&mut self, handshake: &[u8], now: Instant) -> Option<Option<Vec<u8>>> {
        while self.order.front().is_some_and(|(since, _)| now.duration_since(*since) >= TTL) {
            self.evict_oldest();
        }
        if handshake.len() > MAX_HANDSHAKE_BYTES {
            return Some(None);
        }
        self.replies.get(handshake).cloned()
    }

    /// Adds a reply.
    pub(crate) fn insert(&mut self, handshake: Vec<u8>, answer: Option<Vec<u8>>, now: Instant) {
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
mod tests;
