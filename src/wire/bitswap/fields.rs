//! The protobuf wire format: <https://protobuf.dev/programming-guides/encoding/>.

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
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A number of 32 or 64 bits, which no Bitswap field has.
    Fixed,
}

impl<'a> Value<'a> {
    /// The bytes of field `number`.
    pub(super) fn bytes(self, number: u64) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::FieldType(number)),
        }
    }

    /// The number in field `number`.
    pub(super) fn number(self, number: u64) -> Result<u64, ProtobufError> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(ProtobufError::FieldType(number)),
        }
    }
}

/// The fields of a message, as their numbers and values.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, ProtobufError> {
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
            FIXED_64 => self.take(8).map(|_| Value::Fixed)?,
            FIXED_32 => self.take(4).map(|_| Value::Fixed)?,
            other => return Err(ProtobufError::WireType(other)),
        };
        Ok(Some((number, value)))
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

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Appends a varint.
pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a field of bytes.
pub(super) fn push_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    push_varint(out, number << 3 | BYTES);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a field of a number.
pub(super) fn push_number(out: &mut Vec<u8>, number: u64, value: u64) {
    push_varint(out, number << 3 | VARINT);
    push_varint(out, value);
}

#[cfg(test)]
mod tests;
