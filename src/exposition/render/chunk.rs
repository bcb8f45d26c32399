//! A rendered part of an answer, and its compressed form.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::slice_writer::SliceWriter;
use super::{Item, OutputFormat};
use crate::exposition::MemoryMeter;
use crate::exposition::gzip::{CompressionLevel, Compressor, Piece};

/// How much text is deflated into one piece: what a segment has at most, so that large applications give several pieces of work.
const MAX_PIECE_TEXT: usize = 256 * 1024;

/// Rendered text, immutable and shared by every answer that holds it. Its compressed form may come later, from another thread.
///
/// Text that is a copy of what applications have handed in can be [rested](Chunk::rest): where scrapers take nothing but the compressed
/// form, it would be in memory twice for nobody. It is rendered again, the same to the byte, when somebody wants it.
#[derive(Debug)]
pub struct Chunk {
    /// What is rendered again; none where the text is no copy.
    source: Option<Source>,
    text: ArcSwapOption<Vec<Bytes>>,
    /// Whether somebody has taken the text since it was last asked.
    taken: AtomicBool,
    /// Held while the text is rendered again or compressed for the first time, so that other threads wait and find it done.
    working: Mutex<()>,
    len: u64,
    compressed: ArcSwapOption<Compressed>,
    /// Counts copies and compressed forms, if they are to be counted.
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
    /// Text that is there once.
    pub(crate) fn new(text: Vec<Bytes>) -> Self {
        let len = text.iter().map(|part| part.len() as u64).sum();
        Self {
            source: None,
            text: ArcSwapOption::from_pointee(text),
            taken: AtomicBool::new(true),
            working: Mutex::new(()),
            len,
            compressed: ArcSwapOption::empty(),
            meter: None,
        }
    }

    /// Items one after another. They are kept where they take less than half the memory of the copies that their text is made of.
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
        Self {
            source,
            meter: Some(meter.clone()),
            ..Self::new(text)
        }
    }

    /// The text, slice by slice. Where it has been rested it is rendered again, which takes a millisecond a megabyte.
    #[must_use]
    pub fn text(&self) -> Arc<Vec<Bytes>> {
        self.taken.store(true, Ordering::Relaxed);
        if let Some(text) = self.text.load_full() {
            return text;
        }
        let _working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        self.text.load_full().unwrap_or_else(|| {
            let text = self.render_again();
            self.text.store(Some(Arc::clone(&text)));
            text
        })
    }

    /// Whether [`Chunk::text`] has nothing to do.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.text.load().is_some()
    }

    /// Lets go of text that can be rendered again, unless somebody has taken it since this was last called. Answers under way keep it.
    pub fn rest(&self) {
        if self.source.is_some() && !self.taken.swap(false, Ordering::Relaxed) {
            self.text.store(None);
        }
    }

    fn render_again(&self) -> Arc<Vec<Bytes>> {
        let again = |source: &Source| write(&source.items, source.variant, self.meter.clone()).finish();
        Arc::new(self.source.as_ref().map_or_else(Vec::new, again))
    }

    /// The length of the text in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The level that went into its compressed form, if it has one.
    #[must_use]
    pub fn level(&self) -> Option<CompressionLevel> {
        self.compressed.load().as_ref().map(|it| it.level)
    }

    /// Makes the compressed form with [`CompressionLevel::Fast`], unless there is one.
    pub fn compress_once(&self, with: &mut Compressor) {
        if self.level().is_some() {
            return;
        }
        let _working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        if self.level().is_none() {
            self.compress(CompressionLevel::Fast, with);
        }
    }

    /// Makes the compressed form, in place of one that it may have.
    pub fn compress(&self, level: CompressionLevel, with: &mut Compressor) {
        let text = self.text.load_full().unwrap_or_else(|| self.render_again());
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

    /// The pieces to join into a gzip body: compressed ones, or stored blocks where there are none yet.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        match &*self.compressed.load() {
            Some(compressed) => compressed.pieces.clone(),
            None => vec![Piece::stored(&self.text())],
        }
    }
}

/// Writes items one after another.
fn write(items: &[Item], to: OutputFormat, meter: Option<MemoryMeter>) -> SliceWriter {
    let size: usize = items.iter().map(Item::size).sum();
    let mut out = SliceWriter::with_capacity(if items.len() == 1 { 0 } else { size }, meter);
    for item in items {
        item.write(to, &mut out);
    }
    out
}

/// The text in portions of at most [`MAX_PIECE_TEXT`] bytes each.
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
mod tests {
    use super::*;

    #[test]
    fn portions_are_bounded_and_whole() {
        let text = [vec![1; MAX_PIECE_TEXT - 1], vec![2; 2 * MAX_PIECE_TEXT], vec![3; 5]].map(Bytes::from);
        let portions = portions(&text);
        assert!(portions.iter().all(|it| it.iter().map(Bytes::len).sum::<usize>() <= MAX_PIECE_TEXT));
        assert_eq!(portions.concat().concat(), text.concat());
    }

    #[test]
    fn compressing_changes_the_form_and_not_the_text() {
        let chunk = Chunk::new(vec![Bytes::from(vec![b'a'; 1000])]);
        let stored = chunk.pieces();
        chunk.compress(CompressionLevel::Fast, &mut Compressor::new());
        assert_eq!(chunk.level(), Some(CompressionLevel::Fast));
        let deflated: u64 = chunk.pieces().iter().map(Piece::deflated_len).sum();
        assert!(deflated < 100);
        assert_eq!(chunk.pieces()[0].text_len(), stored[0].text_len());
    }
}
