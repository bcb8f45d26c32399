//! Registration of an alias, from a client to a bridge.

use std::fmt;

use bytes::Bytes;

use super::{MAX_TEXT_BYTES, Reader, WireFault, Writer, shortened};

/// The protocol version. Another major version is incompatible, a lower minor one is compatible.
const MAJOR: u64 = 1;
const MINOR: u64 = 1;

/// Limit of an alias, hostname or service in bytes. A bridge has lower limits, with messages of its own.
const MAX_NAME_BYTES: usize = 4 << 10;

/// Request of a client to register its alias and key.
#[derive(Clone, PartialEq, Eq)]
pub struct AliasRequest {
    /// The secret shared with the bridge. Never printed.
    pub secret: [u8; 32],
    /// The name of the client in requests to the bridge.
    pub alias: String,
    /// The public key for connections to the client.
    pub target: [u8; 32],
    /// The host that it runs on.
    pub hostname: String,
    /// The kind of service.
    pub service: String,
}

impl fmt::Debug for AliasRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AliasRequest({:?}, {:?}, {:?})", self.alias, self.hostname, self.service)
    }
}

impl AliasRequest {
    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.uint(MAJOR).uint(MINOR).raw(&self.secret).text(&self.alias);
        to.raw(&self.target).text(&self.hostname).text(&self.service);
        to.finish()
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// If it is malformed, or of an unknown version.
    pub fn decode(bytes: Bytes) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        version(&mut from)?;
        Ok(Self {
            secret: from.fixed32("a secret")?,
            alias: from.name(MAX_NAME_BYTES, "an alias")?,
            target: from.fixed32("a key")?,
            hostname: from.name(MAX_NAME_BYTES, "a hostname")?,
            service: from.name(MAX_NAME_BYTES, "a service")?,
        })
    }
}

fn version(from: &mut Reader) -> Result<(), WireFault> {
    let major = from.uint("a version")?;
    if major != MAJOR {
        return Err(WireFault::Unknown {
            what: "major version",
            value: major,
        });
    }
    let minor = from.uint("a version")?;
    if minor > MINOR {
        return Err(WireFault::Unknown {
            what: "minor version",
            value: minor,
        });
    }
    Ok(())
}

/// Response of the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasReply {
    /// The alias is registered.
    Registered {
        /// True if the registration changed something at the bridge.
        updated: bool,
    },
    /// The registration is refused, with the reason; "Unauthorised" for a wrong secret, as in the original.
    Refused(String),
}

impl AliasReply {
    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.uint(MAJOR).uint(MINOR);
        match self {
            Self::Registered { updated } => to.flag(true).flag(*updated),
            Self::Refused(why) => to.flag(false).text(shortened(why, MAX_TEXT_BYTES)),
        };
        to.finish()
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// If it is malformed, or of an unknown version.
    pub fn decode(bytes: Bytes) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        version(&mut from)?;
        Ok(if from.flag("a response")? {
            Self::Registered {
                updated: from.flag("a response")?,
            }
        } else {
            Self::Refused(from.text("a reason")?)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_the_originals() {
        let request = AliasRequest {
            secret: [0xaa; 32],
            alias: "me".to_owned(),
            target: [0xbb; 32],
            hostname: "host".to_owned(),
            service: "svc".to_owned(),
        };
        let bytes = [&[1, 1][..], &[0xaa; 32], b"\x02me", &[0xbb; 32], b"\x04host\x03svc"].concat();
        assert_eq!(request.encode(), bytes);
        assert_eq!(AliasRequest::decode(bytes.into()).unwrap(), request);
        assert!(!format!("{request:?}").contains("170"), "the secret is never shown");
        for (reply, bytes) in [
            (AliasReply::Registered { updated: true }, &[1, 1, 1, 1][..]),
            (AliasReply::Registered { updated: false }, &[1, 1, 1, 0]),
            (AliasReply::Refused("Unauthorised".to_owned()), b"\x01\x01\x00\x0cUnauthorised"),
        ] {
            assert_eq!(reply.encode(), bytes);
            assert_eq!(AliasReply::decode(Bytes::copy_from_slice(bytes)).unwrap(), reply);
        }
    }

    #[test]
    fn other_versions_are_refused() {
        let mut bytes = vec![2, 1];
        assert_eq!(
            AliasRequest::decode(bytes.clone().into()),
            Err(WireFault::Unknown {
                what: "major version",
                value: 2
            })
        );
        bytes[..].copy_from_slice(&[1, 2]);
        assert_eq!(
            AliasReply::decode(bytes.into()),
            Err(WireFault::Unknown {
                what: "minor version",
                value: 2
            })
        );
        assert_eq!(
            AliasReply::decode(Bytes::from_static(&[1, 0, 1, 1])),
            Ok(AliasReply::Registered { updated: true })
        );
    }

    proptest! {
        #[test]
        fn messages_read_back(secret: [u8; 32], alias in "\\PC{0,60}", target: [u8; 32], hostname in "\\PC{0,60}", service in "\\PC{0,60}") {
            let request = AliasRequest { secret, alias, target, hostname: hostname.clone(), service };
            prop_assert_eq!(AliasRequest::decode(request.encode().into())?, request);
            let refused = AliasReply::Refused(hostname);
            prop_assert_eq!(AliasReply::decode(refused.encode().into())?, refused);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from([&[1, 1][..], &bytes].concat());
            let _ = AliasRequest::decode(bytes.clone());
            let _ = AliasReply::decode(bytes);
        }
    }
}
