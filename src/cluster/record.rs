//! Records as they stand in the engine: a byte for the form, then the bytes of an app, compressed if that makes them shorter.

#[cfg(test)]
mod tests;

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

const PLAIN: u8 = 0;
const DEFLATED: u8 = 1;

/// Shorter records stay as they are: compressing them saves less than a packet.
const MIN_COMPRESSED: usize = 512;

/// Packs the bytes of an app. A large one takes a while.
pub(super) fn pack(bytes: &[u8]) -> Bytes {
    if bytes.len() >= MIN_COMPRESSED
        && let Some(packed) = deflate(bytes)
        && packed.len() < bytes.len()
    {
        return packed.into();
    }
    let mut out = Vec::with_capacity(bytes.len() + 1);
    out.push(PLAIN);
    out.extend_from_slice(bytes);
    out.into()
}

fn deflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() / 4);
    out.push(DEFLATED);
    let mut encoder = DeflateEncoder::new(out, Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// Unpacks a record of at most `most` bytes; `None` if it is longer, or no record.
pub(super) fn unpack(record: &[u8], most: u64) -> Option<Vec<u8>> {
    let (form, bytes) = record.split_first()?;
    match *form {
        PLAIN => (bytes.len() as u64 <= most).then(|| bytes.to_vec()),
        DEFLATED => {
            let mut out = Vec::new();
            DeflateDecoder::new(bytes).take(most.saturating_add(1)).read_to_end(&mut out).ok()?;
            (out.len() as u64 <= most).then_some(out)
        }
        _ => None,
    }
}
