#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

#[test]
fn addresses_print_as_they_were_written() {
    for text in [
        "/ip4/0.0.0.0/tcp/4001".to_owned(),
        "/ip6/::1/udp/4001/quic-v1".to_owned(),
        format!("/dns4/node.example/tcp/4001/p2p/{PEER}"),
        format!("/dns/node/udp/1/quic-v1/p2p/{PEER}"),
        "/dns6/a-b_c.example/tcp/0".to_owned(),
        "/ip4/1.2.3.4/tcp/1/p2p/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn".to_owned(),
    ] {
        assert_eq!(text.parse::<NodeAddress>().unwrap().to_string(), text);
    }
}

#[test]
fn each_wrong_part_is_named() {
    for (text, error) in [
        ("", NodeAddressError::Form),
        ("ip4/1.2.3.4/tcp/1", NodeAddressError::Form),
        ("1.2.3.4:4001", NodeAddressError::Form),
        ("/ip4/1.2.3.4", NodeAddressError::Form),
        ("/ip4/1.2.3.4/udp/1", NodeAddressError::Form),
        ("/ip4/1.2.3.4/udp/1/quic", NodeAddressError::Form),
        ("/ip4/1.2.3.4/tcp/1/ws", NodeAddressError::Form),
        ("/ip4/1.2.3.4/sctp/1", NodeAddressError::Form),
        ("/ip4/1.2.3.4/tcp/1/p2p", NodeAddressError::Form),
        ("/ip4/::1/tcp/1", NodeAddressError::Ip),
        ("/ip6/1.2.3.4/tcp/1", NodeAddressError::Ip),
        ("/dns4/a b/tcp/1", NodeAddressError::Name),
        ("/dns4//tcp/1", NodeAddressError::Name),
        ("/ip4/1.2.3.4/tcp/65536", NodeAddressError::Port),
        ("/ip4/1.2.3.4/tcp/1/p2p/bafzaajaia", NodeAddressError::Peer),
        ("/ip4/1.2.3.4/tcp/1/p2p/12D3", NodeAddressError::Peer),
    ] {
        assert_eq!(text.parse::<NodeAddress>(), Err(error), "{text}");
    }
    let long = format!("/ip4/1.2.3.4/tcp/1/p2p/{PEER}/p2p-circuit");
    assert_eq!(long.parse::<NodeAddress>(), Err(NodeAddressError::Form));
}

#[test]
fn the_address_of_a_socket_has_no_name_and_no_peer() {
    let address: NodeAddress = format!("/dns/node/udp/7/quic-v1/p2p/{PEER}").parse().unwrap();
    assert_eq!(address.with_ip([127, 0, 0, 1].into()).to_string(), "/ip4/127.0.0.1/udp/7/quic-v1");
}
