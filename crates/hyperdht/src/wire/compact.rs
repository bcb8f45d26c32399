//! compact-encoding: numbers of one to nine bytes, and values composed of them.

use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::Bytes;

use super::{MAX_TEXT_BYTES, WireFault, shortened};

/// First bytes of longer numbers. Smaller first bytes are the number itself.
const U16: u8 = 0xfd;
const U32: u8 = 0xfe;
const U64: u8 = 0xff;

/// Bytes of an IPv4 address with its port.
const ADDRESS_BYTES: usize = 6;

/// Reader of values from the front of a message, without copying its bytes.
#[derive(Debug, Clone)]
pub struct Reader(Bytes);

impl Reader {
    /// A reader of these bytes.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Returns true if all bytes were read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The remaining bytes.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.0
    }

    /// Reads `count` bytes.
    ///
    /// # Errors
    /// If there are fewer; `what` names the value.
    pub fn take(&mut self, count: u64, what: &'static str) -> Result<Bytes, WireFault> {
        match usize::try_from(count) {
            Ok(count) if count <= self.0.len() => Ok(self.0.split_to(count)),
            _ => Err(WireFault::Short(what)),
        }
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// If none is left.
    pub fn byte(&mut self, what: &'static str) -> Result<u8, WireFault> {
        let [byte] = self.array(what)?;
        Ok(byte)
    }

    /// Reads `N` bytes without a length.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireFault> {
        let (array, _) = self.0.split_first_chunk().ok_or(WireFault::Short(what))?;
        let array = *array;
        self.0 = self.0.slice(N..);
        Ok(array)
    }

    /// Reads a number.
    ///
    /// # Errors
    /// If the bytes end inside it.
    pub fn uint(&mut self, what: &'static str) -> Result<u64, WireFault> {
        let [first] = self.array(what)?;
        Ok(match first {
            U16 => u16::from_le_bytes(self.array(what)?).into(),
            U32 => u32::from_le_bytes(self.array(what)?).into(),
            U64 => u64::from_le_bytes(self.array(what)?),
            small => small.into(),
        })
    }

    /// Reads a boolean: anything but 0 is true.
    ///
    /// # Errors
    /// As [`Reader::uint`].
    pub fn flag(&mut self, what: &'static str) -> Result<bool, WireFault> {
        Ok(self.byte(what)? != 0)
    }

    /// Reads 32 bytes without a length.
    ///
    /// # Errors
    /// As [`Reader::uint`].
    pub fn fixed32(&mut self, what: &'static str) -> Result<[u8; 32], WireFault> {
        self.array(what)
    }

    /// Reads an IPv4 address with its port.
    ///
    /// # Errors
    /// As [`Reader::uint`].
    pub fn address(&mut self, what: &'static str) -> Result<SocketAddrV4, WireFault> {
        let [a, b, c, d, low, high] = self.array(what)?;
        Ok(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_le_bytes([low, high])))
    }

    /// Reads a list of addresses and returns the first ones, at most `most`.
    ///
    /// # Errors
    /// If the bytes end inside it.
    pub fn addresses(&mut self, most: usize, what: &'static str) -> Result<Vec<SocketAddrV4>, WireFault> {
        self.addresses_of(1, most, what)
    }

    /// Reads a list of entries of `each` addresses and returns the addresses of the first entries, at most `most`.
    ///
    /// # Errors
    /// If the bytes end inside it.
    pub fn addresses_of(&mut self, each: usize, most: usize, what: &'static str) -> Result<Vec<SocketAddrV4>, WireFault> {
        let entries = self.uint(what)?;
        let bytes = self.take(entries.saturating_mul((each * ADDRESS_BYTES) as u64), what)?;
        let mut used = Self(bytes.slice(..bytes.len().min(most * each * ADDRESS_BYTES)));
        let mut addresses = Vec::with_capacity(used.0.len() / ADDRESS_BYTES);
        while !used.is_empty() {
            addresses.push(used.address(what)?);
        }
        Ok(addresses)
    }

    /// Reads bytes with a length prefix; at most `most`.
    ///
    /// # Errors
    /// If there are fewer than the length, or more than allowed.
    pub fn bytes(&mut self, most: usize, what: &'static str) -> Result<Bytes, WireFault> {
        let length = self.uint(what)?;
        if length > most as u64 {
            return Err(WireFault::Long { what, bytes: length });
        }
        self.take(length, what)
    }

    /// Reads a name: UTF-8 of at most `most` bytes.
    ///
    /// # Errors
    /// If it is longer or not UTF-8.
    pub fn name(&mut self, most: usize, what: &'static str) -> Result<String, WireFault> {
        let bytes = self.bytes(most, what)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| WireFault::Text(what))?;
        Ok(text.to_owned())
    }

    /// Reads a text for users: invalid UTF-8 is replaced, and it is truncated to [`MAX_TEXT_BYTES`].
    ///
    /// # Errors
    /// If the bytes end inside it.
    pub fn text(&mut self, what: &'static str) -> Result<String, WireFault> {
        let length = self.uint(what)?;
        let bytes = self.take(length, what)?;
        let kept = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT_BYTES)]).into_owned();
        // A character that was cut in two has become longer.
        Ok(shortened(&kept, MAX_TEXT_BYTES).to_owned())
    }
}

/// Writer of values into a message.
#[derive(Debug, Clone, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A writer with room for `bytes` bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Writes a number, in as few bytes as possible.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        if let Ok(small) = u8::try_from(value)
            && small < U16
        {
            self.0.push(small);
        } else if let Ok(value) = u16::try_from(value) {
            self.tagged(U16, &value.to_le_bytes());
        } else if let Ok(value) = u32::try_from(value) {
            self.tagged(U32, &value.to_le_bytes());
        } else {
            self.tagged(U64, &value.to_le_bytes());
        }
        self
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        self.0.extend_from_slice(bytes);
    }

    /// Writes a boolean.
    pub fn flag(&mut self, value: bool) -> &mut Self {
        self.0.push(value.into());
        self
    }

    /// Writes bytes without a length prefix.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Writes an IPv4 address with its port.
    pub fn address(&mut self, address: SocketAddrV4) -> &mut Self {
        self.raw(&address.ip().octets()).raw(&address.port().to_le_bytes())
    }

    /// Writes a list of addresses.
    pub fn addresses(&mut self, addresses: &[SocketAddrV4]) -> &mut Self {
        self.uint(addresses.len() as u64);
        for address in addresses {
            self.address(*address);
        }
        self
    }

    /// Writes bytes with a length prefix.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.uint(bytes.len() as u64).raw(bytes)
    }

    /// Writes a text with a length prefix.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// The written bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests;
