//! The `raw` mode: every application's bytes unchanged, with a newline added where one is missing between two applications.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Applications smaller than this are copied together: thousands of tiny slices halve the speed of sending.
const SMALL: usize = 64 * 1024;
/// Size at which a joined segment is closed: large enough that the overhead per segment does not matter, small enough to be copied in
/// microseconds.
const FULL: usize = 128 * 1024;

/// Concatenates the bodies as a list of slices of useful size. Large bodies are not copied.
pub(super) fn concatenate<'a>(bodies: impl IntoIterator<Item = &'a Bytes>) -> Vec<Bytes> {
    let (mut segments, mut open) = (Vec::new(), BytesMut::new());
    for body in bodies.into_iter().filter(|body| !body.is_empty()) {
        if body.len() < SMALL {
            open.extend_from_slice(body);
        } else {
            close(&mut segments, &mut open);
            segments.push(body.clone());
        }
        if body.last() != Some(&b'\n') {
            open.put_u8(b'\n');
        }
        if open.len() >= FULL {
            close(&mut segments, &mut open);
        }
    }
    close(&mut segments, &mut open);
    segments
}

/// Closes the current segment, in an allocation of exactly its size.
fn close(segments: &mut Vec<Bytes>, open: &mut BytesMut) {
    if !open.is_empty() {
        segments.push(Bytes::copy_from_slice(open));
        open.clear();
    }
}

#[cfg(test)]
mod tests;
