//! Encoding of the registration of an alias, from a client to a bridge.

use bytes::Bytes;
use exporter_proxy_hyperdht::wire::{MAX_TEXT_BYTES, Reader, WireFault, Writer, shortened};

use super::{AliasReply, AliasRequest};

/// The protocol version. Another major version is incompatible, a lower minor one is compatible.
const MAJOR: u64 = 1;
const MINOR: u64 = 1;

/// Limit of an alias, hostname or service in bytes. A bridge has lower limits, with messages of its own.
const MAX_NAME_BYTES: usize = 4 << 10;

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
mod tests;
