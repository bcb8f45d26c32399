//! What a scrape shows: found ready in microseconds, or finished without a lock by whoever comes first.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Shared;
use crate::exposition::catalog::{self, Plan, Selection};
use crate::exposition::gzip::{Effort, Piece};
use crate::exposition::negotiate::Coding;
use crate::exposition::raw;
use crate::exposition::render::{Chunk, Variant};

/// An exposition of one moment that may still have to be rendered.
#[derive(Debug)]
pub struct Prepared {
    shared: Arc<Shared>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// Nothing has changed since somebody else asked.
    Ready(Exposed),
    /// All applications.
    Everything(Variant),
    /// A plan about some of them.
    Merged(Plan),
    /// The bodies of some of them, in raw mode.
    Raw(Vec<Bytes>),
}

/// After how many [rests](super::Inlet::rest) a variant is forgotten that nobody has asked for: a quarter of an hour, far longer than any
/// scraper lets pass. Somebody looked at it once.
const FORGET_AFTER: u32 = 12;

/// What was shown last of all applications in each variant.
#[derive(Debug, Default)]
pub(super) struct Answers([Shelf; Variant::COUNT]);

#[derive(Debug, Default)]
struct Shelf {
    /// The answer and the generation that it is of.
    last: Option<(u64, Exposed)>,
    /// How many rests have passed since somebody asked.
    unasked: u32,
}

/// The exposition of applications at one moment. Cloning it clones a handle.
#[derive(Debug, Clone)]
pub struct Exposed(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    chunks: Vec<Arc<Chunk>>,
    /// What applications say under the proxy's own names, to be merged with what the proxy says.
    merged: Option<catalog::Exposed>,
    /// All chunks as one piece, and how well they were compressed when it was made.
    joined: Mutex<Option<(u64, Arc<Piece>)>>,
}

impl Answers {
    /// Takes out all answers, to be dropped where no lock is held: something has changed since they were made, and they would keep the
    /// texts of that moment in memory until somebody asks again.
    pub(super) fn take_all(&mut self) -> [Option<(u64, Exposed)>; Variant::COUNT] {
        self.0.each_mut().map(|shelf| shelf.last.take())
    }

    /// The answer, if nothing has changed since it was made.
    pub(super) fn get(&mut self, variant: Variant, generation: u64) -> Option<Exposed> {
        let shelf = &mut self.0[variant.index()];
        shelf.unasked = 0;
        let (of, exposed) = shelf.last.as_ref()?;
        (*of == generation).then(|| exposed.clone())
    }

    fn replace(&mut self, variant: Variant, generation: u64, exposed: Exposed) -> Option<(u64, Exposed)> {
        self.0[variant.index()].last.replace((generation, exposed))
    }

    /// Time has passed: the variants that nobody has asked for so long that they are to be forgotten, with their last answers.
    pub(super) fn rest(&mut self) -> Vec<(Variant, Option<(u64, Exposed)>)> {
        let mut forgotten = Vec::new();
        for (shelf, variant) in self.0.iter_mut().zip(Variant::ALL) {
            shelf.unasked = shelf.unasked.saturating_add(1);
            if shelf.unasked == FORGET_AFTER {
                forgotten.push((variant, shelf.last.take()));
            }
        }
        forgotten
    }
}

impl Prepared {
    pub(super) fn everything(shared: Arc<Shared>, variant: Variant) -> Self {
        let generation = shared.latest().generation();
        let ready = shared.answers().get(variant, generation);
        let work = ready.map_or(Work::Everything(variant), Work::Ready);
        Self { shared, work }
    }

    pub(super) fn planned(shared: Arc<Shared>, plan: Plan) -> Self {
        Self {
            shared,
            work: Work::Merged(plan),
        }
    }

    pub(super) fn raw(shared: Arc<Shared>, bodies: Vec<Bytes>) -> Self {
        Self {
            shared,
            work: Work::Raw(bodies),
        }
    }

    /// Whether [`Prepared::finish`] has nothing to do. Otherwise it takes milliseconds a megabyte: not for a thread that serves
    /// connections.
    #[must_use]
    pub fn is_ready(&self, coding: Coding) -> bool {
        matches!(&self.work, Work::Ready(exposed) if coding == Coding::Gzip || exposed.has_text())
    }

