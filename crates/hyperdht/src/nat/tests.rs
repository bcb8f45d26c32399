#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn address(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

/// Reports of as many nodes.
fn sampler(reports: &[&str]) -> NatSampler {
    let mut sampler = NatSampler::default();
    for (number, seen) in reports.iter().enumerate() {
        sampler.add(node(number), address(seen));
    }
    sampler
}

fn node(number: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(9, 9, 9, u8::try_from(number).unwrap()), 1)
}

#[test]
fn three_equal_reports_show_a_consistent_nat() {
    assert_eq!(sampler(&["1.1.1.1:5", "1.1.1.1:5"]).classify(), (Firewall::UNKNOWN, None));
    let consistent = (Firewall::CONSISTENT, Some(address("1.1.1.1:5")));
    assert_eq!(sampler(&["1.1.1.1:5", "1.1.1.1:5", "1.1.1.1:5"]).classify(), consistent);
    assert_eq!(
        sampler(&["1.1.1.1:5", "1.1.1.1:7", "1.1.1.1:5", "1.1.1.1:5"]).classify(),
        consistent
    );
}

#[test]
fn different_ports_show_a_symmetric_nat() {
    let random = (Firewall::RANDOM, Some(address("1.1.1.1:0")));
    assert_eq!(sampler(&["1.1.1.1:5", "1.1.1.1:6", "1.1.1.1:7"]).classify(), random);
    assert_eq!(sampler(&["1.1.1.1:5", "1.1.1.1:5", "1.1.1.1:7"]).classify().0, Firewall::UNKNOWN);
    assert_eq!(sampler(&["1.1.1.1:5", "1.1.1.1:5", "1.1.1.1:7", "1.1.1.1:8"]).classify(), random);
}

#[test]
fn two_uplinks_are_consistent() {
    let two = sampler(&["1.1.1.1:5", "2.2.2.2:6", "1.1.1.1:5", "2.2.2.2:6"]);
    assert_eq!(two.classify().0, Firewall::CONSISTENT);
}

#[test]
fn a_node_counts_once_and_a_new_address_replaces_the_old_one() {
    let mut sampler = NatSampler::default();
    for _ in 0..10 {
        sampler.add(node(0), address("1.1.1.1:5"));
    }
    assert_eq!(sampler.classify().0, Firewall::UNKNOWN);
    for number in 0..20 {
        sampler.add(node(number), address("1.1.1.1:5"));
    }
    assert_eq!(sampler.samples.len(), MAX_SAMPLES);
    for number in 0..6 {
        sampler.add(node(number), address("2.2.2.2:6"));
    }
    assert_eq!(sampler.classify(), (Firewall::CONSISTENT, Some(address("2.2.2.2:6"))));
    sampler.add(node(30), address("2.2.2.2:0"));
    assert_eq!(sampler.samples.len(), MAX_SAMPLES, "a report without a port does not count");
}

#[test]
fn behind_a_symmetric_nat_the_local_port_stands_for_the_external_one() {
    let status = NatStatus::new(&sampler(&["1.1.1.1:5", "1.1.1.1:6", "1.1.1.1:7"]), 99, vec![address("10.0.0.1:99")]);
    assert!(status.is_symmetric_nat() && !status.is_consistent_nat() && !status.has_no_nat());
    assert_eq!(status.addresses(), [address("1.1.1.1:99"), address("10.0.0.1:99")]);
    let open = NatStatus::new(
        &sampler(&["10.0.0.1:5", "10.0.0.1:5", "10.0.0.1:5"]),
        5,
        vec![address("10.0.0.1:5")],
    );
    assert!(open.has_no_nat() && open.is_consistent_nat() && !open.is_symmetric_nat());
}

#[test]
fn the_nearest_address_shares_the_most_bytes() {
    let status = NatStatus::new(&NatSampler::default(), 1, vec![address("192.168.1.100:5000")]);
    let nearest = |theirs: &[&str]| status.nearest(&theirs.iter().map(|text| address(text)).collect::<Vec<_>>());
    assert_eq!(nearest(&["192.168.2.50:6", "192.168.1.99:7"]), Some(address("192.168.1.99:7")));
    assert_eq!(nearest(&["192.168.2.50:6", "192.0.1.99:7"]), Some(address("192.168.2.50:6")));
    assert_eq!(
        nearest(&["192.168.1.1:1", "192.168.1.100:2"]),
        Some(address("192.168.1.1:1")),
        "the first of equals"
    );
    assert_eq!(nearest(&["10.0.0.1:1"]), None);
    assert_eq!(nearest(&[]), None);
}

#[test]
fn there_is_always_a_local_address() {
    let local = local_addresses(7);
    assert!(local.iter().all(|address| address.port() == 7));
    assert_eq!(
        local.iter().any(|address| address.ip().is_loopback()),
        local == [address("127.0.0.1:7")]
    );
}

#[test]
fn addresses_of_small_networks_are_private() {
    for private in [
        "10.0.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "169.254.1.1",
    ] {
        assert!(is_private(private.parse().unwrap()), "{private}");
    }
    for public in ["88.99.3.86", "100.128.0.1", "100.63.0.1"] {
        assert!(!is_private(public.parse().unwrap()), "{public}");
    }
}
