//! The effective client of a request: the peer of the connection, or the client that a trusted reverse proxy names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;

pub use crate::model::Client;

/// Limit on the evaluated hops of an X-Forwarded-For header. Real chains have a handful.
const MAX_HOPS: usize = 32;

/// Headers by which a peer shows that it forwards the request of another client.
const FORWARDING: [&str; 6] = [
    "x-forwarded-for",
    "x-real-ip",
    "forwarded",
    "via",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerAddr {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix socket: a program on this machine, with the user id that the kernel names for it.
    Unix {
        /// None if the kernel does not name one.
        uid: Option<u32>,
    },
    /// A stream of an authenticated link, with the peer's public key as text.
    Link(Arc<str>),
}

impl PeerAddr {
    /// The address, loopback for a Unix socket; or the key of the peer of a link.
    fn ip(&self) -> Result<IpAddr, &Arc<str>> {
        match self {
            Self::Tcp(address) => Ok(address.ip().to_canonical()),
            Self::Unix { .. } => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Self::Link(key) => Err(key),
        }
    }

    /// Returns true for a reverse proxy with headers that are evaluated.
    pub(super) fn is_trusted(&self, trusted: &[IpNet]) -> bool {
        self.ip().is_ok_and(|ip| contains(trusted, ip))
    }

    /// The subject of rate-limited log lines: the address without its port, which every connection has another of.
    pub(super) fn log_subject(&self) -> String {
        match self {
            Self::Tcp(address) => address.ip().to_string(),
            Self::Unix { .. } | Self::Link(_) => self.to_string(),
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { uid: Some(uid) } => write!(f, "unix uid {uid}"),
            Self::Unix { uid: None } => f.write_str("unix"),
            Self::Link(key) => f.write_str(key),
        }
    }
}

impl Client {
    /// Returns true if one of the networks contains the client. An unknown client is only in a network of all addresses, the peer of a
    /// link in none.
    #[must_use]
    pub fn is_in(&self, networks: &[IpNet]) -> bool {
        match self {
            Self::Ip(ip) => contains(networks, *ip),
            Self::Behind(_) => networks.iter().any(|network| network.prefix_len() == 0),
            Self::Link(_) => false,
        }
    }
}

/// Finds the client: from the peer leftwards through X-Forwarded-For for as long as each hop is trusted, else X-Real-Ip.
///
/// An address that these headers name is not believed if it comes from an untrusted peer, nor is one left of the first untrusted hop;
/// but they show that this hop forwards for another client, which is then unknown. The peer of a link is authenticated by its key, so the
/// last address that it forwards for is added to its name.
pub fn effective_client(peer: &PeerAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let here = match peer.ip() {
        Ok(ip) => ip,
        Err(key) => return Client::Link(on_behalf(key, headers)),
    };
    let is_trusted = contains(trusted, here);
    if is_trusted && headers.contains_key("x-forwarded-for") {
        return walk(here, headers, trusted);
    }
    if is_trusted && let Some(real) = headers.get("x-real-ip").and_then(|value| address(value.to_str().ok()?)) {
        return Client::Ip(real);
    }
    match is_forwarded(headers) {
        true => Client::Behind(here),
        false => Client::Ip(here),
    }
}

/// Returns true if a request says that its peer forwards it for another client.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDING.iter().any(|name| headers.contains_key(*name))
}

/// The host that a trusted reverse proxy was asked for (X-Forwarded-Host); the last one if several proxies added theirs.
pub(super) fn forwarded_host<'h>(peer: &PeerAddr, headers: &'h HeaderMap, trusted: &[IpNet]) -> Option<&'h str> {
    forwarded(peer, headers, trusted, "x-forwarded-host")
}

/// The value of a header that a trusted reverse proxy has set; the last one if several proxies added theirs.
pub(super) fn forwarded<'h>(peer: &PeerAddr, headers: &'h HeaderMap, trusted: &[IpNet], name: &str) -> Option<&'h str> {
    if !peer.is_trusted(trusted) {
        return None;
    }
    let last = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next().map(str::trim).filter(|value| !value.is_empty())
}

/// The key of a link's peer and the last address that it forwards for.
fn on_behalf(key: &Arc<str>, headers: &HeaderMap) -> Arc<str> {
    let last = headers.get_all("x-forwarded-for").iter().next_back();
    let hop = last.and_then(|line| address(line.to_str().ok()?.rsplit(',').next()?));
    hop.map_or_else(|| key.clone(), |hop| format!("{key} {hop}").into())
}

fn walk(here: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let lines: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|line| line.to_str().unwrap_or(""))
        .collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let mut client = here;
    for (n, hop) in hops.enumerate() {
        // An untrusted hop that forwards for another client, or a chain that is too long to be real.
        if n == MAX_HOPS || !contains(trusted, client) {
            return Client::Behind(client);
        }
        match address(hop) {
            Some(hop) => client = hop,
            None => return Client::Behind(client),
        }
    }
    Client::Ip(client)
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
mod tests;
