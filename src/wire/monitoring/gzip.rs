//! One gzip member (RFC 1952) per message. The compressor and the decompressor are reused, because creating one costs more than a message.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Minimal gzip header: deflate, no time, no name, unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Bytes after the compressed data: its CRC-32 and its length, both little-endian.
const TRAILER_BYTES: usize = 8;

const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;

/// Compressor of gzip members.
#[derive(Debug)]
pub struct Compressor {
    deflate: Compress,
}

impl Default for Compressor {
    fn default() -> Self {
        // The fastest level: the stream is compressed live, and the next levels take twice the time for a few per cent.
        Self {
            deflate: Compress::new(Compression::fast(), false),
        }
    }
}

impl Compressor {
    /// Appends one member that contains `data`.
    pub fn member(&mut self, data: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&HEADER);
        self.deflate.reset();
        let before = self.deflate.total_in();
        loop {
            let done = usize::try_from(self.deflate.total_in() - before).unwrap_or(usize::MAX);
            // Deflate adds five bytes to each incompressible block of 16 KiB; usually one call is enough.
            out.reserve((data.len() - done) / 2 + 128);
            match self.deflate.compress_vec(&data[done..], out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => break,
                // Compression with input or output space left never fails; if it did, the reader would refuse the truncated member.
                Err(_) => break,
                Ok(Status::Ok | Status::BufError) => {}
            }
        }
        out.extend_from_slice(&crc32fast::hash(data).to_le_bytes());
        // RFC 1952: the length modulo 2^32.
        out.extend_from_slice(&((data.len() as u64) & 0xffff_ffff).to_le_bytes()[..4]);
    }
}

/// Error of decompressing a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GzipError {
    /// It has no gzip header.
    #[error("not gzip")]
    Header,
    /// The compressed data is corrupt or truncated.
    #[error("corrupt gzip data")]
    Data,
    /// The checksum or the length is wrong, or bytes follow the member.
    #[error("wrong gzip checksum or length")]
    Trailer,
    /// It decompresses to more than the limit.
    #[error("decompresses to more than {0} bytes")]
    TooLong(usize),
}

/// Decompressor of gzip members.
#[derive(Debug)]
pub struct Inflater {
    inflate: Decompress,
}

impl Default for Inflater {
    fn default() -> Self {
        Self {
            inflate: Decompress::new(false),
        }
    }
}

impl Inflater {
    /// Decompresses `member` into `text`, replacing its content.
    ///
    /// # Errors
    /// If `member` is not exactly one complete member, or contains more than `limit` bytes; no more than that is ever decompressed.
    pub fn open(&mut self, member: &[u8], limit: usize, text: &mut Vec<u8>) -> Result<(), GzipError> {
        let body = skip_header(member).ok_or(GzipError::Header)?;
        text.clear();
        self.inflate.reset(false);
        let used = self.unpack(body, limit, text)?;
        let (crc, length) = body[used..]
            .first_chunk::<TRAILER_BYTES>()
            .map(|trailer| trailer.split_at(4))
            .ok_or(GzipError::Trailer)?;
        let whole = body.len() == used + TRAILER_BYTES
            && crc == crc32fast::hash(text).to_le_bytes()
            && length == &((text.len() as u64) & 0xffff_ffff).to_le_bytes()[..4];
        if whole { Ok(()) } else { Err(GzipError::Trailer) }
    }

    /// Decompresses the deflate data at the start of `body` and returns its length.
    fn unpack(&mut self, body: &[u8], limit: usize, text: &mut Vec<u8>) -> Result<usize, GzipError> {
        loop {
            let used = usize::try_from(self.inflate.total_in()).map_err(|_| GzipError::Data)?;
            if text.len() > limit {
                return Err(GzipError::TooLong(limit));
            }
            // Grows by doubling, up to one byte beyond the limit, which distinguishes too long from just fitting.
            let wanted = text.len().max(body.len().saturating_mul(4)).max(1024);
            text.reserve_exact(wanted.min(limit + 1 - text.len()));
            let before = text.len();
            match self.inflate.decompress_vec(&body[used..], text, FlushDecompress::None) {
                Ok(Status::StreamEnd) if text.len() <= limit => {
                    return usize::try_from(self.inflate.total_in()).map_err(|_| GzipError::Data);
                }
                Ok(Status::StreamEnd) => return Err(GzipError::TooLong(limit)),
                Ok(_) if text.len() == before && text.capacity() > text.len() => return Err(GzipError::Data),
                Ok(_) => {}
                Err(_) => return Err(GzipError::Data),
            }
        }
    }
}

/// The bytes after the header, including its optional parts.
fn skip_header(member: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = member.split_first_chunk::<10>()?;
    let [0x1f, 0x8b, 8, flags, ..] = *header else { return None };
    if flags & FLAGS_RESERVED != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            rest = rest.get(memchr::memchr(0, rest)? + 1..)?;
        }
    }
    if flags & FLAG_HEADER_CRC != 0 { rest.get(2..) } else { Some(rest) }
}

#[cfg(test)]
mod tests;
