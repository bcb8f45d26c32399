//! Segments in a row, each for a range of applications.
//!
//! An answer is made of segments, so that a push rebuilds one of them and not everything. A segment that grows too large is split between two
//! applications, and one that shrinks joins its neighbour.

use std::sync::Arc;

use super::App;
use super::slab::Id;
use crate::exposition::render::{Chunk, Variant};

/// The most text that a segment of several applications has, in bytes: rebuilding and compressing it is the price of one push.
pub(super) const MAX_SEGMENT_BYTES: usize = 256 * 1024;
/// What a segment that has been split or joined has at most, in bytes, so that it does not happen again at once.
pub(super) const TARGET_SEGMENT_BYTES: usize = 128 * 1024;
/// Below this many bytes a segment joins its neighbour: many small slices make slow answers.
pub(super) const MIN_SEGMENT_BYTES: usize = 32 * 1024;

/// A part of the answer that is rebuilt as a whole.
#[derive(Debug)]
pub(super) struct Segment {
    /// Changes whenever what it shows changes; no two segments ever have the same.
    pub(super) stamp: u64,
    /// Whether its size has been looked at since.
    pub(super) sized: bool,
    /// About how many bytes of text it makes, when last looked at.
    pub(super) bytes: usize,
    /// What it looks like at this stamp.
    built: [Option<Vec<Arc<Chunk>>>; Variant::COUNT],
}

impl Segment {
    pub(super) fn new(stamp: u64) -> Self {
        Self {
            stamp,
            sized: false,
            bytes: 0,
            built: [const { None }; Variant::COUNT],
        }
    }

    /// Something that it shows has changed. What it looked like is let go: nobody can use it any more, and until the next answer it
    /// would keep the old texts in memory beside the new ones.
    pub(super) fn mark(&mut self, stamp: u64) {
        self.stamp = stamp;
        self.sized = false;
        self.built = [const { None }; Variant::COUNT];
    }

    /// What it looks like, unless it has changed since it was built.
    pub(super) fn chunks(&self, variant: Variant) -> Option<&[Arc<Chunk>]> {
        self.built[variant.index()].as_deref()
    }

    /// Keeps what it looks like.
    pub(super) fn install(&mut self, variant: Variant, stamp: u64, chunks: Vec<Arc<Chunk>>) {
        if stamp == self.stamp {
            self.built[variant.index()] = Some(chunks);
        }
    }

    /// Takes out what it looks like in one variant.
    pub(super) fn take(&mut self, variant: Variant) -> Vec<Arc<Chunk>> {
        self.built[variant.index()].take().unwrap_or_default()
    }

    /// What it looks like in all variants.
    pub(super) fn built(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        self.built.iter().flatten().flatten()
    }
}

/// Gives out stamps.
#[derive(Debug, Default)]
pub(super) struct Stamps(u64);

impl Stamps {
    pub(super) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// Segments that share a row of applications between them, in order, without gaps.
#[derive(Debug)]
pub(super) struct Strip {
    /// Each with the first application that is its own; the first one begins at the very first.
    ranges: Vec<(Id<App>, Segment)>,
}

impl Strip {
    pub(super) fn new(stamps: &mut Stamps) -> Self {
        Self {
            ranges: vec![(Id::FIRST, Segment::new(stamps.next()))],
        }
    }

    fn position(&self, app: Id<App>) -> usize {
        self.ranges.partition_point(|(start, _)| *start <= app) - 1
    }

    /// Something of this application has changed.
    pub(super) fn mark(&mut self, app: Id<App>, stamps: &mut Stamps) {
        let at = self.position(app);
        self.ranges[at].1.mark(stamps.next());
    }

    /// Everything has changed.
    pub(super) fn mark_all(&mut self, stamps: &mut Stamps) {
        for (_, segment) in &mut self.ranges {
            segment.mark(stamps.next());
        }
    }

    /// The segments, each with the applications from the first up to but without the second.
    pub(super) fn segments(&self) -> impl Iterator<Item = (Id<App>, Option<Id<App>>, &Segment)> {
        (0..self.ranges.len()).map(|at| (self.ranges[at].0, self.end(at), &self.ranges[at].1))
    }

    /// All segments.
    pub(super) fn segments_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.ranges.iter_mut().map(|(_, segment)| segment)
    }

    /// About how many bytes of text all segments make.
    pub(super) fn bytes(&self) -> usize {
        self.ranges.iter().map(|(_, segment)| segment.bytes).sum()
    }

    /// The segment that begins at an application.
    pub(super) fn segment_at(&mut self, start: Id<App>) -> Option<&mut Segment> {
        let at = self.ranges.binary_search_by_key(&start, |(start, _)| *start).ok()?;
        Some(&mut self.ranges[at].1)
    }

