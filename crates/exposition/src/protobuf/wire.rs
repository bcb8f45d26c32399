//! The wire format: fields of a message one after another, by offsets into the body.

use std::ops::Range;

use super::error::DecodeErrorKind;

/// A fault and its byte offset in the body.
pub(crate) type Fault = (usize, DecodeErrorKind);

/// The highest field number of the wire format.
const MAX_FIELD: u64 = (1 << 29) - 1;

/// A field of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Its number.
    pub(crate) number: u32,
    /// Offset of its tag.
    pub(crate) start: usize,
    pub(crate) value: FieldValue,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FieldValue {
    Varint(u64),
    Fixed64(u64),
    /// A message, a string or packed numbers: its bytes in the body.
    Bytes(Range<usize>),
    Fixed32(u32),
}

/// Reader of the fields of one message. It copies nothing and calls itself nowhere: a message inside is a range for another reader.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    body: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    /// The fields in a range of the body.
    pub(crate) fn new(body: &'a [u8], range: Range<usize>) -> Self {
        let end = range.end.min(body.len());
        Self {
            body: &body[..end],
            at: range.start,
            end,
        }
    }

    /// Offset of the next byte.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// True at the end of the range.
    pub(crate) const fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    /// The next number. Most have one byte.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Fault> {
        match self.body.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, Fault> {
        const MAX_BYTES: usize = 10;
        let start = self.at;
        let mut value = 0_u64;
        for (at, &byte) in self.body.get(start..).unwrap_or_default().iter().enumerate().take(MAX_BYTES) {
            // The tenth byte has one bit left; what is above it is cut off, as everywhere.
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.at = start + at + 1;
                return Ok(value);
            }
        }
        let is_long = self.end - start >= MAX_BYTES;
        Err((
            start,
            if is_long {
                DecodeErrorKind::LongNumber
            } else {
                DecodeErrorKind::Truncated
            },
        ))
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let bytes = self.body.get(self.at..self.at + N).and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or((self.at, DecodeErrorKind::Truncated))?;
        self.at += N;
        Ok(bytes)
    }

    /// Reads a length and returns the range of the bytes that follow.
    #[inline]
    pub(crate) fn delimited(&mut self) -> Result<Range<usize>, Fault> {
        let start = self.at;
        let length = self.varint()?;
        let left = self.end - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= left => {
                let range = self.at..self.at + length;
                self.at = range.end;
                Ok(range)
            }
            _ => Err(wrong_length(start, length, left)),
        }
    }

    /// The next field; `None` at the end.
    ///
    /// Inlined, because the result is larger than its parts: a caller that takes one kind of value keeps the others out of memory.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a sixth of the time of decoding")]
    pub(crate) fn next(&mut self) -> Result<Option<Field>, Fault> {
        if self.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let tag = self.varint()?;
        let number = tag >> 3;
        let number = match u32::try_from(number) {
            Ok(field) if field > 0 && number <= MAX_FIELD => field,
            _ => return Err((start, DecodeErrorKind::FieldNumber(number))),
        };
        let value = match tag & 7 {
            0 => FieldValue::Varint(self.varint()?),
            1 => FieldValue::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => FieldValue::Bytes(self.delimited()?),
            5 => FieldValue::Fixed32(u32::from_le_bytes(self.fixed()?)),
            other => return Err(unknown_wire_type(start, other, number)),
        };
        Ok(Some(Field { number, start, value }))
    }
}

#[cold]
const fn wrong_length(start: usize, length: u64, left: usize) -> Fault {
    (start, DecodeErrorKind::Length { length, left })
}

#[cold]
fn unknown_wire_type(start: usize, wire_type: u64, field: u32) -> Fault {
    let wire_type = u8::try_from(wire_type).unwrap_or_default();
    (start, DecodeErrorKind::WireType { wire_type, field })
}

impl Field {
    #[cold]
    fn wrong(&self) -> Fault {
        (self.start, DecodeErrorKind::WrongWireType(self.number))
    }

    /// The value of a message or string.
    #[inline]
    pub(crate) fn bytes(self) -> Result<Range<usize>, Fault> {
        match self.value {
            FieldValue::Bytes(range) => Ok(range),
            _ => Err(self.wrong()),
        }
    }

    /// The value of a number or an enumeration.
    #[inline]
    pub(crate) fn varint(&self) -> Result<u64, Fault> {
        match self.value {
            FieldValue::Varint(number) => Ok(number),
            _ => Err(self.wrong()),
        }
    }

    /// The value of a double.
    #[inline]
    pub(crate) fn double(&self) -> Result<f64, Fault> {
        match self.value {
            FieldValue::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(self.wrong()),
        }
    }
}

/// A signed number from its wire form.
pub(crate) const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// The wire form of a signed number.
pub(crate) const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// The number of bytes that a number takes.
pub(crate) const fn varint_len(number: u64) -> usize {
    match number {
        0 => 1,
        number => (70 - number.leading_zeros() as usize) / 7,
    }
}

/// Writes a number.
#[inline]
pub(crate) fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// The wire type of a length and bytes.
pub(crate) const BYTES: u64 = 2;
/// The wire type of a double.
pub(crate) const FIXED64: u64 = 1;
/// The wire type of a number.
pub(crate) const VARINT: u64 = 0;

/// Writes the tag of a field.
#[inline]
pub(crate) fn put_tag(number: u32, wire_type: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | wire_type, out);
}

/// Writes a message or string.
#[inline]
pub(crate) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_tag(number, BYTES, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes a double.
#[inline]
pub(crate) fn put_double(number: u32, value: f64, out: &mut Vec<u8>) {
    put_tag(number, FIXED64, out);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Writes a number or an enumeration.
#[inline]
pub(crate) fn put_number(number: u32, value: u64, out: &mut Vec<u8>) {
    put_tag(number, VARINT, out);
    put_varint(value, out);
}
