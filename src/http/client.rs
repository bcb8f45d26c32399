//! The effective client of a request: the peer of the connection, or the client that a trusted reverse proxy names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;

pub use crate::model::Client;

/// Limit on the evaluated hops of an X-Forwarded-For header. Real chains have a handful.
const MAX_HOPS: usize = 32;

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerAddr {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix socket: a program on this machine.
    Unix,
    /// A stream of an authenticated link, with the peer's public key as text.
    Link(Arc<str>),
}

impl PeerAddr {
    /// The subject of rate-limited log lines: the address without its port, which every connection has another of.
    pub(super) fn log_subject(&self) -> String {
        match self {
            Self::Tcp(address) => address.ip().to_string(),
            Self::Unix | Self::Link(_) => self.to_string(),
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
            Self::Link(key) => f.write_str(key),
        }
    }
}

impl Client {
    /// Returns true if one of the networks contains the client. The peer of a link is in none.
    #[must_use]
    pub fn is_in(&self, networks: &[IpNet]) -> bool {
        match self {
            Self::Ip(ip) => contains(networks, *ip),
            Self::Link(_) => false,
        }
    }
}

/// Finds the client: from the peer leftwards through X-Forwarded-For for as long as each hop is trusted, else X-Real-Ip.
///
/// These headers are ignored if they come from an untrusted peer, and so is everything left of the first untrusted hop. The peer of a
/// link is authenticated by its key, so the last address that it forwards for is added to its name.
pub fn effective_client(peer: &PeerAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let here = match peer {
        PeerAddr::Tcp(address) => address.ip().to_canonical(),
        PeerAddr::Unix => IpAddr::V4(Ipv4Addr::LOCALHOST),
        PeerAddr::Link(key) => return Client::Link(on_behalf(key, headers)),
    };
    if !contains(trusted, here) {
        return Client::Ip(here);
    }
    if headers.contains_key("x-forwarded-for") {
        return Client::Ip(walk(here, headers, trusted));
    }
    let real = headers.get("x-real-ip").and_then(|value| address(value.to_str().ok()?));
    Client::Ip(real.unwrap_or(here))
}

/// The key of a link's peer and the last address that it forwards for.
fn on_behalf(key: &Arc<str>, headers: &HeaderMap) -> Arc<str> {
    let last = headers.get_all("x-forwarded-for").iter().next_back();
    let hop = last.and_then(|line| address(line.to_str().ok()?.rsplit(',').next()?));
    hop.map_or_else(|| key.clone(), |hop| format!("{key} {hop}").into())
}

fn walk(mut client: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let lines: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|line| line.to_str().unwrap_or(""))
        .collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    for hop in hops.take(MAX_HOPS) {
        // An invalid address ends the chain at the last valid one.
        let Some(hop) = address(hop) else { break };
        client = hop;
        if !contains(trusted, client) {
            break;
        }
    }
    client
}

/// An address in the forms that proxies write: bare, with a port, in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = bare
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&ip))
}

fn contains(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)], trusted: &[&str]) -> String {
        let peer = if peer == "unix" {
            PeerAddr::Unix
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
            prop_assert!(hops.chain([Client::Ip("10.0.0.1".parse().unwrap())]).any(|hop| hop == found), "{:?}", found);
        }
    }
}
