//! Numbers and texts as bytes: variable-length integers (7 bits a byte, low ones first), texts with their length.

#[cfg(test)]
mod tests;

/// Appends an unsigned number.
pub(in crate::store) fn put_u64(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a signed number, small where its magnitude is.
pub(in crate::store) fn put_i64(out: &mut Vec<u8>, number: i64) {
    put_u64(out, (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
}

/// Appends a text and its length.
pub(in crate::store) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Appends bytes and how many they are.
pub(in crate::store) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the functions above have written. Total: any bytes give values or `None`.
#[derive(Debug, Clone)]
pub(in crate::store) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(in crate::store) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes that were not read.
    pub(in crate::store) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(in crate::store) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    pub(in crate::store) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(in crate::store) fn fixed_u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    pub(in crate::store) fn u64(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(in crate::store) fn i64(&mut self) -> Option<i64> {
        let folded = self.u64()?;
        Some((folded >> 1).cast_signed() ^ -((folded & 1).cast_signed()))
    }

    /// Bytes that [`put_bytes`] has written.
    pub(in crate::store) fn prefixed(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u64()?).ok()?;
        self.bytes(len)
    }

    pub(in crate::store) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.prefixed()?).ok()
    }

    /// A list with its length. An element takes a byte at least, so a length that lies costs nothing.
    pub(in crate::store) fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.u64()?).ok()?;
        if count > self.0.len() {
            return None;
        }
        (0..count).map(|_| element(self)).collect()
    }
}
