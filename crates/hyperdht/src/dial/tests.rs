//! Unit tests of `dial.rs`.

use super::*;

#[test]
fn addresses_of_small_networks_are_private() {
    for private in [
        "10.0.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "169.254.1.1",
        "::1",
        "no address",
    ] {
        assert!(is_private(private), "{private}");
    }
    for public in ["88.99.3.86", "100.128.0.1", "100.63.0.1"] {
        assert!(!is_private(public), "{public}");
    }
}

#[test]
fn routes_are_bounded() {
    let mut relay_cache = RelayCache::default();
    for number in 0..MAX_CACHED_PEERS + 5 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        relay_cache.remember(PublicKey::new(key), &[]);
    }
    assert_eq!(relay_cache.0.len(), MAX_CACHED_PEERS);
}
