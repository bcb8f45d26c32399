#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

#[test]
fn addresses_of_every_kind() {
    for good in [
        "0.0.0.0:6555",
        "[::1]:80",
        "localhost:6555",
        "node_exporter:0",
        "a-b.example.:65535",
    ] {
        assert_eq!(HostPort::parse(good).unwrap().to_string(), good);
    }
    assert_eq!(HostPort::parse("[::]:1").unwrap().host(), "::");
}

#[test]
fn an_invalid_address_is_refused_with_its_reason() {
    let cases = [
        ("localhost", "missing port"),
        (":6555", "missing host"),
        ("::1:80", "needs brackets"),
        ("[1.2.3.4]:80", "neither"),
        ("300.1.1.1:80", "neither"),
        ("a b:80", "neither"),
        ("-a:80", "neither"),
        ("a:", "0 to 65535"),
        ("a:65536", "0 to 65535"),
        ("a:+5", "not a number"),
        ("", "missing port"),
        ("http://0.0.0.0:9000", "without a scheme"),
    ];
    for (text, why) in cases {
        let message = HostPort::parse(text).unwrap_err();
        assert!(message.contains(why) && message.starts_with(&format!("{text:?}")), "{message}");
    }
}

#[test]
fn collisions_are_certain_ones() {
    let at = |text| HostPort::parse(text).unwrap();
    assert!(at("0.0.0.0:1").collides_with(&at("127.0.0.1:1")));
    assert!(at("LOCALHOST:1").collides_with(&at("localhost:1")));
    assert!(at("[::]:1").collides_with(&at("[::1]:1")));
    assert!(!at("127.0.0.1:1").collides_with(&at("127.0.0.2:1")));
    assert!(!at("127.0.0.1:0").collides_with(&at("127.0.0.1:0")));
    assert!(!at("[::]:1").collides_with(&at("0.0.0.0:1")));
    assert!(!at("a:1").collides_with(&at("a:2")));
}

#[test]
fn networks_and_bare_addresses() {
    assert_eq!(parse_network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
    assert_eq!(parse_network("127.0.0.1").unwrap().to_string(), "127.0.0.1/32");
    assert_eq!(parse_network("::1").unwrap().to_string(), "::1/128");
    for bad in ["", "10.0.0.0/33", "localhost", "10.0.0/8", "1.2.3.4:80"] {
        assert!(parse_network(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_read_reads_back(text in "[\\[\\]0-9a-f:.%-]{0,40}|\\PC{0,40}") {
        let _ = parse_network(&text);
        if let Ok(address) = HostPort::parse(&text) {
            prop_assert_eq!(HostPort::parse(&address.to_string()), Ok(address));
        }
    }
}
