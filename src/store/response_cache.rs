//! Cache of rendered responses, invalidated by version.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use super::RenderedExposition;
use crate::exposition::render::{Chunk, OutputFormat};
use crate::model::AppName;

/// The number of calls of [`Inlet::evict_idle`](super::Inlet::evict_idle) after which an unused response is evicted: a quarter of an hour,
/// far longer than any scrape interval.
const FORGET_AFTER: u32 = 12;

/// The content of a response about one app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Its merged families, as they are exposed among all others.
    Merged,
    /// Its text as it was pushed or polled.
    AsPushed,
}

/// The key of a cached response about one app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheKey {
    pub(super) scope: Scope,
    pub(super) variant: OutputFormat,
}

/// The cached responses.
#[derive(Debug, Default)]
pub(super) struct ResponseCache {
    /// Of all apps, in each variant, with the generation that it is of.
    everything: [CacheSlot; OutputFormat::COUNT],
    /// Of single apps, with their versions. Only those are here that are stored now, so there are as many as
    /// [`Limits::max_apps`](super::Limits::max_apps) allows, each in no more ways than there are aspects and variants.
    apps: HashMap<AppName, Vec<(CacheKey, CacheSlot)>, foldhash::fast::RandomState>,
}

/// A slot for one response.
#[derive(Debug, Default)]
struct CacheSlot {
    /// The response and its version.
    last: Option<(u64, RenderedExposition)>,
    /// The number of calls of [`ResponseCache::evict_idle`] since the last request.
    unasked: u32,
}

/// The result of [`ResponseCache::evict_idle`].
#[derive(Debug, Default)]
pub(super) struct Evicted {
    /// Formats of the response with all apps that are not requested any more.
    pub(super) variants: Vec<OutputFormat>,
    /// ResponseCache that are kept no more, to be dropped where no lock is held.
    pub(super) dropped: Vec<RenderedExposition>,
    /// The chunks of the responses about single apps that stay cached.
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

    /// Counts a call without a request; true if the slot is idle for long.
    fn evict_idle(&mut self) -> bool {
        self.unasked = self.unasked.saturating_add(1);
        self.unasked == FORGET_AFTER
    }
}

impl ResponseCache {
    /// All apps, if nothing has changed since this generation.
    pub(super) fn everything(&mut self, variant: OutputFormat, generation: u64) -> Option<RenderedExposition> {
        self.everything[variant.index()].get(generation)
    }

    /// Caches a response with all apps; returns the one before it.
    pub(super) fn keep_everything(
        &mut self,
        variant: OutputFormat,
        generation: u64,
        exposed: RenderedExposition,
    ) -> Option<RenderedExposition> {
        let before = self.everything[variant.index()].last.replace((generation, exposed));
        before.map(|(_, exposed)| exposed)
    }

    /// One app, if it has this version still.
    pub(super) fn app(&mut self, app: &str, key: CacheKey, version: u64) -> Option<RenderedExposition> {
        let slots = self.apps.get_mut(app)?;
        slots.iter_mut().find(|(of, _)| *of == key)?.1.get(version)
    }

    /// Caches a response about an app that is stored in this version, unless another thread was faster. Returns the cached one, and another
    /// one to be dropped without a lock.
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

    /// Evicts responses that were not requested in many calls.
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
