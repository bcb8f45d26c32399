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
    /// A Unix socket: a program on this machine, with the user id that the kernel names for it.
    Unix {
        /// None if the kernel does not name one.
        uid: Option<u32>,
    },
    /// A stream of an authenticated link, with the peer's public key as text.
    Link(Arc<str>),
}

impl PeerAddr {
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
        PeerAddr::Unix { .. } => IpAddr::V4(Ipv4Addr::LOCALHOST),
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

/// The host that a trusted reverse proxy was asked for (X-Forwarded-Host); the last one if several proxies added theirs.
pub(super) fn forwarded_host<'h>(peer: &PeerAddr, headers: &'h HeaderMap, trusted: &[IpNet]) -> Option<&'h str> {
    let PeerAddr::Tcp(address) = peer else { return None };
    if !contains(trusted, address.ip().to_canonical()) {
        return None;
    }
    let last = headers.get_all("x-forwarded-host").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next().map(str::trim).filter(|host| !host.is_empty())
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
mod tests;
