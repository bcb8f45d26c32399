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
fn is_host(text: &str) -> bool {
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_of_every_kind() {
        for good in [
            "0.0.0.0:6555",
            "[::1]:80",
            "localhost:6555",
            "node_exporter:0",
            "a-b.example.:65535",
        ] {
            assert_eq!(HostPort::parse(good).unwrap().to_string(), good);
        }
        assert_eq!(HostPort::parse("[::]:1").unwrap().host(), "::");
    }

    #[test]
    fn an_invalid_address_is_refused_with_its_reason() {
        let cases = [
            ("localhost", "missing port"),
            (":6555", "missing host"),
            ("::1:80", "needs brackets"),
            ("[1.2.3.4]:80", "neither"),
            ("300.1.1.1:80", "neither"),
            ("a b:80", "neither"),
            ("-a:80", "neither"),
            ("a:", "0 to 65535"),
            ("a:65536", "0 to 65535"),
            ("a:+5", "not a number"),
            ("", "missing port"),
            ("http://0.0.0.0:9000", "without a scheme"),
        ];
        for (text, why) in cases {
            let message = HostPort::parse(text).unwrap_err();
            assert!(message.contains(why) && message.starts_with(&format!("{text:?}")), "{message}");
        }
    }

    #[test]
    fn collisions_are_certain_ones() {
        let at = |text| HostPort::parse(text).unwrap();
        assert!(at("0.0.0.0:1").collides_with(&at("127.0.0.1:1")));
        assert!(at("LOCALHOST:1").collides_with(&at("localhost:1")));
        assert!(at("[::]:1").collides_with(&at("[::1]:1")));
        assert!(!at("127.0.0.1:1").collides_with(&at("127.0.0.2:1")));
        assert!(!at("127.0.0.1:0").collides_with(&at("127.0.0.1:0")));
        assert!(!at("[::]:1").collides_with(&at("0.0.0.0:1")));
        assert!(!at("a:1").collides_with(&at("a:2")));
    }

    #[test]
    fn networks_and_bare_addresses() {
        assert_eq!(parse_network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(parse_network("127.0.0.1").unwrap().to_string(), "127.0.0.1/32");
        assert_eq!(parse_network("::1").unwrap().to_string(), "::1/128");
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0/8", "1.2.3.4:80"] {
            assert!(parse_network(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_back(text in "[\\[\\]0-9a-f:.%-]{0,40}|\\PC{0,40}") {
            let _ = parse_network(&text);
            if let Ok(address) = HostPort::parse(&text) {
                prop_assert_eq!(HostPort::parse(&address.to_string()), Ok(address));
            }
        }
    }
}
