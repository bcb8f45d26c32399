//! Events as parts of responses that are rendered once for all scrapes that have the same events.
//!
//! A thousand scrapes of the same ten thousand events share their text. Blocks begin at fixed numbers, so that scrapes that begin at
//! different events have the same blocks from there on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::text;
use crate::exposition::gzip::Compressor;
use crate::exposition::negotiate::ContentEncoding;
use crate::exposition::render::Chunk;
use crate::model::Syntax;
use crate::store::StoredEvent;

/// Numbers of events in one block: half a megabyte of the largest.
const BLOCK: u64 = 64;

/// Text after which the blocks that were not used meanwhile are dropped. Twice as much is kept at most: what two scrapes have.
const GENERATION_BYTES: u64 = 8 << 20;

/// The rendered blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    cache: Mutex<Cache>,
    /// Held by the one that renders, so that others wait and find it done.
    rendering: Mutex<()>,
}

/// The syntax where it matters, and the events of a block.
type Key = (Option<Syntax>, Box<[u64]>);

#[derive(Debug, Default)]
struct Cache {
    young: HashMap<Key, Arc<Chunk>>,
    old: HashMap<Key, Arc<Chunk>>,
    /// Bytes of text in `young`, at most [`GENERATION_BYTES`] and one block.
    bytes: u64,
}

impl Cache {
    fn get(&mut self, key: &Key) -> Option<Arc<Chunk>> {
        if let Some(chunk) = self.young.get(key) {
            return Some(Arc::clone(chunk));
        }
        let (key, chunk) = self.old.remove_entry(key)?;
        self.insert(key, Arc::clone(&chunk));
        Some(chunk)
    }

    fn insert(&mut self, key: Key, chunk: Arc<Chunk>) {
        if self.bytes >= GENERATION_BYTES {
            (self.old, self.bytes) = (std::mem::take(&mut self.young), 0);
        }
        self.bytes += chunk.len();
        self.young.insert(key, chunk);
    }
}

impl Blocks {
    /// The family `name` of these events. Compressed where the coding asks for it. Takes milliseconds a megabyte where it is not
    /// rendered yet.
    pub(super) fn render(
        &self,
        name: &str,
        mut events: Vec<Arc<StoredEvent>>,
        stamps: Option<Syntax>,
        encoding: ContentEncoding,
    ) -> Vec<Arc<Chunk>> {
        if stamps.is_some() {
            text::sort_for_stamps(&mut events);
        }
        let number = |record: &StoredEvent| record.id.0 / BLOCK;
        let blocks: Vec<_> = events
            .chunk_by(|one, other| number(one) == number(other))
            .map(|events| (key(stamps, events), events))
            .collect();
        let mut compressor = (encoding == ContentEncoding::Gzip).then(Compressor::new);
        let mut chunks = vec![Arc::new(text::chunk(text::head(name)))];
        for (key, events) in blocks {
            let kept = self.cache().get(&key);
            let chunk = kept.unwrap_or_else(|| self.render_block(key, name, events, stamps));
            if let Some(compressor) = &mut compressor {
                chunk.compress_once(compressor);
            }
            chunks.push(chunk);
        }
        chunks
    }

    fn render_block(&self, key: Key, name: &str, events: &[Arc<StoredEvent>], stamps: Option<Syntax>) -> Arc<Chunk> {
        let _rendering = self.rendering();
        if let Some(chunk) = self.cache().get(&key) {
            return chunk;
        }
        let chunk = Arc::new(text::chunk(text::samples(name, events, stamps)));
        self.cache().insert(key, Arc::clone(&chunk));
        chunk
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rendering(&self) -> MutexGuard<'_, ()> {
        self.rendering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(stamps: Option<Syntax>, events: &[Arc<StoredEvent>]) -> Key {
    (stamps, events.iter().map(|record| record.id.0).collect())
}

#[cfg(test)]
mod tests;
