//! The client of a request by `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};

use exporter_proxy::http::{Client, PeerAddr, effective_client};
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

/// Checks the header, one value per input line, in front of a trusted and an untrusted peer: the client behind an untrusted peer or hop is
/// unknown, lines are the same as one list, and no text to the left of an untrusted hop changes the client.
pub fn check(input: &[u8]) {
    let trusted: [IpNet; 1] = ["10.0.0.0/8".parse().expect("a network")];
    let lines: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
    let Some(headers) = headers(&lines) else { return };
    let stranger = peer("192.0.2.1:5");
    assert_eq!(effective_client(&stranger, &headers, &trusted), behind("192.0.2.1"));
    let proxy = peer("10.0.0.1:5");
    assert_eq!(effective_client(&proxy, &headers, &[]), behind("10.0.0.1"));
    let found = effective_client(&proxy, &headers, &trusted);
    // Lines that are not visible ASCII have no hops, so they must not be joined with others.
    if lines.iter().all(|line| line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))) {
        let joined = lines.join(&b',');
        let joined = self::headers(&[&joined]).expect("a list of valid values is valid");
        assert_eq!(effective_client(&proxy, &joined, &trusted), found);
    }
    let spoofed: Vec<&[u8]> = lines.iter().copied().chain([&b"198.51.100.7, 10.9.9.9"[..]]).collect();
    let spoofed = self::headers(&spoofed).expect("the values are valid");
    assert_eq!(effective_client(&proxy, &spoofed, &trusted), behind("198.51.100.7"));
    let link = effective_client(&PeerAddr::Link("key".into()), &headers, &trusted);
    assert!(matches!(link, Client::Link(name) if &*name == "key" || name.starts_with("key ")));
}

fn headers(lines: &[&[u8]]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append("x-forwarded-for", HeaderValue::from_bytes(line).ok()?);
    }
    Some(headers)
}

fn peer(address: &str) -> PeerAddr {
    PeerAddr::Tcp(address.parse::<SocketAddr>().expect("an address with a port"))
}

fn behind(address: &str) -> Client {
    Client::Behind(address.parse::<IpAddr>().expect("an address"))
}
