//! Multiaddresses of IPFS nodes, as far as they can be dialed or listened on here: TCP and QUIC, with an IP address or a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::base58;
use super::bitswap::multihash_is_peer_id;

/// The longest host name of the DNS.
const MAX_NAME_BYTES: usize = 253;

/// Versions of IP that the name of a node is resolved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// Any: `dns`.
    Any,
    /// IPv4: `dns4`.
    Ip4,
    /// IPv6: `dns6`.
    Ip6,
}

/// The host in an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NodeHost {
    /// An IP address.
    Ip(IpAddr),
    /// A name.
    Name(NameKind, String),
}

/// The transport in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeTransport {
    /// `tcp`, with Noise or TLS.
    Tcp,
    /// `udp` and `quic-v1`.
    Quic,
}

/// The multiaddress of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeAddress {
    /// The host.
    pub host: NodeHost,
    /// The port.
    pub port: u16,
    /// The transport.
    pub transport: NodeTransport,
    /// The peer id in base58, if the address has one.
    pub peer: Option<String>,
}

/// Error of [`NodeAddress::from_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeAddressError {
    /// It is not of one of the supported forms.
    #[error("expected /ip4/ADDRESS/tcp/PORT or /ip4/ADDRESS/udp/PORT/quic-v1, or with ip6, dns, dns4 or dns6")]
    Form,
    /// The IP address is invalid.
    #[error("an invalid IP address")]
    Ip,
    /// The name is invalid.
    #[error("an invalid host name")]
    Name,
    /// The port is invalid.
    #[error("an invalid port")]
    Port,
    /// The peer id is invalid.
    #[error("an invalid peer id: expected its base58 form, such as 12D3KooW... or Qm...")]
    Peer,
}

impl NodeAddress {
    /// The address with an IP address in place of the host, without the peer id: what a socket connects to.
    #[must_use]
    pub fn with_ip(&self, ip: IpAddr) -> Self {
        Self {
            host: NodeHost::Ip(ip),
            port: self.port,
            transport: self.transport,
            peer: None,
        }
    }
}

impl FromStr for NodeAddress {
    type Err = NodeAddressError;

    fn from_str(text: &str) -> Result<Self, NodeAddressError> {
        let mut parts = text.strip_prefix('/').ok_or(NodeAddressError::Form)?.split('/');
        let mut next = || parts.next().ok_or(NodeAddressError::Form);
        let name = |kind, name: &str| match name {
            name if is_name(name) => Ok(NodeHost::Name(kind, name.to_owned())),
            _ => Err(NodeAddressError::Name),
        };
        let host = match (next()?, next()?) {
            ("ip4", ip) => NodeHost::Ip(IpAddr::V4(ip.parse::<Ipv4Addr>().map_err(|_| NodeAddressError::Ip)?)),
            ("ip6", ip) => NodeHost::Ip(IpAddr::V6(ip.parse::<Ipv6Addr>().map_err(|_| NodeAddressError::Ip)?)),
            ("dns", host) => name(NameKind::Any, host)?,
            ("dns4", host) => name(NameKind::Ip4, host)?,
            ("dns6", host) => name(NameKind::Ip6, host)?,
            _ => return Err(NodeAddressError::Form),
        };
        let (transport, port) = (next()?, next()?);
        let port = port.parse().map_err(|_| NodeAddressError::Port)?;
        let transport = match transport {
            "tcp" => NodeTransport::Tcp,
            "udp" if next()? == "quic-v1" => NodeTransport::Quic,
            _ => return Err(NodeAddressError::Form),
        };
        let peer = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some("p2p"), Some(peer), None) => Some(peer.to_owned()),
            _ => return Err(NodeAddressError::Form),
        };
        if let Some(peer) = &peer {
            let bytes = base58::decode(peer).ok_or(NodeAddressError::Peer)?;
            if !multihash_is_peer_id(&bytes) {
                return Err(NodeAddressError::Peer);
            }
        }
        Ok(Self {
            host,
            port,
            transport,
            peer,
        })
    }
}

/// Returns true for letters, digits, dots, hyphens and underscores.
fn is_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(valid)
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            NodeHost::Ip(IpAddr::V4(ip)) => write!(f, "/ip4/{ip}")?,
            NodeHost::Ip(IpAddr::V6(ip)) => write!(f, "/ip6/{ip}")?,
            NodeHost::Name(NameKind::Any, name) => write!(f, "/dns/{name}")?,
            NodeHost::Name(NameKind::Ip4, name) => write!(f, "/dns4/{name}")?,
            NodeHost::Name(NameKind::Ip6, name) => write!(f, "/dns6/{name}")?,
        }
        match self.transport {
            NodeTransport::Tcp => write!(f, "/tcp/{}", self.port)?,
            NodeTransport::Quic => write!(f, "/udp/{}/quic-v1", self.port)?,
        }
        match &self.peer {
            Some(peer) => write!(f, "/p2p/{peer}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
