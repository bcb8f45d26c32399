//! Segments: the parts of a response that are rendered and kept as a whole.
//!
//! A push invalidates the segment that shows it and not the others. A segment that grows too large is split between two apps or families,
//! and one that shrinks is merged into its neighbor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use super::app::AppId;
use super::entry::FamilyEntry;
use super::paged::Id;
use crate::render::{Chunk, OutputFormat};

/// The most text of a segment of several apps, in bytes: rendering and compressing it is the price of one push.
pub(super) const MAX_SEGMENT_BYTES: usize = 256 * 1024;
/// The most text of a segment that has just been split or merged, so that it does not happen again at once.
pub(super) const TARGET_SEGMENT_BYTES: usize = 128 * 1024;
/// Below this a segment is merged into its neighbor: many small slices make slow responses.
pub(super) const MIN_SEGMENT_BYTES: usize = 32 * 1024;

/// A part of a response.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// True if its size was checked since it changed last.
    pub(super) sized: bool,
    /// About how many bytes of text it makes, when its size was checked last.
    pub(super) bytes: usize,
    /// Its rendered forms. A change replaces the cache, so that snapshots keep theirs.
    cache: Arc<SegmentCache>,
}

/// The rendered forms of one version of a segment, shared by all snapshots of that version.
#[derive(Debug)]
pub(super) struct SegmentCache {
    built: [ArcSwapOption<Vec<Arc<Chunk>>>; OutputFormat::COUNT],
    /// True if a rendered form was ever kept.
    used: AtomicBool,
}

impl SegmentCache {
    /// The rendered form, if there is one.
    pub(super) fn get(&self, variant: OutputFormat) -> Option<Arc<Vec<Arc<Chunk>>>> {
        self.built[variant.index()].load_full()
    }

    /// Keeps a rendered form.
    pub(super) fn set(&self, variant: OutputFormat, chunks: &Arc<Vec<Arc<Chunk>>>) {
        self.used.store(true, Ordering::Relaxed);
        self.built[variant.index()].store(Some(Arc::clone(chunks)));
    }

    /// Takes a rendered form out.
    pub(super) fn take(&self, variant: OutputFormat) -> Option<Arc<Vec<Arc<Chunk>>>> {
        self.built[variant.index()].swap(None)
    }

    fn all(&self) -> impl Iterator<Item = Arc<Chunk>> {
        let built = self.built.iter().filter_map(ArcSwapOption::load_full);
        built.flat_map(|chunks| chunks.to_vec())
    }
}

impl Segment {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            sized: false,
            bytes,
            cache: Arc::new(SegmentCache {
                built: [const { ArcSwapOption::const_empty() }; OutputFormat::COUNT],
                used: AtomicBool::new(false),
            }),
        }
    }

    /// Drops the rendered forms, which are outdated; snapshots that use them keep them.
    pub(super) fn invalidate(&mut self) {
        self.sized = false;
        match Arc::get_mut(&mut self.cache) {
            Some(cache) if !cache.used.load(Ordering::Relaxed) => {}
            _ => *self = Self::new(self.bytes),
        }
    }

    pub(super) const fn cache(&self) -> &Arc<SegmentCache> {
        &self.cache
    }

    /// All rendered forms.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Arc<Chunk>> {
        self.cache.all()
    }
}

/// A segment of small shared families.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// The families, in the order of their ids.
    pub(super) families: Vec<Id<FamilyEntry>>,
    pub(super) segment: Segment,
}

impl Group {
    pub(super) fn add(&mut self, family: Id<FamilyEntry>) {
        if let Err(at) = self.families.binary_search(&family) {
            if self.families.len() == self.families.capacity() {
                // By a quarter and not to the double: a group has many hundred families.
                self.families.reserve_exact((self.families.len() / 4).max(4));
            }
            self.families.insert(at, family);
        }
    }

    pub(super) fn remove(&mut self, family: Id<FamilyEntry>) {
        if let Ok(at) = self.families.binary_search(&family) {
            self.families.remove(at);
        }
    }
}

/// Segments that share all apps between them, in order, without gaps.
#[derive(Debug, Clone)]
pub(super) struct SegmentList {
    /// Each with its first app; the first segment begins at the lowest id.
    ranges: Vec<(AppId, Segment)>,
}

impl SegmentList {
    pub(super) fn new() -> Self {
        Self {
            ranges: vec![(Id::FIRST, Segment::new(0))],
        }
    }

    fn position(&self, app: AppId) -> usize {
        self.ranges.partition_point(|(start, _)| *start <= app) - 1
    }

    /// Invalidates the segment of an app.
    pub(super) fn invalidate(&mut self, app: AppId) {
        let at = self.position(app);
        self.ranges[at].1.invalidate();
    }

    /// Invalidates all segments.
    pub(super) fn invalidate_all(&mut self) {
        self.ranges.iter_mut().for_each(|(_, segment)| segment.invalidate());
    }

    /// The segments, each with its apps from the first up to but without the second.
    pub(super) fn segments(&self) -> impl Iterator<Item = (AppId, Option<AppId>, &Segment)> {
        (0..self.ranges.len()).map(|at| (self.ranges[at].0, self.end(at), &self.ranges[at].1))
    }

    /// About how many bytes of text all segments make.
    pub(super) fn bytes(&self) -> usize {
        self.ranges.iter().map(|(_, segment)| segment.bytes).sum()
    }

    fn end(&self, at: usize) -> Option<AppId> {
        self.ranges.get(at + 1).map(|(start, _)| *start)
    }

    /// Splits and merges the segments that have changed; `sizes` returns the bytes of each app in a range.
    pub(super) fn rebalance(&mut self, sizes: impl Fn(AppId, Option<AppId>) -> Vec<(AppId, usize)>) {
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
                at += self.split(at, &of_range);
            } else if at > 0 && bytes < MIN_SEGMENT_BYTES && self.ranges[at - 1].1.bytes + bytes <= TARGET_SEGMENT_BYTES {
                self.ranges.remove(at);
                self.ranges[at - 1].1.invalidate();
                at -= 1;
            } else {
                at += 1;
            }
        }
    }

    /// Splits a segment so that each part has about [`TARGET_SEGMENT_BYTES`], or one app; returns their number.
    fn split(&mut self, at: usize, sizes: &[(AppId, usize)]) -> usize {
        let mut parts: Vec<(AppId, Segment)> = Vec::new();
        let mut begin = |start, bytes| {
            let mut segment = Segment::new(bytes);
            segment.sized = true;
            parts.push((start, segment));
        };
        let mut bytes = 0;
        let mut start = self.ranges[at].0;
        for &(app, size) in sizes {
            if bytes > 0 && bytes + size > TARGET_SEGMENT_BYTES {
                begin(start, bytes);
                (start, bytes) = (app, 0);
            }
            bytes += size;
        }
        begin(start, bytes);
        let count = parts.len();
        self.ranges.splice(at..=at, parts);
        count
    }
}

#[cfg(test)]
mod tests;
