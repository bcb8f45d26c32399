//! Unit tests of `address.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

#[test]
fn addresses_with_and_without_a_scheme() {
    let key = PublicKey::new([7; 32]);
    for host_port in ["bridge.example:6557", "10.0.0.1:1", "[::1]:6557"] {
        let full = format!("quic://{key}@{host_port}");
        let address: LinkAddress = full.parse().unwrap();
        let quic = QuicAddress {
            key,
            host_port: host_port.into(),
        };
        assert_eq!((address.key(), &address), (key, &LinkAddress::Quic(quic)));
        assert_eq!(format!("{key}@{host_port}").parse(), Ok(address.clone()));
        assert_eq!(address.to_string(), full);
    }
    let full = format!("hyperdht://{key}");
    assert_eq!(
        (full.parse(), LinkAddress::Hyperdht(key).to_string()),
        (Ok(LinkAddress::Hyperdht(key)), full.clone())
    );
    for (bad, why) in [
        (format!("tcp://{key}"), "is neither quic://KEY@HOST:PORT nor hyperdht://KEY"),
        (format!("{full}@bridge:1"), "needs the key only"),
        ("hyperdht://abc".to_owned(), "z-base-32"),
        ("quic://bridge:1".to_owned(), "has no key"),
        (format!("quic://{key}"), "has no address"),
        (key.to_string(), "the key alone is hyperdht://"),
        ("quic://abc@bridge:1".to_owned(), "z-base-32"),
        (format!("quic://{key}@bridge"), "HOST:PORT"),
        (format!("quic://{key}@:1"), "HOST:PORT"),
        (format!("quic://{key}@bridge:0"), "HOST:PORT"),
    ] {
        let error = bad.parse::<LinkAddress>().unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*|quic://[a-z0-9]{52}@\\PC*|hyperdht://\\PC*") {
        let _ = text.parse::<LinkAddress>();
    }
}
