//! Responses to scrapes: found in the cache in microseconds, or rendered without a lock by the first request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::combiner::Draft;
use super::response_cache::{CacheKey, Scope};
use super::{Shared, parallel};
use crate::exposition::catalog;
use crate::exposition::gzip::{CompressionLevel, CompressorPool, Piece};
use crate::exposition::negotiate::ContentEncoding;
use crate::exposition::render::{Chunk, OutputFormat};
use crate::model::AppName;

/// Text of a chunk where texts are not merged, in bytes: as in segments of merged ones.
const RAW_CHUNK_BYTES: usize = 128 * 1024;

/// An exposition of one moment that may still have to be rendered.
#[derive(Debug)]
pub struct PendingExposition {
    shared: Arc<Shared>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// The cached response is up to date.
    Ready(RenderedExposition),
    /// All apps.
    Everything(OutputFormat),
    /// One of them.
    One(Box<One>),
}

/// A response about one app, to be cached while the app has this version.
#[derive(Debug)]
struct One {
    app: AppName,
    key: CacheKey,
    version: u64,
    /// The generation of the app's update.
    changed: u64,
    draft: Draft,
}

/// The exposition of apps at one moment. Cloning it clones a handle.
#[derive(Debug, Clone)]
pub struct RenderedExposition(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    chunks: Vec<Arc<Chunk>>,
    /// Families of apps with names of the proxy's own families, to be merged with those.
    merged: Option<catalog::RenderedSegments>,
    /// All chunks as one piece, and how well they were compressed when it was made.
    joined: Mutex<Option<(u64, Arc<Piece>)>>,
    /// True if each chunk has a compressed form, which it keeps.
    compressed: AtomicBool,
    /// Chunks that were compressed for this response. Locked while they are compressed, so that other threads wait.
    newly_compressed: Mutex<Vec<Arc<Chunk>>>,
}

impl PendingExposition {
    pub(super) fn everything(shared: Arc<Shared>, variant: OutputFormat) -> Self {
        let generation = shared.apps().table.generation();
        let ready = shared.responses().everything(variant, generation);
        let work = ready.map_or(Work::Everything(variant), Work::Ready);
        Self { shared, work }
    }

    /// One app; `None` if it is unknown.
    pub(super) fn app(shared: Arc<Shared>, name: &str, scope: Scope, variant: OutputFormat) -> Option<Self> {
        let mut apps = shared.apps();
        let app = Arc::clone(apps.table.get(name)?);
        let (scope, draft) = apps.combiner.draft_app(variant, scope, &app);
        drop(apps);
        let (key, version) = (CacheKey { scope, variant }, draft.version(&app));
        let ready = shared.responses().app(name, key, version);
        let one = || {
            Work::One(Box::new(One {
                app: app.name.clone(),
                key,
                version,
                changed: app.changed,
                draft,
            }))
        };
        let work = ready.map_or_else(one, Work::Ready);
        Some(Self { shared, work })
    }

    /// No app.
    pub(super) fn nothing(shared: Arc<Shared>, variant: OutputFormat) -> Self {
        let work = Work::Ready(shared.parser.render_nothing(variant));
        Self { shared, work }
    }

    /// True if [`PendingExposition::finish`] has no work. Otherwise that takes milliseconds per megabyte: not for a thread that serves
    /// connections.
    #[must_use]
    pub fn is_ready(&self, encoding: ContentEncoding) -> bool {
        let is_ready = |exposed: &RenderedExposition| match encoding {
            ContentEncoding::Identity => exposed.has_text(),
            ContentEncoding::Gzip => exposed.is_compressed(),
        };
        matches!(&self.work, Work::Ready(exposed) if is_ready(exposed))
    }

    /// True if it is known that the self metrics must be one text; see [`RenderedExposition::mixes`].
    #[must_use]
    pub fn mixes(&self) -> bool {
        matches!(&self.work, Work::Ready(exposed) if exposed.mixes())
    }

    /// Renders and compresses the parts for which that is not done yet, once for all requests at the same time. For gzip the text itself
    /// need not be there.
    #[must_use]
    pub fn finish(self, encoding: ContentEncoding) -> RenderedExposition {
        let exposed = match self.work {
            Work::Ready(exposed) => exposed,
            Work::Everything(variant) => everything(&self.shared, variant, encoding),
            Work::One(one) => one.finish(&self.shared),
        };
        match encoding {
            ContentEncoding::Identity => exposed.0.chunks.iter().for_each(|chunk| drop(chunk.text())),
            ContentEncoding::Gzip => exposed.compress(&self.shared.compressors),
        }
        exposed
    }
}

/// All apps, as they are now. While one caller renders, others wait, and find that it is done.
fn everything(shared: &Shared, variant: OutputFormat, encoding: ContentEncoding) -> RenderedExposition {
    let _rendering = shared.rendering();
    let mut apps = shared.apps();
    let generation = apps.table.generation();
    if let Some(ready) = shared.responses().everything(variant, generation) {
        return ready;
    }
    let draft = apps.draft_everything(variant);
    drop(apps);
    let exposed = match encoding {
        ContentEncoding::Identity => draft.render(variant),
        ContentEncoding::Gzip => draft.render_compressed(variant, &shared.compressors),
    };
    let before = shared.responses().keep_everything(variant, generation, exposed.clone());
    // Freeing thousands of handles takes a while: not under the lock.
    drop(before);
    exposed
}

impl One {
    /// Renders the response without waiting for other threads that do the same; the first one is cached, so that all share its chunks,
    /// which are compressed once.
    fn finish(self, shared: &Shared) -> RenderedExposition {
        let exposed = self.draft.render(self.key.variant);
        let apps = shared.apps();
        let now = apps.table.get(self.app.as_str()).map(|app| app.changed);
        if now != Some(self.changed) {
            return exposed;
        }
        let (kept, unused) = shared.responses().keep_app(self.app, self.key, self.version, exposed);
        drop(apps);
        drop(unused);
        kept
    }
}

