//! Frames that were made together, and how far a client has got with them.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Topic, Topics};

/// Slices handed to the kernel at once; it takes 1,024, and beyond a few dozen nothing is gained.
const MAX_SLICES: usize = 64;

/// Whole frames one after another. Cloning it shares the bytes.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    bytes: Bytes,
    /// The end of each frame; ends beyond `bytes` are not part of this batch.
    ends: Arc<[usize]>,
    messages: usize,
}

/// Whole frames, each with its topic.
#[derive(Debug)]
pub(super) struct Packed {
    batch: Batch,
    topics: Vec<Topic>,
}

impl Packed {
    /// Frames that end at `ends`, each of the topic at its place in `topics`.
    pub(super) fn new(bytes: Bytes, ends: Arc<[usize]>, topics: Vec<Topic>) -> Self {
        debug_assert_eq!(ends.len(), topics.len(), "each frame has a topic");
        Self {
            batch: Batch::new(bytes, ends),
            topics,
        }
    }

    /// The frames of these topics: shared where that is all of them, else copied; `None` if there is none.
    pub(super) fn of(&self, wanted: Topics) -> Option<Batch> {
        let all: Topics = self.topics.iter().copied().collect();
        if wanted.includes(all) {
            return Some(self.batch.clone());
        }
        if wanted.intersection(all).is_empty() {
            return None;
        }
        let (mut bytes, mut ends, mut start) = (Vec::new(), Vec::new(), 0);
        for (topic, end) in self.topics.iter().zip(&*self.batch.ends) {
            if wanted.contains(*topic) {
                bytes.extend_from_slice(&self.batch.bytes[start..*end]);
                ends.push(bytes.len());
            }
            start = *end;
        }
        Some(Batch::new(bytes.into_boxed_slice().into(), ends.into()))
    }
}

impl Batch {
    pub(super) fn new(bytes: Bytes, ends: Arc<[usize]>) -> Self {
        let messages = ends.len();
        Self { bytes, ends, messages }
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The first frames within these limits on messages and bytes; `None` if not even one fits.
    pub(super) fn first(&self, messages: usize, bytes: usize) -> Option<Self> {
        let ends = &self.ends[..self.messages.min(messages)];
        let messages = ends.partition_point(|end| *end <= bytes);
        let end = *ends[..messages].last()?;
        Some(Self {
            bytes: self.bytes.slice(..end),
            ends: Arc::clone(&self.ends),
            messages,
        })
    }
}

/// Data being written to one client.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    batches: VecDeque<Batch>,
    /// The bytes of the first batch that are written.
    written: usize,
    /// The frames of the first batch that are written whole.
    frames: usize,
}

/// Progress of one write.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Frames now written whole.
    pub(super) frames: usize,
    /// Batches now written whole: their messages.
    pub(super) messages: usize,
    /// And their bytes.
    pub(super) bytes: usize,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Returns true if more data should be added before writing.
    pub(super) fn has_room(&self) -> bool {
        self.batches.len() < MAX_SLICES
    }

    pub(super) fn extend(&mut self, batches: impl IntoIterator<Item = Batch>) {
        self.batches.extend(batches);
    }

    /// The next slices to write.
    pub(super) fn slices<'a>(&'a self, room: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut used = 0;
        for (slot, batch) in room.iter_mut().zip(&self.batches) {
            let from = if used == 0 { self.written } else { 0 };
            *slot = IoSlice::new(&batch.bytes[from..]);
            used += 1;
        }
        used
    }

    /// An array for [`Outgoing::slices`].
    pub(super) fn room<'a>() -> [IoSlice<'a>; MAX_SLICES] {
        [IoSlice::new(&[]); MAX_SLICES]
    }

    /// Records that this number of bytes was written.
    pub(super) fn advance(&mut self, mut written: usize) -> Progress {
        let mut progress = Progress::default();
        while let Some(batch) = self.batches.front() {
            let step = written.min(batch.len() - self.written);
            (self.written, written) = (self.written + step, written - step);
            let whole = batch.ends[self.frames..batch.messages].partition_point(|end| *end <= self.written);
            self.frames += whole;
            progress.frames += whole;
            if self.written < batch.len() {
                break;
            }
            progress.messages += batch.messages;
            progress.bytes += batch.len();
            self.batches.pop_front();
            (self.written, self.frames) = (0, 0);
        }
        progress
    }
}

#[cfg(test)]
mod tests;
