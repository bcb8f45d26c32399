//! Detection of a connection's format by its first bytes.

use crate::model::Format;

/// Number of bytes for the detection: a Cap'n Proto stream starts with the number of segments minus one in little endian, which contains a
/// NUL below 16 million segments, and JSON text never contains a NUL.
pub(super) const PREFIX: usize = 4;

/// Formats that a receiver accepts; the setting `receiver.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormatChoice {
    /// Both, detected per connection by the first bytes.
    #[default]
    Auto,
    /// JSON only.
    Json,
    /// Cap'n Proto only.
    Capnp,
}

impl FormatChoice {
    /// The only accepted format, if there is only one.
    pub(super) const fn only(self) -> Option<Format> {
        match self {
            Self::Auto => None,
            Self::Json => Some(Format::Json),
            Self::Capnp => Some(Format::Capnp),
        }
    }
}

/// Detects the format of a stream by its start; `None` while there are too few bytes and the stream has not ended.
pub(super) fn sniff(start: &[u8], end: bool) -> Option<Format> {
    // Also where a zero has come already: with fewer bytes an error could not name a foreign format, and so depended on their packets.
    let prefix = &start[..start.len().min(PREFIX)];
    let is_enough = prefix.len() == PREFIX || end;
    is_enough.then(|| if prefix.contains(&0) { Format::Capnp } else { Format::Json })
}

/// Returns true for the start of an HTTP request: the first bytes of a method.
#[must_use]
pub fn is_http(start: &[u8]) -> bool {
    const METHODS: [&[u8; PREFIX]; 7] = [b"GET ", b"PUT ", b"POST", b"HEAD", b"DELE", b"OPTI", b"PATC"];
    METHODS.iter().any(|method| start.starts_with(*method))
}

#[cfg(test)]
mod tests;