    fn end(&self, at: usize) -> Option<Id<App>> {
        self.ranges.get(at + 1).map(|(start, _)| *start)
    }

    /// Splits and joins the segments that have changed; `sizes` tells the bytes of each application in a range.
    pub(super) fn tidy(&mut self, stamps: &mut Stamps, sizes: impl Fn(Id<App>, Option<Id<App>>) -> Vec<(Id<App>, usize)>) {
        let mut at = 0;
        while at < self.ranges.len() {
            if self.ranges[at].1.sized {
                at += 1;
                continue;
            }
            let of_range = sizes(self.ranges[at].0, self.end(at));
            let bytes: usize = of_range.iter().map(|(_, bytes)| bytes).sum();
            let segment = &mut self.ranges[at].1;
            (segment.sized, segment.bytes) = (true, bytes);
            if bytes > MAX_SEGMENT_BYTES && of_range.len() > 1 {
                at += self.split(at, &of_range, stamps);
            } else if at > 0 && bytes < MIN_SEGMENT_BYTES && self.ranges[at - 1].1.bytes + bytes <= TARGET_SEGMENT_BYTES {
                self.ranges.remove(at);
                self.ranges[at - 1].1.mark(stamps.next());
                at -= 1;
            } else {
                at += 1;
            }
        }
    }

    /// Splits a segment so that each part has about [`TARGET_SEGMENT_BYTES`], or one application; returns how many there are now.
    fn split(&mut self, at: usize, sizes: &[(Id<App>, usize)], stamps: &mut Stamps) -> usize {
        let mut parts: Vec<(Id<App>, Segment)> = Vec::new();
        let mut begin = |start, bytes| {
            let mut segment = Segment::new(stamps.next());
            (segment.sized, segment.bytes) = (true, bytes);
            parts.push((start, segment));
            parts.len()
        };
        let mut bytes = 0;
        let mut start = self.ranges[at].0;
        let mut count = 0;
        for &(app, size) in sizes {
            if bytes > 0 && bytes + size > TARGET_SEGMENT_BYTES {
                count = begin(start, bytes);
                (start, bytes) = (app, 0);
            }
            bytes += size;
        }
        count = begin(start, bytes).max(count);
        self.ranges.splice(at..=at, parts);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids to play with.
    fn ids(count: u32) -> Vec<Id<App>> {
        (0..count).map(Id::nth).collect()
    }

    fn tidy(strip: &mut Strip, stamps: &mut Stamps, ids: &[Id<App>], bytes: &[usize]) {
        strip.tidy(stamps, |from, to| {
            let all = ids.iter().copied().zip(bytes.iter().copied());
            all.filter(|(id, bytes)| *id >= from && to.is_none_or(|to| *id < to) && *bytes > 0)
                .collect()
        });
    }

    #[test]
    fn segments_split_when_large_and_join_when_small() {
        let (ids, mut stamps) = (ids(100), Stamps::default());
        let mut strip = Strip::new(&mut stamps);
        tidy(&mut strip, &mut stamps, &ids, &[10_000; 100]);
        let bounds: Vec<_> = strip.segments().map(|(start, ..)| start).collect();
        assert_eq!(bounds.len(), 8, "13 applications of 10 kB fit into 128 kB");
        assert!(strip.segments().all(|(.., segment)| segment.bytes <= TARGET_SEGMENT_BYTES));
        strip.mark_all(&mut stamps);
        tidy(&mut strip, &mut stamps, &ids, &[100; 100]);
        assert_eq!(strip.segments().count(), 1);
    }

    #[test]
    fn a_mark_reaches_one_segment() {
        let (ids, mut stamps) = (ids(100), Stamps::default());
        let mut strip = Strip::new(&mut stamps);
        tidy(&mut strip, &mut stamps, &ids, &[10_000; 100]);
        let before: Vec<_> = strip.segments().map(|(.., segment)| segment.stamp).collect();
        strip.mark(ids[50], &mut stamps);
        let after: Vec<_> = strip.segments().map(|(.., segment)| segment.stamp).collect();
        assert_eq!(before.iter().zip(&after).filter(|(a, b)| a != b).count(), 1);
    }

    #[test]
    fn a_large_application_keeps_a_segment_to_itself() {
        let (ids, mut stamps) = (ids(3), Stamps::default());
        let mut strip = Strip::new(&mut stamps);
        tidy(&mut strip, &mut stamps, &ids, &[50_000, 3_000_000, 50_000]);
        assert_eq!(
            strip.segments().map(|(start, ..)| start).collect::<Vec<_>>(),
            [Id::FIRST, ids[1], ids[2]]
        );
    }
}
