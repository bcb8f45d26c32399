//! Listening addresses and allowed networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::raw::quoted;

/// A host and a port, such as `0.0.0.0:6555`, `[::1]:80` or `localhost:6555`. Names are resolved when the socket is bound.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: Arc<str>,
    port: u16,
}

impl HostPort {
    /// A host (an IPv6 address without brackets) and a port, taken as they are.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The host: a name, or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 lets the system choose.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns true for an IPv4 address. Names are not resolved.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.host.parse::<Ipv4Addr>().is_ok()
    }

    /// Reads `HOST:PORT`.
    ///
    /// # Errors
    /// The text and the reason, when it is not a host and a port.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{}: {why}", quoted(text)));
        if text.contains("://") {
            return wrong("expected HOST:PORT without a scheme, e.g. \"0.0.0.0:6555\"");
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return wrong("missing port, e.g. \"127.0.0.1:6555\"");
        };
        let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host_ok = match in_brackets {
            Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
            None => is_host(host),
        };
        if host.is_empty() {
            return wrong("missing host; for every interface write \"0.0.0.0\" or \"[::]\"");
        }
        if in_brackets.is_none() && host.contains(':') {
            return wrong("an IPv6 address needs brackets, e.g. \"[::1]:6555\"");
        }
        if !host_ok {
            return wrong("the host is neither an IP address nor a host name");
        }
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return wrong("the port is not a number");
        }
        match port.parse() {
            Ok(port) => Ok(Self::new(in_brackets.unwrap_or(host), port)),
            Err(_) => wrong("the port must be 0 to 65535"),
        }
    }

    /// Returns true if both cannot be bound at the same time. Names are not resolved, so only certain conflicts count.
    #[must_use]
    pub fn collides_with(&self, other: &Self) -> bool {
        if self.port != other.port || self.port == 0 {
            return false;
        }
        match (self.host.parse::<IpAddr>(), other.host.parse::<IpAddr>()) {
            (Ok(a), Ok(b)) => a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified())),
            _ => self.host.eq_ignore_ascii_case(&other.host),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An IPv4 address or a host name (RFC 1123, and the underscore that container names have).
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let legal = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (1..=63).contains(&label.len()) && legal && !label.starts_with('-') && !label.ends_with('-')
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric {
        return text.parse::<Ipv4Addr>().is_ok();
    }
    text.len() <= 253 && text.split('.').all(label)
}

/// Reads a network such as `10.0.0.0/8`; a bare address is the network of itself alone.
pub(super) fn parse_network(text: &str) -> Result<IpNet, String> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(net.trunc());
    }
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => Err(format!("{} is not a valid network, e.g. \"10.0.0.0/8\" or \"::1\"", quoted(text))),
    }
}

#[cfg(test)]
mod tests;
