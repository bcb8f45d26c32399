//! Link addresses: a public key, for QUIC with a host and a port.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::PublicKey;
use crate::supervise::lookup::look_up_host_port;

/// The URL schemes of addresses.
const QUIC: &str = "quic://";
const HYPERDHT: &str = "hyperdht://";

/// The address of a peer to dial, with the key expected there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LinkAddress {
    /// A host and port, over QUIC.
    Quic(QuicAddress),
    /// A key alone, over HyperDHT.
    Hyperdht(PublicKey),
}

impl LinkAddress {
    /// Returns the key expected at the address.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        match self {
            Self::Quic(address) => address.key,
            Self::Hyperdht(key) => *key,
        }
    }
}

/// A public key and the host and port of its owner for QUIC: `KEY@HOST:PORT`, with or without `quic://` before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QuicAddress {
    /// The key expected at the address.
    pub key: PublicKey,
    /// `HOST:PORT`; the name is resolved at each dial.
    pub host_port: Arc<str>,
}

impl QuicAddress {
    /// Resolves the host and port.
    pub(crate) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        look_up_host_port(&self.host_port).await
    }
}

impl fmt::Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quic(address) => address.fmt(f),
            Self::Hyperdht(key) => write!(f, "{HYPERDHT}{key}"),
        }
    }
}

impl fmt::Display for QuicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{QUIC}{}@{}", self.key, self.host_port)
    }
}

impl FromStr for LinkAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(key) = text.strip_prefix(HYPERDHT) else {
            return text.parse().map(Self::Quic);
        };
        if key.contains('@') {
            return Err(format!("{text:?} has an address, but HyperDHT needs the key only: {HYPERDHT}KEY"));
        }
        key.parse().map(Self::Hyperdht).map_err(|e| format!("the key of {text:?}: {e}"))
    }
}

impl FromStr for QuicAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            None => text,
            Some(_) => text
                .strip_prefix(QUIC)
                .ok_or_else(|| format!("{text:?} is neither quic://KEY@HOST:PORT nor hyperdht://KEY"))?,
        };
        let Some((key, host_port)) = rest.split_once('@') else {
            if rest.parse::<PublicKey>().is_ok() {
                return Err(format!(
                    "{text:?} has no address, as in {QUIC}KEY@HOST:PORT; the key alone is {HYPERDHT}{rest}"
                ));
            }
            return Err(format!("{text:?} has no key, as in quic://KEY@HOST:PORT"));
        };
        let key = key.parse().map_err(|e| format!("the key of {text:?}: {e}"))?;
        let port_ok = host_port
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0));
        if !port_ok {
            return Err(format!("{text:?} does not end in HOST:PORT"));
        }
        Ok(Self {
            key,
            host_port: host_port.into(),
        })
    }
}

#[cfg(test)]
mod tests;
