use super::*;

#[test]
fn keys_are_bounded_and_those_that_register_again_stay() {
    let key = |n: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        PublicKey::new(bytes)
    };
    let known = KnownKeys::default();
    for n in 1..=2 * MAX_KEYS as u64 {
        known.add(key(0));
        known.add(key(n));
        assert!(known.lock().added.len() <= MAX_KEYS);
    }
    assert!(known.contains(key(0)) && known.contains(key(2 * MAX_KEYS as u64)) && !known.contains(key(1)));
}
