//! ResponseCache that are kept for as long as what they show stays as it is.

use std::collections::HashMap;
use std::sync::Arc;

use super::RenderedExposition;
use crate::exposition::render::{Chunk, OutputFormat};
use crate::model::AppName;

/// After how many evictions an answer is forgotten that nobody has asked for: a quarter of an hour, far longer than any
/// scraper lets pass. Somebody looked at it once.
const FORGET_AFTER: u32 = 12;

/// What is shown of one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// What goes out of it among all others.
    Merged,
    /// What it has handed in.
    AsPushed,
}

/// How one application is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheKey {
    pub(super) scope: Scope,
    pub(super) variant: OutputFormat,
}

/// What was shown last.
#[derive(Debug, Default)]
pub(super) struct ResponseCache {
    /// Of all applications, in each variant, with the generation that it is of.
    everything: [CacheSlot; OutputFormat::COUNT],
    /// Of single applications, with their versions. Only those are here that are stored now, so there are as many as
    /// [`Limits::max_apps`](super::Limits::max_apps) allows, each in no more ways than there are aspects and variants.
    apps: HashMap<AppName, Vec<(CacheKey, CacheSlot)>, foldhash::fast::RandomState>,
}

/// A place for one answer.
#[derive(Debug, Default)]
struct CacheSlot {
    /// The answer and the number that what it shows had.
    last: Option<(u64, RenderedExposition)>,
    /// How many rests have passed since somebody asked.
    unasked: u32,
}

/// What a rest has brought to light.
#[derive(Debug, Default)]
pub(super) struct Evicted {
    /// Variants of all applications that nobody asks for any more.
    pub(super) variants: Vec<OutputFormat>,
    /// ResponseCache that are kept no more, to be dropped where no lock is held.
    pub(super) dropped: Vec<RenderedExposition>,
    /// The parts of the answers about single applications that are still kept.
    pub(super) chunks: Vec<Arc<Chunk>>,
}

impl CacheSlot {
    fn get(&mut self, number: u64) -> Option<RenderedExposition> {
        self.unasked = 0;
        let (of, exposed) = self.last.as_ref()?;
        (*of == number).then(|| exposed.clone())
    }

    fn take(&mut self) -> Option<RenderedExposition> {
        self.last.take().map(|(_, exposed)| exposed)
    }

    /// Time has passed. Whether nobody has asked for long.
    fn evict_idle(&mut self) -> bool {
        self.unasked = self.unasked.saturating_add(1);
        self.unasked == FORGET_AFTER
    }
}

impl ResponseCache {
    /// All applications, if nothing has changed since this generation.
    pub(super) fn everything(&mut self, variant: OutputFormat, generation: u64) -> Option<RenderedExposition> {
        self.everything[variant.index()].get(generation)
    }

    /// Keeps an answer about all applications; returns the one before it.
    pub(super) fn keep_everything(
        &mut self,
        variant: OutputFormat,
        generation: u64,
        exposed: RenderedExposition,
    ) -> Option<RenderedExposition> {
        let before = self.everything[variant.index()].last.replace((generation, exposed));
        before.map(|(_, exposed)| exposed)
    }

    /// One application, if it has this version still.
    pub(super) fn app(&mut self, app: &str, key: CacheKey, version: u64) -> Option<RenderedExposition> {
        let slots = self.apps.get_mut(app)?;
        slots.iter_mut().find(|(of, _)| *of == key)?.1.get(version)
    }

    /// Keeps an answer about an application that is stored and has this version now, unless somebody else was faster. Returns the one that
    /// is kept, and another one to be dropped where no lock is held.
    pub(super) fn keep_app(
        &mut self,
        app: AppName,
        key: CacheKey,
        version: u64,
        exposed: RenderedExposition,
    ) -> (RenderedExposition, Option<RenderedExposition>) {
        let slots = self.apps.entry(app).or_default();
        let at = slots.iter().position(|(of, _)| *of == key).unwrap_or_else(|| {
            slots.push((key, CacheSlot::default()));
            slots.len() - 1
        });
        let slot = &mut slots[at].1;
        if let Some(kept) = slot.get(version) {
            return (kept, Some(exposed));
        }
        let before = slot.take();
        slot.last = Some((version, exposed.clone()));
        (exposed, before)
    }

    /// Takes out the responses about everything and about these apps, which have changed, to be dropped where no lock is held: they would
    /// keep outdated texts in memory until they are asked for again. A response about another app that has changed with them is found to be
    /// outdated by its version.
    pub(super) fn outdated(&mut self, changed: &[AppName]) -> Vec<RenderedExposition> {
        let mut outdated: Vec<_> = self.everything.iter_mut().filter_map(CacheSlot::take).collect();
        for app in changed {
            let slots = self.apps.remove(app).into_iter().flatten();
            outdated.extend(slots.filter_map(|(_, mut slot)| slot.take()));
        }
        outdated
    }

    /// The same for an app that was updated with the text that it had: only its time of update has changed.
    pub(super) fn outdated_by_time(&mut self, app: &AppName) -> Vec<RenderedExposition> {
        let mut outdated: Vec<_> = self.everything.iter_mut().filter_map(CacheSlot::take).collect();
        if let Some(slots) = self.apps.get_mut(app) {
            let as_pushed = slots.extract_if(.., |(key, _)| key.scope == Scope::AsPushed);
            outdated.extend(as_pushed.filter_map(|(_, mut slot)| slot.take()));
        }
        outdated
    }

    /// Time has passed: what nobody has asked for in many calls is forgotten.
    pub(super) fn evict_idle(&mut self) -> Evicted {
        let mut evicted = Evicted::default();
        for (slot, variant) in self.everything.iter_mut().zip(OutputFormat::ALL) {
            if slot.evict_idle() {
                evicted.variants.push(variant);
                evicted.dropped.extend(slot.take());
            }
        }
        self.apps.retain(|_, slots| {
            slots.retain_mut(|(_, slot)| {
                let forgotten = slot.evict_idle();
                evicted
                    .dropped
                    .extend(Some(&mut *slot).filter(|_| forgotten).and_then(CacheSlot::take));
                !forgotten
            });
            let kept = slots.iter().filter_map(|(_, slot)| slot.last.as_ref());
            evicted
                .chunks
                .extend(kept.flat_map(|(_, exposed)| exposed.chunks().iter().cloned()));
            !slots.is_empty()
        });
        evicted
    }
}
