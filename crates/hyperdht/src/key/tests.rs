use super::*;

/// The bytes of a hexadecimal text.
pub(crate) fn bytes<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), 2 * N);
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("two hexadecimal digits"))
}

/// The first test vector of RFC 8032, 7.1.
#[test]
fn a_seed_gives_the_key_of_the_standard() {
    let pair = KeyPair::from_seed(&bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
    let text = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(pair.public_key().to_string(), text);
    assert_eq!(format!("{pair:?}"), format!("KeyPair({text})"), "the private key is not shown");
    let signature = pair.sign(b"");
    assert_eq!(
        signature,
        bytes(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        )
    );
    assert!(pair.public_key().has_signed(b"", &signature));
    assert!(!pair.public_key().has_signed(b"x", &signature));
}

#[test]
fn two_keys_agree_on_one_secret() {
    let [a, b, c] = [1, 2, 3].map(|byte| KeyPair::from_seed(&[byte; 32]));
    let secret = a.agree(&b.public_key()).expect("two sound keys");
    assert_eq!(b.agree(&a.public_key()), Some(secret));
    assert_ne!(c.agree(&a.public_key()), Some(secret));
}

#[test]
fn points_without_a_secret_are_refused() {
    let pair = KeyPair::from_seed(&[1; 32]);
    // The neutral element, a point of order 8, and bytes that are not a point.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let order_8 = bytes("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa");
    let mut not_on_the_curve = [0; 32];
    not_on_the_curve[0] = 2;
    for bad in [neutral, order_8, not_on_the_curve] {
        assert_eq!(pair.agree(&PublicKey::new(bad)), None, "{bad:?}");
    }
}
