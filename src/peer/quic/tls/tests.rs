use super::*;

#[test]
fn a_rejection_does_not_tell_how_many_keys_are_admitted() {
    let key = |n: u8| PublicKey::new([n; 32]);
    let rejection = |admitted: &[u8]| {
        let keys = admitted.iter().map(|n| key(*n)).collect();
        KeyPolicy::Admitted(AdmittedKeys::Only(Arc::new(keys))).reject(key(9))
    };
    let one = rejection(&[1]);
    assert_eq!(one, rejection(&[1, 2, 3]));
    let text = one.unwrap_or_default();
    assert!(text.contains("is not admitted") && text.contains("p2p.allow"), "{text}");
    assert!(!text.contains(&key(1).to_string()), "{text}");
    assert_eq!(rejection(&[9]), None);
}
