#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn client(peer: &str, headers: &[(&'static str, &str)], trusted: &[&str]) -> String {
    let peer = if peer == "unix" {
        PeerAddr::Unix { uid: None }
    } else {
        PeerAddr::Tcp(peer.parse().unwrap())
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
    effective_client(&peer, &map, &trusted).to_string()
}

#[test]
fn only_trusted_hops_are_believed() {
    const XFF: &str = "x-forwarded-for";
    const REAL: &str = "x-real-ip";
    let ten = &["10.0.0.0/8"][..];
    type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], &'a [&'a str], &'a str);
    let table: &[Case<'_>] = &[
        ("1.2.3.4:5", &[], ten, "1.2.3.4"),
        ("1.2.3.4:5", &[(XFF, "9.9.9.9"), (REAL, "8.8.8.8")], ten, "1.2.3.4"),
        ("10.0.0.1:5", &[(XFF, "9.9.9.9")], &[], "10.0.0.1"),
        ("10.0.0.1:5", &[(XFF, "9.9.9.9")], ten, "9.9.9.9"),
        ("10.0.0.1:5", &[(XFF, "6.6.6.6, 9.9.9.9")], ten, "9.9.9.9"),
        ("10.0.0.1:5", &[(XFF, "6.6.6.6, 9.9.9.9 ,10.2.2.2")], ten, "9.9.9.9"),
        (
            "10.0.0.1:5",
            &[(XFF, "6.6.6.6"), (XFF, "9.9.9.9"), (XFF, "10.2.2.2")],
            ten,
            "9.9.9.9",
        ),
        ("10.0.0.1:5", &[(XFF, "10.3.3.3,10.2.2.2")], ten, "10.3.3.3"),
        ("10.0.0.1:5", &[(XFF, "9.9.9.9, nonsense, 10.2.2.2")], ten, "10.2.2.2"),
        ("10.0.0.1:5", &[(XFF, "")], ten, "10.0.0.1"),
        ("10.0.0.1:5", &[(XFF, "9.9.9.9:1234")], ten, "9.9.9.9"),
        ("10.0.0.1:5", &[(XFF, "[2001:db8::1]:80")], ten, "2001:db8::1"),
        ("10.0.0.1:5", &[(XFF, "[2001:db8::1]")], ten, "2001:db8::1"),
        ("10.0.0.1:5", &[(XFF, "2001:db8::1")], ten, "2001:db8::1"),
        ("10.0.0.1:5", &[(XFF, "::ffff:9.9.9.9")], ten, "9.9.9.9"),
        ("[::ffff:10.0.0.1]:5", &[(XFF, "9.9.9.9")], ten, "9.9.9.9"),
        ("10.0.0.1:5", &[(REAL, "8.8.8.8")], ten, "8.8.8.8"),
        ("10.0.0.1:5", &[(REAL, "x")], ten, "10.0.0.1"),
        ("10.0.0.1:5", &[(XFF, "9.9.9.9"), (REAL, "8.8.8.8")], ten, "9.9.9.9"),
        ("unix", &[(XFF, "9.9.9.9")], ten, "127.0.0.1"),
        ("unix", &[(XFF, "9.9.9.9")], &["127.0.0.0/8"], "9.9.9.9"),
    ];
    for (peer, headers, trusted, expected) in table {
        assert_eq!(client(peer, headers, trusted), *expected, "{peer} {headers:?} {trusted:?}");
    }
}

