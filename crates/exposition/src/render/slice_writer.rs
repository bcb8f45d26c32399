//! Output as a list of slices: small parts are copied, large parts are slices of the stored text.

use bytes::Bytes;

use crate::memory::MemoryMeter;

/// The smallest range of stored text that becomes a slice of its own. Shorter ranges are copied, because a socket write of many small
/// slices costs more than the copies. Slices do not duplicate the text in memory.
pub(super) const MIN_SLICE_BYTES: usize = 8 * 1024;

/// The most bytes that are compared with the stored text before a new slice: a header with a long HELP line.
const MAX_TAKEN_BACK: usize = 1024;

/// A growing list of slices.
///
/// Written bytes are compared with the following bytes of the stored text: as long as both are equal, header lines and newlines included,
/// the pending slice is extended and nothing is copied.
#[derive(Default)]
pub(super) struct SliceWriter<'a> {
    parts: Vec<Bytes>,
    buffer: Vec<u8>,
    pending: Option<PendingSlice<'a>>,
    /// The bytes that were moved from the buffer into `parts`.
    flushed: usize,
    /// Counter of the memory of copies.
    meter: Option<MemoryMeter>,
}

/// A range of a stored text that has been written but neither copied nor sliced yet.
struct PendingSlice<'a> {
    body: &'a Bytes,
    start: usize,
    end: usize,
}

impl<'a> SliceWriter<'a> {
    /// An empty writer with room for `capacity` bytes of copies.
    pub(super) fn with_capacity(capacity: usize, meter: Option<MemoryMeter>) -> Self {
        Self {
            buffer: Vec::with_capacity(capacity),
            meter,
            ..Self::default()
        }
    }

    /// Writes bytes, which need not be part of a stored text.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        match &mut self.pending {
            Some(pending) if pending.body[pending.end..].starts_with(bytes) => pending.end += bytes.len(),
            _ => self.buffer().extend_from_slice(bytes),
        }
    }

    /// Writes a range of a stored text.
    pub(super) fn write_slice(&mut self, body: &'a Bytes, range: std::ops::Range<usize>) {
        match &mut self.pending {
            Some(pending) if pending.end == range.start && std::ptr::eq(pending.body.as_ptr(), body.as_ptr()) => pending.end = range.end,
            _ => {
                self.flush_pending();
                let start = range.start - self.take_back(&body[..range.start]);
                self.pending = Some(PendingSlice {
                    body,
                    start,
                    end: range.end,
                });
            }
        }
    }

    /// Takes the copies back that are also the end of `before`, the stored text before a new slice: mostly the header of its family. Returns
    /// their length.
    fn take_back(&mut self, before: &[u8]) -> usize {
        let pairs = self.buffer.iter().rev().zip(before.iter().rev()).take(MAX_TAKEN_BACK);
        let taken = pairs.take_while(|(copied, stored)| copied == stored).count();
        self.buffer.truncate(self.buffer.len() - taken);
        taken
    }

    /// The buffer, for parts that are always copied.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.flush_pending();
        &mut self.buffer
    }

    /// Number of bytes that are copies and not slices of stored texts.
    pub(super) fn copied(&mut self) -> usize {
        self.flush_pending();
        self.flushed + self.buffer.len()
    }

    /// An empty writer with the same counter of copies.
    pub(super) fn nested(&self) -> Self {
        Self::with_capacity(0, self.meter.clone())
    }

    /// Number of written bytes.
    pub(super) fn len(&self) -> usize {
        let pending = self.pending.as_ref().map_or(0, |pending| pending.end - pending.start);
        self.parts.iter().map(Bytes::len).sum::<usize>() + self.buffer.len() + pending
    }

    /// Appends all that another writer has written.
    pub(super) fn append(&mut self, mut other: Self) {
        self.flush_pending();
        other.flush_pending();
        if !other.parts.is_empty() {
            self.flush();
            other.flush();
            self.flushed += other.flushed;
            self.parts.append(&mut other.parts);
        }
        self.buffer.append(&mut other.buffer);
    }

    /// The written slices.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        self.flush_pending();
        self.flush();
        self.parts
    }

    fn flush_pending(&mut self) {
        let Some(PendingSlice { body, start, end }) = self.pending.take() else {
            return;
        };
        if end - start < MIN_SLICE_BYTES {
            self.buffer.extend_from_slice(&body[start..end]);
        } else {
            self.flush();
            self.parts.push(body.slice(start..end));
        }
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.flushed += self.buffer.len();
            // An exact size, because rendered text is kept for long.
            let copy = Bytes::from(std::mem::take(&mut self.buffer).into_boxed_slice());
            self.parts.push(match &self.meter {
                Some(meter) => meter.hold(copy),
                None => copy,
            });
        }
    }
}

#[cfg(test)]
mod tests;
