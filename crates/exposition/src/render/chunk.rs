//! A rendered part of a response, and its compressed form.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::slice_writer::SliceWriter;
use super::{Item, OutputFormat, messages};
use crate::gzip::{CompressionLevel, Compressor, Piece};
use crate::memory::MemoryMeter;

/// Text that is compressed into one piece: the size limit of a segment, so that large applications can be compressed in parallel.
const MAX_PIECE_TEXT: usize = 256 * 1024;

/// Rendered text, immutable and shared by all responses that contain it. Its compressed form may be added later by another thread.
///
/// Text that is a copy of the applications' text can be [evicted](Chunk::evict_text): if all scrapers accept gzip, the copy would only
/// waste memory. When a response needs it, it is rendered again, identical to the byte, or inflated from its compressed form.
#[derive(Debug)]
pub struct Chunk {
    /// The items to render again; `None` if the text is not a copy, or if they would take as much memory as it does.
    source: Option<Source>,
    /// True if most of the text is a copy, so that its eviction frees memory.
    is_copy: bool,
    text: ArcSwapOption<Vec<Bytes>>,
    /// True if the text was used since the last call of [`Chunk::evict_text`].
    taken: AtomicBool,
    /// Held while the text is rendered again or compressed for the first time, so that other threads wait and find it done.
    working: Mutex<()>,
    len: u64,
    compressed: ArcSwapOption<Compressed>,
    /// Counter of the memory of copies and compressed forms.
    meter: Option<MemoryMeter>,
}

#[derive(Debug)]
struct Source {
    items: Box<[Item]>,
    variant: OutputFormat,
}

#[derive(Debug)]
struct Compressed {
    level: CompressionLevel,
    pieces: Vec<Piece>,
}

impl Chunk {
    /// A chunk of text that cannot be rendered again.
    #[must_use]
    pub fn new(text: Vec<Bytes>) -> Self {
        let len = text.iter().map(|part| part.len() as u64).sum();
        Self {
            source: None,
            is_copy: false,
            text: ArcSwapOption::from_pointee(text),
            taken: AtomicBool::new(true),
            working: Mutex::new(()),
            len,
            compressed: ArcSwapOption::empty(),
            meter: None,
        }
    }

    /// Renders items. The items are kept if they take less than half the memory of the copied text.
    pub(crate) fn render(mut items: Vec<Item>, variant: OutputFormat, meter: &MemoryMeter) -> Self {
        let mut out = write(&items, variant, Some(meter.clone()));
        let copied = out.copied();
        let text = out.finish();
        let worth_keeping = copied > 2 * items.iter().map(Item::footprint).sum::<usize>();
        let source = worth_keeping.then(|| {
            items.iter_mut().for_each(Item::detach);
            let items = items.into();
            Source { items, variant }
        });
        let chunk = Self::new(text);
        Self {
            source,
            is_copy: 2 * copied as u64 > chunk.len,
            meter: Some(meter.clone()),
            ..chunk
        }
    }

    /// The text in slices. Evicted text is rendered again or inflated, which takes up to three milliseconds per megabyte.
    #[must_use]
    pub fn text(&self) -> Arc<Vec<Bytes>> {
        self.taken.store(true, Ordering::Relaxed);
        if let Some(text) = self.text.load_full() {
            return text;
        }
        let _working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        self.text.load_full().unwrap_or_else(|| {
            let text = self.restore();
            self.text.store(Some(Arc::clone(&text)));
            text
        })
    }

    /// Returns true if [`Chunk::text`] does not need to render or inflate.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.text.load().is_some()
    }

    /// Drops text that can be rendered again or inflated, unless it was used since the last call. Responses in progress keep it.
    pub fn evict_text(&self) {
        // A compressed form may be replaced, and is never dropped.
        let is_restorable = self.source.is_some() || (self.is_copy && self.level().is_some());
        if is_restorable && !self.taken.swap(false, Ordering::Relaxed) {
            self.text.store(None);
        }
    }

    /// Drops text that can be rendered again: for a chunk that is compressed as soon as it is rendered, and of which others may never ask
    /// for the text.
    pub fn drop_text(&self) {
        if self.source.is_some() {
            self.text.store(None);
        }
    }

    /// Makes evicted text again.
    fn restore(&self) -> Arc<Vec<Bytes>> {
        if let Some(source) = &self.source {
            return Arc::new(write(&source.items, source.variant, self.meter.clone()).finish());
        }
        let compressed = self.compressed.load();
        let pieces = compressed.iter().flat_map(|compressed| &compressed.pieces);
        let hold = |text: Bytes| match &self.meter {
            Some(meter) => meter.hold(text),
            None => text,
        };
        Arc::new(pieces.map(|piece| hold(piece.inflate())).collect())
    }

    /// The length of the text in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Returns true if there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The level of its compressed form, if it has one.
    #[must_use]
    pub fn level(&self) -> Option<CompressionLevel> {
        self.compressed.load().as_ref().map(|it| it.level)
    }

    /// Compresses the text with [`CompressionLevel::Fast`], unless it is compressed already.
    pub fn compress_once(&self, with: &mut Compressor) {
        if self.level().is_some() {
            return;
        }
        let _working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        if self.level().is_none() {
            self.compress(CompressionLevel::Fast, with);
        }
    }

    /// Compresses the text, replacing an existing compressed form.
    pub fn compress(&self, level: CompressionLevel, with: &mut Compressor) {
        let text = self.text.load_full().unwrap_or_else(|| self.restore());
        let compress = |text: &Vec<Bytes>| {
            let piece = Piece::compress(text, level, with);
            match &self.meter {
                Some(meter) => piece.metered(meter),
                None => piece,
            }
        };
        let pieces = portions(&text).iter().map(compress).collect();
        self.compressed.store(Some(Arc::new(Compressed { level, pieces })));
    }

    /// The pieces to join into a gzip body: compressed ones, or stored blocks before compression.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        match &*self.compressed.load() {
            Some(compressed) => compressed.pieces.clone(),
            None => vec![Piece::stored(&self.text())],
        }
    }
}

/// Renders items one after another.
fn write(items: &[Item], to: OutputFormat, meter: Option<MemoryMeter>) -> SliceWriter<'_> {
    let size: usize = items.iter().map(Item::size).sum();
    let mut out = SliceWriter::with_capacity(if items.len() == 1 { 0 } else { size }, meter);
    if to.protobuf {
        messages::write(items, to, &mut out);
        return out;
    }
    for item in items {
        item.write(to, &mut out);
    }
    out
}

/// Splits text into portions of at most [`MAX_PIECE_TEXT`] bytes.
fn portions(text: &[Bytes]) -> Vec<Vec<Bytes>> {
    let (mut portions, mut portion, mut room) = (Vec::new(), Vec::new(), MAX_PIECE_TEXT);
    for slice in text {
        let mut slice = slice.clone();
        while !slice.is_empty() {
            let part = slice.split_to(slice.len().min(room));
            room -= part.len();
            portion.push(part);
            if room == 0 {
                portions.push(std::mem::take(&mut portion));
                room = MAX_PIECE_TEXT;
            }
        }
    }
    if !portion.is_empty() {
        portions.push(portion);
    }
    portions
}

#[cfg(test)]
mod tests;
