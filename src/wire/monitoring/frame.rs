//! Framing: a length and a payload.

use bytes::{Buf as _, Bytes, BytesMut};

/// Limit of a payload in bytes, as in the original server. The original client accepts 32 MiB.
pub const MAX_FRAME_BYTES: usize = 8 << 20;

/// Bytes of the length prefix.
pub const LENGTH_BYTES: usize = 4;

/// A frame length above the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes (the limit is {limit})")]
pub struct Oversized {
    /// The declared length.
    pub length: u64,
    /// The limit.
    pub limit: usize,
}

/// The length prefix of a payload of `payload` bytes.
///
/// # Errors
/// If the payload is longer than [`MAX_FRAME_BYTES`].
pub fn length_of(payload: usize) -> Result<[u8; LENGTH_BYTES], Oversized> {
    match u32::try_from(payload) {
        Ok(length) if payload <= MAX_FRAME_BYTES => Ok(length.to_be_bytes()),
        _ => Err(Oversized {
            length: payload as u64,
            limit: MAX_FRAME_BYTES,
        }),
    }
}

/// Removes the first frame from `buffer` and returns its payload; `None` while it is incomplete, with capacity reserved for the rest.
///
/// # Errors
/// If its length is above `limit`. Nothing is allocated for it, and the stream cannot be continued.
pub fn split(buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, Oversized> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let announced = u32::from_be_bytes(*length);
    let length = match usize::try_from(announced) {
        Ok(length) if length <= limit => length,
        _ => {
            return Err(Oversized {
                length: announced.into(),
                limit,
            });
        }
    };
    let whole = LENGTH_BYTES + length;
    if buffer.len() < whole {
        // At most doubles the received bytes, so that a declared length alone allocates no memory.
        buffer.reserve((whole - buffer.len()).min(buffer.len().max(4096)));
        return Ok(None);
    }
    let mut frame = buffer.split_to(whole);
    frame.advance(LENGTH_BYTES);
    Ok(Some(frame.freeze()))
}

#[cfg(test)]
mod tests;
