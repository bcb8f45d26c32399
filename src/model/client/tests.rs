#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn an_ipv6_network_is_one_client() {
    let network = |text: &str| Client::Ip(text.parse().unwrap()).network().to_string();
    assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(network("10.1.2.3"), "10.1.2.3");
    let behind = |text: &str| Client::Behind(text.parse().unwrap()).network();
    assert_eq!(behind("2001:db8:1:2:3:4:5:6"), Client::Ip("2001:db8:1:2::".parse().unwrap()));
    assert_eq!(behind("10.1.2.3"), Client::Ip("10.1.2.3".parse().unwrap()));
    assert_eq!(Client::Link("key".into()).network(), Client::Link("key".into()));
}
