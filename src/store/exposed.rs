//! What a scrape shows: prepared under the lock in microseconds, finished without it by whoever comes first.

use std::sync::Arc;

use bytes::Bytes;

use super::Shared;
use crate::exposition::catalog::{self, Plan, Selection};
use crate::exposition::gzip::Piece;
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
    /// A plan, and whether it is about all applications, so that others will ask for the same.
    Merged(Variant, Plan, bool),
    /// Bodies of a generation, and whether they are all that there are, so that others will ask for the same.
    Raw(u64, Vec<Bytes>, bool),
}

/// What was rendered last in raw mode, and of which generation. In merge mode the catalog keeps its own.
#[derive(Debug, Default)]
pub(super) struct Rendered(Option<(u64, Arc<Chunk>)>);

/// The exposition of applications at one moment. It holds handles only.
#[derive(Debug)]
pub struct Exposed {
    chunks: Vec<Arc<Chunk>>,
    /// What applications say under the proxy's own names, to be merged with what the proxy says.
    merged: Option<catalog::Exposed>,
}

impl Prepared {
    pub(super) fn planned(shared: Arc<Shared>, variant: Variant, plan: Plan, all: bool) -> Self {
        Self {
            shared,
            work: Work::Merged(variant, plan, all),
        }
    }

    pub(super) fn raw(shared: Arc<Shared>, generation: u64, bodies: Vec<Bytes>, all: bool) -> Self {
        Self {
            shared,
            work: Work::Raw(generation, bodies, all),
        }
    }

    /// Whether [`Prepared::finish`] has next to nothing to do. Otherwise it takes milliseconds a megabyte: not for a
    /// thread that serves connections.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.work {
            Work::Merged(_, plan, _) => plan.pending() == 0,
            // Whoever holds the lock renders at this moment.
            Work::Raw(generation, _, all) => {
                *all && self
                    .shared
                    .rendered
                    .try_lock()
                    .is_ok_and(|rendered| rendered.0.as_ref().is_some_and(|(of, _)| of == generation))
            }
        }
    }

    /// Renders what is not rendered yet, once for all who ask at the same time.
    #[must_use]
    pub fn finish(self) -> Exposed {
        match self.work {
            Work::Merged(_, plan, _) if plan.pending() == 0 => Exposed::merged(plan.render().0),
            Work::Merged(variant, plan, all) => {
                let rendering = self.shared.rendering();
                // While we waited, somebody else may have rendered what we were about to.
                let again = self
                    .shared
                    .latest()
                    .catalog()
                    .filter(|_| all)
                    .map(|catalog| catalog.plan(variant, &Selection::Everything));
                let (exposed, finished) = again.unwrap_or(plan).render();
                if let Some(catalog) = self.shared.latest().catalog() {
                    catalog.install(variant, finished);
                }
                drop(rendering);
                Exposed::merged(exposed)
            }
            Work::Raw(generation, bodies, all) => {
                let mut rendering = self.shared.rendering();
                if let Some((_, chunk)) = rendering.0.as_ref().filter(|(of, _)| all && *of == generation) {
                    return Exposed {
                        chunks: vec![Arc::clone(chunk)],
                        merged: None,
                    };
                }
                let exposed = Exposed::raw(raw::concatenate(&bodies));
                if all {
                    rendering.0 = exposed.chunks.first().map(|chunk| (generation, Arc::clone(chunk)));
                }
                exposed
            }
        }
    }
}

impl Exposed {
    pub(super) fn merged(exposed: catalog::Exposed) -> Self {
        Self {
            chunks: exposed.chunks().to_vec(),
            merged: Some(exposed),
        }
    }

    pub(super) fn raw(segments: Vec<Bytes>) -> Self {
        Self {
            chunks: vec![Arc::new(Chunk::new(segments))],
            merged: None,
        }
    }

    /// The rendered parts, in order; those that are not compressed yet can be, while others use them.
    #[must_use]
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// The text, slice by slice, without its tail.
    #[must_use]
    pub fn text(&self) -> Vec<Bytes> {
        self.chunks.iter().flat_map(|chunk| chunk.text().iter().cloned()).collect()
    }

    /// The text as pieces of a gzip member, without its tail; what is not compressed yet as stored blocks.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        self.chunks.iter().flat_map(|chunk| chunk.pieces()).collect()
    }

    /// What ends the exposition: `own`, which is what the proxy says of itself in the text format, together with what
    /// applications say under the same names, and the mark of the end where the format has one.
    #[must_use]
    pub fn tail(&self, own: Vec<Bytes>) -> Vec<Bytes> {
        match &self.merged {
            Some(merged) => merged.tail_with(own),
            None => own,
        }
    }
}
