use super::*;

#[test]
fn the_number_of_peers_is_bounded() {
    let mut cache = RelayCache::default();
    let key = |number: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        PublicKey::new(key)
    };
    let relay = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 1);
    for number in 0..MAX_PEERS + 5 {
        cache.remember(key(number), &[relay]);
    }
    assert_eq!(cache.0.len(), MAX_PEERS);
    assert_eq!(cache.get(&key(MAX_PEERS + 4)), [relay]);
    assert!(cache.get(&key(MAX_PEERS + 5)).is_empty());
}