#[test]
fn a_forwarded_request_is_of_an_unknown_client_unless_a_trusted_proxy_names_it() {
    const XFF: &str = "x-forwarded-for";
    let (ten, networks) = (
        ["10.0.0.0/8".parse().unwrap()],
        ["10.0.0.0/8".parse().unwrap(), "9.0.0.0/8".parse().unwrap()],
    );
    let everywhere = ["0.0.0.0/0".parse().unwrap()];
    type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], bool);
    let table: &[Case<'_>] = &[
        ("9.1.1.1:5", &[], true),
        ("9.1.1.1:5", &[(XFF, "9.9.9.9")], false),
        ("9.1.1.1:5", &[("x-real-ip", "9.9.9.9")], false),
        ("9.1.1.1:5", &[("forwarded", "for=9.9.9.9")], false),
        ("9.1.1.1:5", &[("via", "1.1 squid")], false),
        ("9.1.1.1:5", &[("x-forwarded-host", "h")], false),
        ("9.1.1.1:5", &[("x-forwarded-proto", "https")], false),
        ("9.1.1.1:5", &[("x-forwarded-prefix", "/p")], true),
        ("10.0.0.1:5", &[], true),
        ("10.0.0.1:5", &[("via", "1.1 squid")], false),
        ("10.0.0.1:5", &[("x-forwarded-host", "h")], false),
        ("10.0.0.1:5", &[("x-real-ip", "unknown")], false),
        ("10.0.0.1:5", &[("x-real-ip", "9.9.9.9"), ("via", "1.1 squid")], true),
        ("10.0.0.1:5", &[(XFF, "9.9.9.9"), ("via", "1.1 squid")], true),
        ("10.0.0.1:5", &[(XFF, "unknown")], false),
        ("10.0.0.1:5", &[(XFF, "6.6.6.6, 9.9.9.9")], false),
        ("10.0.0.1:5", &[(XFF, "9.9.9.9, 10.0.0.2")], true),
        ("10.0.0.1:5", &[(XFF, "unknown, 10.0.0.2")], false),
    ];
    for (peer, headers, is_named) in table {
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let found = effective_client(&PeerAddr::Tcp(peer.parse().unwrap()), &map, &ten);
        assert_eq!(found.is_in(&networks), *is_named, "{peer} {headers:?}");
        assert_eq!(matches!(found, Client::Behind(_)), !is_named, "{peer} {headers:?}");
        assert!(found.is_in(&everywhere), "{peer} {headers:?}");
    }
}

#[test]
fn a_long_chain_is_not_walked_for_ever() {
    let chain = ["10.0.0.2"; 1_000].join(",") + ",";
    assert_eq!(
        client("10.0.0.1:5", &[("x-forwarded-for", chain.trim_end_matches(','))], &["10.0.0.0/8"]),
        "10.0.0.2"
    );
}

#[test]
fn a_link_is_known_by_its_key_and_in_no_network() {
    let mut headers = HeaderMap::new();
    let everywhere: [IpNet; 2] = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    assert_eq!(
        effective_client(&PeerAddr::Link("key".into()), &headers, &everywhere),
        Client::Link("key".into())
    );
    headers.insert("x-forwarded-for", "8.8.8.8, 9.9.9.9".parse().unwrap());
    let found = effective_client(&PeerAddr::Link("key".into()), &headers, &everywhere);
    assert_eq!(found, Client::Link("key 9.9.9.9".into()));
    assert!(!found.is_in(&everywhere));
    assert!(Client::Ip("::1".parse().unwrap()).is_in(&everywhere));
}

fn hop() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]:80")),
        (0_u8..4).prop_map(|n| format!("10.0.0.{n}")),
        "[ -+--~]{0,12}",
    ]
}

proptest! {
    #[test]
    fn nothing_left_of_an_untrusted_hop_counts(spoofed in prop::collection::vec(hop(), 0..6), trusted in 0_usize..4, lines: bool) {
        let chain: Vec<String> = spoofed
            .into_iter()
            .chain(["192.0.2.1".to_owned()])
            .chain((0..trusted).map(|n| format!("10.0.1.{n}")))
            .collect();
        let joined = chain.join(", ");
        let values: Vec<&str> = if lines { chain.iter().map(String::as_str).collect() } else { vec![&joined] };
        let headers: Vec<_> = values.into_iter().map(|value| ("x-forwarded-for", value)).collect();
        prop_assert_eq!(client("10.0.0.1:5", &headers, &["10.0.0.0/8"]), "192.0.2.1");
        prop_assert_eq!(client("192.0.2.9:5", &headers, &["10.0.0.0/8"]), "192.0.2.9", "an untrusted peer");
    }

    #[test]
    fn the_client_is_the_peer_or_one_of_the_hops(value in prop::collection::vec(any::<u8>(), 0..80)) {
        let Ok(value) = http::HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", value.clone());
        let found = effective_client(&PeerAddr::Tcp("10.0.0.1:5".parse().unwrap()), &headers, &["10.0.0.0/8".parse().unwrap()]);
        let hops = value.to_str().unwrap_or_default().split(',').filter_map(address).map(Client::Ip);
        let found = found.network();
        prop_assert!(hops.chain([Client::Ip("10.0.0.1".parse().unwrap())]).any(|hop| hop.network() == found), "{:?}", found);
    }
}
