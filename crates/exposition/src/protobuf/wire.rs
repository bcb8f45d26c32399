//! The wire format: fields of a message one after another, by offsets into the body.
//!
//! This is the reader of bodies and of all else that lies in one piece: it is as fast as it can be, and its faults name the byte. The one of
//! [`openmetrics2`](crate::openmetrics2) reads the same format out of the slices of a rendered response, in which a message begins in one slice and
//! ends in another, and stops at any place to go on there later; offsets into one body cannot say where that is. Inside of a metric it is this one
//! again. The daemon has a reader of its own in its module `wire`, which knows no metrics.

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
            body,
            at: range.start.min(end),
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

    /// The next number. Most have one byte, and lengths of metrics two.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Fault> {
        match self.rest() {
            [first, ..] if *first < 0x80 => {
                self.at += 1;
                Ok(u64::from(*first))
            }
            [first, second, ..] if *second < 0x80 => {
                self.at += 2;
                Ok(u64::from(first & 0x7f) | u64::from(*second) << 7)
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, Fault> {
        const MAX_BYTES: usize = 10;
        let start = self.at;
        if let Some((value, len)) = self.body.get(start..).and_then(varint_of_word)
            && start + len <= self.end
        {
            self.at += len;
            return Ok(value);
        }
        let mut value = 0_u64;
        for (at, &byte) in self.rest().iter().enumerate().take(MAX_BYTES) {
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
        let Some(bytes) = self.rest().first_chunk() else {
            return Err((self.at, DecodeErrorKind::Truncated));
        };
        self.at += N;
        Ok(*bytes)
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

    /// The bytes that are left.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..self.end).unwrap_or_default()
    }

    /// Leaves out bytes that are known to be whole fields.
    #[inline]
    pub(crate) const fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The message or string in the next field if that has this number, which must be below 16; `None` if it is another one or none.
    #[inline]
    pub(crate) fn message_of(&mut self, number: u32) -> Result<Option<Range<usize>>, Fault> {
        if self.rest().first() != Some(&tag(number, BYTES)) {
            return Ok(None);
        }
        self.at += 1;
        self.delimited().map(Some)
    }

    /// The number in the next field if that has this field number, as [`Fields::message_of`] has it.
    #[inline]
    pub(crate) fn number_of(&mut self, number: u32) -> Result<Option<u64>, Fault> {
        if self.rest().first() != Some(&tag(number, VARINT)) {
            return Ok(None);
        }
        self.at += 1;
        self.varint().map(Some)
    }

    /// The double in the next field if that has this field number, as [`Fields::message_of`] has it.
    #[inline]
    pub(crate) fn double_of(&mut self, number: u32) -> Result<Option<f64>, Fault> {
        if self.rest().first() != Some(&tag(number, FIXED64)) {
            return Ok(None);
        }
        self.at += 1;
        Ok(Some(f64::from_le_bytes(self.fixed()?)))
    }

    /// The number and the wire type in a tag of several bytes.
    #[inline(never)]
    fn long_tag(&mut self) -> Result<(u32, u8), Fault> {
        let start = self.at;
        let tag = self.varint()?;
        let number = tag >> 3;
        match u32::try_from(number) {
            Ok(field) if field > 0 && number <= MAX_FIELD => Ok((field, (tag & 7) as u8)),
            _ => Err((start, DecodeErrorKind::FieldNumber(number))),
        }
    }

    /// The next field; `None` at the end.
    ///
    /// Inlined, because the result is larger than its parts: a caller that takes one kind of value keeps the others out of memory.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a sixth of the time of decoding")]
    pub(crate) fn next(&mut self) -> Result<Option<Field>, Fault> {
        let start = self.at;
        let Some(&first) = self.rest().first() else { return Ok(None) };
        let (number, wire_type) = if (8..0x80).contains(&first) {
            self.at += 1;
            (u32::from(first >> 3), first & 7)
        } else {
            self.long_tag()?
        };
        let value = match wire_type {
            0 => FieldValue::Varint(self.varint()?),
            1 => FieldValue::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => FieldValue::Bytes(self.delimited()?),
            5 => FieldValue::Fixed32(u32::from_le_bytes(self.fixed()?)),
            other => return Err(unknown_wire_type(start, other, number)),
        };
        Ok(Some(Field { number, start, value }))
    }
}

/// The number at the beginning of eight bytes, and its length; `None` if it is longer or there are fewer bytes.
#[inline]
fn varint_of_word(bytes: &[u8]) -> Option<(u64, usize)> {
    const ENDS: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    let ends = !word & ENDS;
    if ends == 0 {
        return None;
    }
    let len = ends.trailing_zeros() / 8 + 1;
    // Groups of seven bits, moved together: pairs of bytes, of pairs, of fours.
    let number = word & (u64::MAX >> (64 - 8 * len)) & !ENDS;
    let number = number & 0x007f_007f_007f_007f | (number & 0x7f00_7f00_7f00_7f00) >> 1;
    let number = number & 0x0000_3fff_0000_3fff | (number & 0x3fff_0000_3fff_0000) >> 2;
    let number = number & 0x0000_0000_0fff_ffff | (number & 0x0fff_ffff_0000_0000) >> 4;
    Some((number, len as usize))
}

#[cold]
const fn wrong_length(start: usize, length: u64, left: usize) -> Fault {
    (start, DecodeErrorKind::Length { length, left })
}

#[cold]
const fn unknown_wire_type(start: usize, wire_type: u8, field: u32) -> Fault {
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

/// The tag of a field with a number below 16.
#[expect(clippy::cast_possible_truncation, reason = "four bits and three")]
pub(crate) const fn tag(number: u32, wire_type: u64) -> u8 {
    (number << 3) as u8 | wire_type as u8
}

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
