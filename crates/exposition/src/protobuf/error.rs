//! Errors of decoding.

use std::fmt;

/// Bytes of a name that an error quotes.
const QUOTED_BYTES: usize = 60;

/// The reason why a body cannot be decoded, and the place. Nothing of the body can be used: in a binary format nothing after a fault is
/// reliable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The metric family, from 1.
    pub family: u32,
    /// Its name, as far as it is known; shortened.
    pub name: Option<String>,
    /// The byte offset in the body, from 0.
    pub offset: usize,
    /// The reason.
    pub kind: DecodeErrorKind,
}

/// The reason of a [`DecodeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// A length reaches beyond the end of what contains it.
    #[error("a length of {length} bytes where {left} are left: truncated, or not length-delimited MetricFamily messages")]
    Length {
        /// The length.
        length: u64,
        /// The bytes up to the end.
        left: usize,
    },
    /// A number ends before its last byte.
    #[error("truncated")]
    Truncated,
    /// A variable-length number has more than ten bytes.
    #[error("a number of more than ten bytes")]
    LongNumber,
    /// A field has the number 0 or one beyond the range of the format.
    #[error("field number {0} does not exist")]
    FieldNumber(u64),
    /// A field has a wire type that the format does not use.
    #[error("wire type {wire_type} of field {field} is not supported")]
    WireType {
        /// The wire type.
        wire_type: u8,
        /// The number of the field.
        field: u32,
    },
    /// A known field has another wire type than its own.
    #[error("field {0} has the wrong wire type")]
    WrongWireType(u32),
    /// A family with metrics has no name.
    #[error("the family has no name")]
    NoName,
    /// A family has a type that the format does not have.
    #[error("unknown metric type {0}")]
    UnknownType(u64),
    /// A name, label or help text is not UTF-8.
    #[error("{0} is not UTF-8")]
    Encoding(&'static str),
    /// A label has no name.
    #[error("a label without a name")]
    NoLabelName,
    /// A native histogram contradicts itself, for which Prometheus would drop the whole scrape.
    #[error("invalid native histogram: {0}")]
    Native(&'static str),
    /// The text of the body would be longer than the limit.
    #[error("as text the metrics are longer than {0} bytes, the limit for a body")]
    TooLong(usize),
}

impl DecodeError {
    /// Another reason at the same place.
    pub(super) fn with(&self, reason: &dyn fmt::Display) -> String {
        let name = self
            .name
            .as_ref()
            .map_or_else(String::new, |name| format!(" \"{}\"", name.escape_debug()));
        format!("protobuf metric family {}{name}, byte {}: {reason}", self.family, self.offset)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with(&self.kind))
    }
}

impl std::error::Error for DecodeError {}

/// A name for an error: shortened, with replacements for what is not UTF-8.
pub(super) fn quoted(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(QUOTED_BYTES)]).into_owned()
}