impl RenderedExposition {
    pub(super) fn merged(exposed: catalog::RenderedSegments) -> Self {
        #[cfg(test)]
        panic_at_test_family(exposed.chunks());
        Self::new(exposed.chunks().to_vec(), Some(exposed))
    }

    /// Texts as they came, in chunks of [`RAW_CHUNK_BYTES`] and more, which threads can compress side by side.
    pub(super) fn raw(texts: Vec<Bytes>) -> Self {
        let (mut chunks, mut slices, mut bytes) = (Vec::new(), Vec::new(), 0);
        for text in texts {
            bytes += text.len();
            slices.push(text);
            if bytes >= RAW_CHUNK_BYTES {
                chunks.push(Arc::new(Chunk::new(std::mem::take(&mut slices))));
                bytes = 0;
            }
        }
        if !slices.is_empty() {
            chunks.push(Arc::new(Chunk::new(slices)));
        }
        Self::new(chunks, None)
    }

    fn new(chunks: Vec<Arc<Chunk>>, merged: Option<catalog::RenderedSegments>) -> Self {
        Self(Arc::new(Shown {
            chunks,
            merged,
            joined: Mutex::default(),
            compressed: AtomicBool::new(false),
            newly_compressed: Mutex::default(),
        }))
    }

    /// True if [`RenderedExposition::piece`] has every chunk in its compressed form. Otherwise compressing takes two milliseconds a megabyte: not for
    /// a thread that serves connections.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.0.compressed.load(Ordering::Acquire)
    }

    /// Compresses the chunks that are not, on all cores, while other callers wait.
    fn compress(&self, compressors: &CompressorPool) {
        if self.is_compressed() {
            return;
        }
        let mut newly_compressed = self.newly_compressed();
        let pending: Vec<_> = self.0.chunks.iter().filter(|chunk| chunk.level().is_none()).collect();
        parallel::for_each(&pending, |chunk| compressors.with(|compressor| chunk.compress_once(compressor)));
        newly_compressed.extend(pending.into_iter().cloned());
        self.0.compressed.store(true, Ordering::Release);
    }

    /// Takes out the chunks that were compressed in haste for this response: each is returned once.
    #[must_use]
    pub fn take_newly_compressed(&self) -> Vec<Arc<Chunk>> {
        std::mem::take(&mut self.newly_compressed())
    }

    /// The same with chunks that were compressed while they were rendered.
    pub(super) fn with_newly_compressed(self, chunks: Vec<Arc<Chunk>>) -> Self {
        self.newly_compressed().extend(chunks);
        self
    }

    fn newly_compressed(&self) -> MutexGuard<'_, Vec<Arc<Chunk>>> {
        self.0.newly_compressed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rendered parts, in order; those that are not compressed yet can be, while others use them.
    #[must_use]
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.0.chunks
    }

    /// True if [`RenderedExposition::text`] has all text in memory. Otherwise that takes a millisecond per megabyte: not for a thread that
    /// serves connections.
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
        // Chunks are only ever compressed better, so the sum changes with any of them.
        let level = |chunk: &Arc<Chunk>| match chunk.level() {
            None => 0,
            Some(CompressionLevel::Fast) => 1,
            Some(CompressionLevel::Small) => 2,
        };
        let levels = self.0.chunks.iter().map(level).sum();
        let mut joined = self.0.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, piece)) = joined.as_ref().filter(|(of, _)| *of == levels) {
            return Arc::clone(piece);
        }
        let pieces: Vec<_> = self.0.chunks.iter().flat_map(|chunk| chunk.pieces()).collect();
        let piece = Arc::new(Piece::concat(&pieces).condensed());
        *joined = Some((levels, Arc::clone(&piece)));
        piece
    }

    /// True if the self metrics must go through [`RenderedExposition::tail`] as one text: apps have families with the proxy's own names, to be
    /// merged with them, or the response is protobuf.
    #[must_use]
    pub fn mixes(&self) -> bool {
        self.has_reserved() || self.is_protobuf()
    }

    /// True if apps have families with the proxy's own names.
    #[must_use]
    pub fn has_reserved(&self) -> bool {
        self.0.merged.as_ref().is_some_and(|merged| merged.has_reserved())
    }

    /// True if the response is protobuf.
    #[must_use]
    pub fn is_protobuf(&self) -> bool {
        self.0.merged.as_ref().is_some_and(|merged| merged.variant().protobuf)
    }

    /// The end of the exposition: `own`, the self metrics in the text format, merged with families of apps with the same names, and the end
    /// mark where the format has one. With many such series it takes milliseconds: not for a thread that serves connections.
    #[must_use]
    pub fn tail(&self, own: Vec<Bytes>) -> Vec<Arc<Chunk>> {
        let tail = match &self.0.merged {
            Some(merged) => merged.tail_with(own),
            None => vec![Arc::new(Chunk::new(own))],
        };
        #[cfg(test)]
        panic_at_test_family(&tail);
        tail
    }
}

/// Panics at a family with a name that only unit tests use, which show what becomes of responses at a fault in the renderer.
#[cfg(test)]
fn panic_at_test_family(chunks: &[Arc<Chunk>]) {
    for chunk in chunks {
        let had_text = chunk.has_text();
        let is_rendered = memchr::memmem::find(&chunk.text().concat(), b"panics_renderer").is_some();
        if !had_text {
            chunk.drop_text();
        }
        assert!(!is_rendered, "a family at which tests make rendering panic");
    }
}
