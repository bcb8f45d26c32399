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
        let mut compressor = Compressor::new();
        let mut chunks = vec![Arc::new(text::chunk(text::head(name)))];
        for (key, events) in blocks {
            let kept = self.cache().get(&key);
            let chunk = kept.unwrap_or_else(|| self.render_block(key, name, events, stamps));
            if encoding == ContentEncoding::Gzip {
                chunk.compress_once(&mut compressor);
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::model::{Event, EventId, LabelSet, Timestamp};

    fn events(ids: std::ops::Range<u64>, label_bytes: usize) -> Vec<Arc<StoredEvent>> {
        let event = |id: u64| {
            let labels = LabelSet::new(vec![("n".into(), id.to_string()), ("x".into(), "y".repeat(label_bytes))]).unwrap();
            let at = Timestamp::from_millis(i64::try_from(id).unwrap());
            Arc::new(StoredEvent {
                id: EventId(id),
                event: Event { labels, value: 1.0 },
                at,
                stamp: at,
            })
        };
        ids.map(event).collect()
    }

    fn text(chunks: &[Arc<Chunk>]) -> String {
        let text: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.text().concat()).collect();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn scrapes_share_the_blocks_in_which_they_have_the_same_events() {
        let blocks = Blocks::default();
        let render = |ids| blocks.render("e", events(ids, 1), None, ContentEncoding::Identity);
        let (one, other) = (render(1..200), render(70..250));
        // The head, then the blocks of 0 to 63, 64 to 127, 128 to 191 and 192 to 255.
        assert_eq!((one.len(), other.len()), (5, 4));
        let shared = one.iter().filter(|chunk| other.iter().any(|other| Arc::ptr_eq(chunk, other)));
        assert_eq!(
            shared.map(|chunk| text(std::slice::from_ref(chunk))).collect::<String>(),
            text(&one[3..4])
        );
        assert!(one.iter().zip(render(1..200)).skip(1).all(|(one, again)| Arc::ptr_eq(one, &again)));
        let whole = text(&one);
        assert!(
            whole.starts_with("# HELP e ") && whole.ends_with("e{n=\"199\",x=\"y\"} 1\n"),
            "{whole}"
        );
        assert_eq!(whole.lines().count(), 2 + 199);
    }

    #[test]
    fn times_are_written_as_the_format_has_them() {
        let blocks = Blocks::default();
        for (syntax, stamp) in [(Syntax::Text, "1007"), (Syntax::OpenMetrics, "1.007")] {
            let chunks = blocks.render("e", events(1_007..1_008, 1), Some(syntax), ContentEncoding::Identity);
            assert!(text(&chunks).ends_with(&format!("}} 1 {stamp}\n")), "{}", text(&chunks));
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let blocks = Blocks::default();
        let often = blocks.render("e", events(0..10, 1), None, ContentEncoding::Gzip);
        assert!(often[1].level().is_some());
        for start in (64..20_000).step_by(64) {
            blocks.render("e", events(start..start + 64, 4_000), None, ContentEncoding::Identity);
            let again = blocks.render("e", events(0..10, 1), None, ContentEncoding::Gzip);
            assert!(Arc::ptr_eq(&often[1], &again[1]));
        }
        let cache = blocks.cache();
        let kept: u64 = cache.young.values().chain(cache.old.values()).map(|chunk| chunk.len()).sum();
        assert!(kept <= 3 * GENERATION_BYTES, "{kept}");
    }
}
