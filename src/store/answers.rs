//! Answers that are kept for as long as what they show stays as it is.

use std::collections::HashMap;
use std::sync::Arc;

use super::Exposed;
use crate::exposition::render::{Chunk, OutputFormat};
use crate::model::AppName;

/// After how many [rests](super::Inlet::rest) an answer is forgotten that nobody has asked for: a quarter of an hour, far longer than any
/// scraper lets pass. Somebody looked at it once.
const FORGET_AFTER: u32 = 12;

/// What is shown of one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aspect {
    /// What goes out of it among all others.
    Merged,
    /// What it has handed in.
    AsPushed,
}

/// How one application is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) aspect: Aspect,
    pub(super) variant: OutputFormat,
}

/// What was shown last.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Of all applications, in each variant, with the generation that it is of.
    everything: [Shelf; OutputFormat::COUNT],
    /// Of single applications, with their versions. Only those are here that are stored now, so there are as many as
    /// [`Limits::max_apps`](super::Limits::max_apps) allows, each in no more ways than there are aspects and variants.
    apps: HashMap<AppName, Vec<(Way, Shelf)>, foldhash::fast::RandomState>,
}

/// A place for one answer.
#[derive(Debug, Default)]
struct Shelf {
    /// The answer and the number that what it shows had.
    last: Option<(u64, Exposed)>,
    /// How many rests have passed since somebody asked.
    unasked: u32,
}

/// What a rest has brought to light.
#[derive(Debug, Default)]
pub(super) struct Rested {
    /// Variants of all applications that nobody asks for any more.
    pub(super) variants: Vec<OutputFormat>,
    /// Answers that are kept no more, to be dropped where no lock is held.
    pub(super) dropped: Vec<Exposed>,
    /// The parts of the answers about single applications that are still kept.
    pub(super) chunks: Vec<Arc<Chunk>>,
}

impl Shelf {
    fn get(&mut self, number: u64) -> Option<Exposed> {
        self.unasked = 0;
        let (of, exposed) = self.last.as_ref()?;
        (*of == number).then(|| exposed.clone())
    }

    fn take(&mut self) -> Option<Exposed> {
        self.last.take().map(|(_, exposed)| exposed)
    }

    /// Time has passed. Whether nobody has asked for long.
    fn rest(&mut self) -> bool {
        self.unasked = self.unasked.saturating_add(1);
        self.unasked == FORGET_AFTER
    }
}

impl Answers {
    /// All applications, if nothing has changed since this generation.
    pub(super) fn everything(&mut self, variant: OutputFormat, generation: u64) -> Option<Exposed> {
        self.everything[variant.index()].get(generation)
    }

    /// Keeps an answer about all applications; returns the one before it.
    pub(super) fn keep_everything(&mut self, variant: OutputFormat, generation: u64, exposed: Exposed) -> Option<Exposed> {
        let before = self.everything[variant.index()].last.replace((generation, exposed));
        before.map(|(_, exposed)| exposed)
    }

    /// One application, if it has this version still.
    pub(super) fn app(&mut self, app: &str, way: Way, version: u64) -> Option<Exposed> {
        let shelves = self.apps.get_mut(app)?;
        shelves.iter_mut().find(|(of, _)| *of == way)?.1.get(version)
    }

    /// Keeps an answer about an application that is stored and has this version now, unless somebody else was faster. Returns the one that
    /// is kept, and another one to be dropped where no lock is held.
    pub(super) fn keep_app(&mut self, app: AppName, way: Way, version: u64, exposed: Exposed) -> (Exposed, Option<Exposed>) {
        let shelves = self.apps.entry(app).or_default();
        let at = shelves.iter().position(|(of, _)| *of == way).unwrap_or_else(|| {
            shelves.push((way, Shelf::default()));
            shelves.len() - 1
        });
        let shelf = &mut shelves[at].1;
        if let Some(kept) = shelf.get(version) {
            return (kept, Some(exposed));
        }
        let before = shelf.take();
        shelf.last = Some((version, exposed.clone()));
        (exposed, before)
    }

    /// Takes out the responses about everything and about these apps, which have changed, to be dropped where no lock is held: they would
    /// keep outdated texts in memory until they are asked for again. A response about another app that has changed with them is found to be
    /// outdated by its version.
    pub(super) fn outdated(&mut self, changed: &[AppName]) -> Vec<Exposed> {
        let mut outdated: Vec<_> = self.everything.iter_mut().filter_map(Shelf::take).collect();
        for app in changed {
            let shelves = self.apps.remove(app).into_iter().flatten();
            outdated.extend(shelves.filter_map(|(_, mut shelf)| shelf.take()));
        }
        outdated
    }

    /// The same for an app that was updated with the text that it had: only its time of update has changed.
    pub(super) fn outdated_by_time(&mut self, app: &AppName) -> Vec<Exposed> {
        let mut outdated: Vec<_> = self.everything.iter_mut().filter_map(Shelf::take).collect();
        if let Some(shelves) = self.apps.get_mut(app) {
            let as_pushed = shelves.extract_if(.., |(way, _)| way.aspect == Aspect::AsPushed);
            outdated.extend(as_pushed.filter_map(|(_, mut shelf)| shelf.take()));
        }
        outdated
    }

    /// Time has passed: what nobody has asked for in many calls is forgotten.
    pub(super) fn rest(&mut self) -> Rested {
        let mut rested = Rested::default();
        for (shelf, variant) in self.everything.iter_mut().zip(OutputFormat::ALL) {
            if shelf.rest() {
                rested.variants.push(variant);
                rested.dropped.extend(shelf.take());
            }
        }
        self.apps.retain(|_, shelves| {
            shelves.retain_mut(|(_, shelf)| {
                let forgotten = shelf.rest();
                rested.dropped.extend(Some(&mut *shelf).filter(|_| forgotten).and_then(Shelf::take));
                !forgotten
            });
            let kept = shelves.iter().filter_map(|(_, shelf)| shelf.last.as_ref());
            rested.chunks.extend(kept.flat_map(|(_, exposed)| exposed.chunks().iter().cloned()));
            !shelves.is_empty()
        });
        rested
    }
}
