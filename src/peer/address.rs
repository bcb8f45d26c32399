//! Where a link can be dialled: a key, and a host and port to find its owner at.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::PublicKey;

/// The scheme of a link's address.
const SCHEME: &str = "quic://";

/// A public key and where its owner listens: `KEY@HOST:PORT`, with `quic://` before it or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkAddress {
    /// Who is to answer.
    pub key: PublicKey,
    /// `HOST:PORT`; names are looked up at each dial.
    pub place: Arc<str>,
}

impl LinkAddress {
    /// The addresses that the place stands for at this moment.
    pub(super) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host(&*self.place).await?.collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(found)
    }
}

impl fmt::Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}@{}", self.key, self.place)
    }
}

impl FromStr for LinkAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            None => text,
            Some(_) => text
                .strip_prefix(SCHEME)
                .ok_or_else(|| format!("{text:?} is no quic://KEY@HOST:PORT"))?,
        };
        let Some((key, place)) = rest.split_once('@') else {
            return Err(format!("{text:?} has no key, as in quic://KEY@HOST:PORT"));
        };
        let key = key.parse().map_err(|e| format!("the key of {text:?}: {e}"))?;
        let port_ok = place
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0));
        if !port_ok {
            return Err(format!("{text:?} does not end in HOST:PORT"));
        }
        Ok(Self { key, place: place.into() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_with_and_without_a_scheme() {
        let key = PublicKey::new([7; 32]);
        for place in ["bridge.example:6557", "10.0.0.1:1", "[::1]:6557"] {
            let full = format!("quic://{key}@{place}");
            let address: LinkAddress = full.parse().unwrap();
            assert_eq!((address.key, &*address.place), (key, place));
            assert_eq!(format!("{key}@{place}").parse(), Ok(address.clone()));
            assert_eq!(address.to_string(), full);
        }
        for (bad, why) in [
            (format!("hyperdht://{key}"), "is no quic://"),
            ("quic://bridge:1".to_owned(), "has no key"),
            ("quic://abc@bridge:1".to_owned(), "z-base-32"),
            (format!("quic://{key}@bridge"), "HOST:PORT"),
            (format!("quic://{key}@:1"), "HOST:PORT"),
            (format!("quic://{key}@bridge:0"), "HOST:PORT"),
        ] {
            let told = bad.parse::<LinkAddress>().unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|quic://[a-z0-9]{52}@\\PC*") {
            let _ = text.parse::<LinkAddress>();
        }
    }
}
