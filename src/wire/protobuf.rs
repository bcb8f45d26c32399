//! The protobuf wire format: <https://protobuf.dev/programming-guides/encoding/>.
//!
//! This reader is for messages of foreign protocols: those of Bitswap, and what Pushgateway keeps and is sent, as far as that is taken apart without
//! looking into the metrics. The crate of the metric formats has one of its own, which is made for speed, gives the place of each fault in a body of
//! metrics, and is not public; `wire` does not depend on that crate.

/// The longest varint: 64 bits, seven in a byte.
const MAX_VARINT_BYTES: usize = 10;

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

/// Error of protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The message ends inside a field.
    #[error("truncated protobuf")]
    Truncated,
    /// A varint has more than ten bytes.
    #[error("a varint of more than {MAX_VARINT_BYTES} bytes")]
    LongVarint,
    /// A wire type that does not exist, or a group, which was removed from protobuf.
    #[error("a field of the unknown wire type {0}")]
    WireType(u64),
    /// A known field has another wire type.
    #[error("field {0} has another type")]
    FieldType(u64),
    /// The number of a field is 0.
    #[error("a field of number 0")]
    FieldNumber,
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A number of 64 bits.
    Fixed64(u64),
    /// One of 32 bits, which no known field has.
    Fixed32,
}

impl<'a> Value<'a> {
    /// The bytes of field `number`.
    pub(in crate::wire) fn bytes(self, number: u64) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::FieldType(number)),
        }
    }

    /// Appends the value as field `number`. One of 32 bits is left out.
    pub(in crate::wire) fn write(self, number: u64, out: &mut Vec<u8>) {
        match self {
            Self::Varint(value) => push_number(out, number, value),
            Self::Bytes(bytes) => push_bytes(out, number, bytes),
            Self::Fixed64(value) => {
                push_varint(out, number << 3 | FIXED_64);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Self::Fixed32 => {}
        }
    }

    /// The number in field `number`.
    pub(in crate::wire) fn number(self, number: u64) -> Result<u64, ProtobufError> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(ProtobufError::FieldType(number)),
        }
    }
}

/// The fields of a message, as their numbers and values.
#[derive(Debug, Clone)]
pub(in crate::wire) struct Fields<'a>(pub(in crate::wire) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field; `None` at the end.
    pub(in crate::wire) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, ProtobufError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let (number, wire_type) = (key >> 3, key & 7);
        if number == 0 {
            return Err(ProtobufError::FieldNumber);
        }
        let value = match wire_type {
            VARINT => Value::Varint(self.varint()?),
            BYTES => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            FIXED_64 => Value::Fixed64(self.fixed_64()?),
            FIXED_32 => self.take(4).map(|_| Value::Fixed32)?,
            other => return Err(ProtobufError::WireType(other)),
        };
        Ok(Some((number, value)))
    }

    /// The next message of a delimited stream: its length and that number of bytes.
    pub(in crate::wire) fn delimited(&mut self) -> Result<&'a [u8], ProtobufError> {
        let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Truncated)?;
        self.take(length)
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0;
        for (at, byte) in self.0.iter().take(MAX_VARINT_BYTES).enumerate() {
            // Bits beyond 64 are dropped, as other decoders do.
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(value);
            }
        }
        Err(if self.0.len() < MAX_VARINT_BYTES {
            ProtobufError::Truncated
        } else {
            ProtobufError::LongVarint
        })
    }

    fn fixed_64(&mut self) -> Result<u64, ProtobufError> {
        let bytes = self.take(8)?.try_into().map_err(|_| ProtobufError::Truncated)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Appends a varint.
pub(in crate::wire) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a field of bytes.
pub(in crate::wire) fn push_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    push_varint(out, number << 3 | BYTES);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a field of a number.
pub(in crate::wire) fn push_number(out: &mut Vec<u8>, number: u64, value: u64) {
    push_varint(out, number << 3 | VARINT);
    push_varint(out, value);
}

#[cfg(test)]
mod tests;
