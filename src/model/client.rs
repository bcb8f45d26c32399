//! The client of a request, to which limits apply.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Prefix length of an IPv6 network. A client usually has all addresses of its network.
const NETWORK_BITS: u32 = 64;

/// Client of a request, behind trusted proxies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Client {
    /// An address; loopback for a Unix socket. IPv4 addresses are never IPv4-mapped IPv6.
    Ip(IpAddr),
    /// An unknown client behind this address, which forwards requests and is not a trusted proxy. IPv4 as above.
    Behind(IpAddr),
    /// The public key of the peer of a link, followed by a space and the address of its client, if known.
    Link(Arc<str>),
}

impl Client {
    /// The client for the purpose of limits: all addresses of an IPv6 network count as one, and so do the clients behind an address.
    #[must_use]
    pub fn network(&self) -> Self {
        match self {
            Self::Ip(IpAddr::V6(address)) | Self::Behind(IpAddr::V6(address)) => {
                let mask = u128::MAX << (128 - NETWORK_BITS);
                Self::Ip(Ipv6Addr::from_bits(address.to_bits() & mask).into())
            }
            Self::Ip(address) | Self::Behind(address) => Self::Ip(*address),
            Self::Link(_) => self.clone(),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) | Self::Behind(ip) => ip.fmt(f),
            Self::Link(key) => f.write_str(key),
        }
    }
}

#[cfg(test)]
mod tests;
