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