    /// Renders what is not rendered yet, once for all who ask at the same time. For gzip the text itself need not be there.
    #[must_use]
    pub fn finish(self, coding: Coding) -> Exposed {
        let exposed = match self.work {
            Work::Ready(exposed) => exposed,
            Work::Everything(variant) => everything(&self.shared, variant),
            Work::Merged(plan) => Exposed::merged(plan.render().0),
            Work::Raw(bodies) => Exposed::raw(raw::concatenate(&bodies)),
        };
        if coding == Coding::Identity {
            exposed.0.chunks.iter().for_each(|chunk| drop(chunk.text()));
        }
        exposed
    }
}

/// All applications, as they are now. While one caller renders, others wait, and find that it is done.
fn everything(shared: &Shared, variant: Variant) -> Exposed {
    let _rendering = shared.rendering();
    let mut latest = shared.latest();
    let generation = latest.generation();
    if let Some(ready) = shared.answers().get(variant, generation) {
        return ready;
    }
    let exposed = if let Some(plan) = latest.catalog().map(|catalog| catalog.plan(variant, Selection::Everything)) {
        drop(latest);
        let (exposed, finished) = plan.render();
        if let Some(catalog) = shared.latest().catalog() {
            catalog.install(variant, finished);
        }
        Exposed::merged(exposed)
    } else {
        let bodies: Vec<_> = latest.apps().map(|app| app.text.body().clone()).collect();
        drop(latest);
        Exposed::raw(raw::concatenate(&bodies))
    };
    let before = shared.answers().replace(variant, generation, exposed.clone());
    // Freeing thousands of handles takes a while: not under the lock.
    drop(before);
    exposed
}

impl Exposed {
    pub(super) fn merged(exposed: catalog::Exposed) -> Self {
        Self::new(exposed.chunks().to_vec(), Some(exposed))
    }

    pub(super) fn raw(segments: Vec<Bytes>) -> Self {
        Self::new(vec![Arc::new(Chunk::new(segments))], None)
    }

    fn new(chunks: Vec<Arc<Chunk>>, merged: Option<catalog::Exposed>) -> Self {
        let joined = Mutex::default();
        Self(Arc::new(Shown { chunks, merged, joined }))
    }

    /// The rendered parts, in order; those that are not compressed yet can be, while others use them.
    #[must_use]
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.0.chunks
    }

    /// Whether [`Exposed::text`] finds all text in memory. Otherwise it takes a millisecond a megabyte: not for a thread that serves
    /// connections.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.0.chunks.iter().all(|chunk| chunk.has_text())
    }

    /// The text in rows of slices, without its tail.
    #[must_use]
    pub fn text(&self) -> Vec<Arc<Vec<Bytes>>> {
        self.0.chunks.iter().map(|chunk| chunk.text()).collect()
    }

    /// The text as a piece of a gzip member, without its tail; what is not compressed yet as stored blocks.
    #[must_use]
    pub fn piece(&self) -> Arc<Piece> {
        // Chunks are only ever compressed better, so the sum tells whether any has been since.
        let effort = |chunk: &Arc<Chunk>| match chunk.effort() {
            None => 0,
            Some(Effort::Fast) => 1,
            Some(Effort::Small) => 2,
        };
        let efforts = self.0.chunks.iter().map(effort).sum();
        let mut joined = self.0.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, piece)) = joined.as_ref().filter(|(of, _)| *of == efforts) {
            return Arc::clone(piece);
        }
        let pieces: Vec<_> = self.0.chunks.iter().flat_map(|chunk| chunk.pieces()).collect();
        let piece = Arc::new(Piece::concat(&pieces).condensed());
        *joined = Some((efforts, Arc::clone(&piece)));
        piece
    }

    /// Whether applications say something under the proxy's own names, so that what the proxy says cannot stand for itself.
    #[must_use]
    pub fn mixes(&self) -> bool {
        self.0.merged.as_ref().is_some_and(catalog::Exposed::has_guests)
    }

    /// What ends the exposition: `own`, which is what the proxy says of itself in the text format, together with what
    /// applications say under the same names, and the mark of the end where the format has one.
    #[must_use]
    pub fn tail(&self, own: Vec<Bytes>) -> Vec<Bytes> {
        match &self.0.merged {
            Some(merged) => merged.tail_with(own),
            None => own,
        }
    }
}
