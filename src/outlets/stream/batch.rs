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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn batch(lengths: &[usize]) -> Batch {
        let ends: Vec<usize> = lengths
            .iter()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        let bytes: Vec<u8> = (0..*ends.last().unwrap()).map(|at| u8::try_from(at % 251).unwrap()).collect();
        Batch::new(bytes.into(), ends.into())
    }

    #[test]
    fn a_batch_is_cut_between_frames() {
        let three = batch(&[10, 20, 30]);
        let cut = |messages, bytes| three.first(messages, bytes).map(|first| (first.messages(), first.len()));
        assert_eq!(cut(9, 999), Some((3, 60)));
        assert_eq!(cut(2, 999), Some((2, 30)));
        assert_eq!(cut(9, 59), Some((2, 30)));
        assert_eq!(cut(9, 9), None);
        assert_eq!(cut(0, 999), None);
        assert_eq!(three.first(2, 60).unwrap().first(9, 10).map(|first| first.messages()), Some(1));
    }

    #[test]
    fn a_client_gets_the_frames_of_its_topics() {
        let topics = vec![Topic::Poll, Topic::Bitswap, Topic::Poll, Topic::OneShot];
        let packed = Packed::new((0..10).collect::<Vec<u8>>().into(), [1, 3, 6, 10].into(), topics);
        let of = |topics: &[Topic]| {
            let batch = packed.of(topics.iter().copied().collect())?;
            Some((batch.bytes.to_vec(), batch.ends.to_vec(), batch.messages()))
        };
        assert_eq!(of(&Topic::ALL), Some(((0..10).collect(), vec![1, 3, 6, 10], 4)));
        assert_eq!(of(&[Topic::Poll]), Some((vec![0, 3, 4, 5], vec![1, 4], 2)));
        assert_eq!(of(&[Topic::Bitswap, Topic::OneShot]), Some((vec![1, 2, 6, 7, 8, 9], vec![2, 6], 2)));
        assert_eq!(of(&[Topic::AppUpdate]), None);
        assert_eq!(of(&[]), None);
    }

    proptest! {
        #[test]
        fn any_pace_of_writing_gives_all_bytes_and_counts_all_frames(
            batches in proptest::collection::vec(proptest::collection::vec(1usize..50, 1..6), 1..8),
            cuts in proptest::collection::vec((1usize..9, 1usize..200), 1..8),
            paces in proptest::collection::vec(1usize..90, 1..20),
        ) {
            let batches: Vec<Batch> = batches.iter().zip(cuts.iter().cycle())
                .filter_map(|(lengths, (messages, bytes))| batch(lengths).first(*messages, *bytes)).collect();
            let whole: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes.to_vec()).collect();
            let messages: usize = batches.iter().map(Batch::messages).sum();
            let (mut out, mut seen, mut total) = (Outgoing::default(), Vec::new(), Progress::default());
            out.extend(batches);
            let mut paces = paces.iter().cycle();
            while !out.is_empty() {
                let mut room = Outgoing::room();
                let used = out.slices(&mut room);
                let pieces: Vec<u8> = room[..used].iter().flat_map(|slice| slice.to_vec()).collect();
                let pace = (*paces.next().unwrap()).min(pieces.len());
                seen.extend_from_slice(&pieces[..pace]);
                let progress = out.advance(pace);
                total.frames += progress.frames;
                total.messages += progress.messages;
                total.bytes += progress.bytes;
            }
            prop_assert_eq!(total, Progress { frames: messages, messages, bytes: whole.len() });
            prop_assert_eq!(seen, whole);
        }
    }
}
