//! Which format a connection speaks, told from its first bytes.

use crate::model::Format;

/// How many bytes decide: the first word of a Cap'n Proto stream holds the number of segments less one in little endian,
/// which has a NUL in it below 16 million segments, and a JSON text has no NUL anywhere.
pub(super) const PREFIX: usize = 4;

/// What a receiver takes; the setting `receiver.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormatChoice {
    /// Each connection as its first bytes say.
    #[default]
    Auto,
    /// JSON only.
    Json,
    /// Cap'n Proto only.
    Capnp,
}

impl FormatChoice {
    /// The only format taken, if there is only one.
    pub(super) const fn only(self) -> Option<Format> {
        match self {
            Self::Auto => None,
            Self::Json => Some(Format::Json),
            Self::Capnp => Some(Format::Capnp),
        }
    }
}

/// The format of a stream that begins like this; nothing while it is too early to tell, which it no longer is at the `end`.
pub(super) fn sniff(start: &[u8], end: bool) -> Option<Format> {
    let prefix = &start[..start.len().min(PREFIX)];
    if prefix.contains(&0) {
        Some(Format::Capnp)
    } else {
        (prefix.len() == PREFIX || end).then_some(Format::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_among_the_first_four_bytes_is_capnp() {
        for (start, end, expected) in [
            (&b""[..], false, None),
            (b"{}\n", false, None),
            (b"{}\n", true, Some(Format::Json)),
            (b"", true, Some(Format::Json)),
            (b"{\"a\"", false, Some(Format::Json)),
            (b"{\"a\"\0", false, Some(Format::Json)),
            (b"\0", false, Some(Format::Capnp)),
            (b"\x01\x02\0", false, Some(Format::Capnp)),
            (b"\x01\x02\x03\0", false, Some(Format::Capnp)),
            (b"\x01\x02\x03\x04", false, Some(Format::Json)),
        ] {
            assert_eq!(sniff(start, end), expected, "{start:?} {end}");
        }
    }
}
