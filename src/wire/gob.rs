//! Go's gob encoding, as far as it is needed: messages, numbers, texts, fields of structures. Definitions of types are skipped: the reader
//! knows the types.
//!
//! <https://pkg.go.dev/encoding/gob>

/// The most bytes of a number.
const MAX_NUMBER_BYTES: usize = 8;

/// Error of gob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GobError {
    /// It ends inside a value.
    #[error("truncated gob")]
    Truncated,
    /// A number has more bytes than a number can have.
    #[error("a number of more than {MAX_NUMBER_BYTES} bytes in gob")]
    LongNumber,
    /// The value is not of the type that is expected.
    #[error("{0} in gob")]
    Unexpected(&'static str),
}

/// A part of gob that is not read yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Gob<'a>(&'a [u8]);

impl<'a> Gob<'a> {
    /// Finds the first value, behind the definitions of types.
    pub(super) fn value_of(stream: &'a [u8]) -> Result<Self, GobError> {
        let mut stream = Self(stream);
        loop {
            let mut message = Self(stream.bytes()?);
            // The number of a type, which is negative for a definition.
            if message.signed()? < 0 {
                continue;
            }
            // A value that is no structure is the only field of one.
            return match message.number()? {
                0 => Ok(message),
                _ => Err(GobError::Unexpected("a value of another type")),
            };
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that are left.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// An unsigned number: a byte below 128, or the negated number of its bytes, and these, high ones first.
    pub(super) fn number(&mut self) -> Result<u64, GobError> {
        let (&first, rest) = self.0.split_first().ok_or(GobError::Truncated)?;
        self.0 = rest;
        if first < 128 {
            return Ok(first.into());
        }
        let count = usize::from(first.wrapping_neg());
        if count > MAX_NUMBER_BYTES {
            return Err(GobError::LongNumber);
        }
        Ok(self.take(count)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A signed number: the lowest bit says if the others are negated.
    fn signed(&mut self) -> Result<i64, GobError> {
        let number = self.number()?;
        let magnitude = (number >> 1).cast_signed();
        Ok(if number & 1 == 1 { !magnitude } else { magnitude })
    }

    /// A length and that number of bytes.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], GobError> {
        let length = usize::try_from(self.number()?).map_err(|_| GobError::Truncated)?;
        self.take(length)
    }

    /// A text.
    pub(super) fn text(&mut self) -> Result<&'a str, GobError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| GobError::Unexpected("a text that is not UTF-8"))
    }

    /// The next field of a structure after `last`, which is `None` at first; `None` at the end of the structure.
    pub(super) fn field(&mut self, last: Option<u64>) -> Result<Option<u64>, GobError> {
        let delta = self.number()?;
        if delta == 0 {
            return Ok(None);
        }
        // The first field has the number 0, one after the start.
        let field = match last {
            None => Some(delta - 1),
            Some(last) => last.checked_add(delta),
        };
        field.map(Some).ok_or(GobError::Unexpected("a field of an impossible number"))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], GobError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(GobError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
pub(super) mod tests;
