//! A rendered part of an answer, and its compressed form.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::exposition::gzip::{Compressor, Effort, Piece};

/// How much text is deflated into one piece: what a segment has at most, so that large applications give several pieces of work.
const MAX_PIECE_TEXT: usize = 256 * 1024;

/// Rendered text, immutable and shared by every answer that holds it. Its compressed form may come later, from another thread.
#[derive(Debug)]
pub struct Chunk {
    text: Vec<Bytes>,
    len: u64,
    compressed: ArcSwapOption<Compressed>,
}

#[derive(Debug)]
struct Compressed {
    effort: Effort,
    pieces: Vec<Piece>,
}

impl Chunk {
    pub(crate) fn new(text: Vec<Bytes>) -> Self {
        let len = text.iter().map(|part| part.len() as u64).sum();
        Self {
            text,
            len,
            compressed: ArcSwapOption::empty(),
        }
    }

    /// The text, slice by slice.
    #[must_use]
    pub fn text(&self) -> &[Bytes] {
        &self.text
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

    /// The effort that went into its compressed form, if it has one.
    #[must_use]
    pub fn effort(&self) -> Option<Effort> {
        self.compressed.load().as_ref().map(|it| it.effort)
    }

    /// Makes the compressed form, in place of one that it may have.
    pub fn compress(&self, effort: Effort, with: &mut Compressor) {
        let pieces = portions(&self.text)
            .iter()
            .map(|text| Piece::compress(text, effort, with))
            .collect();
        self.compressed.store(Some(Arc::new(Compressed { effort, pieces })));
    }

    /// Drops the compressed form; answers under way keep theirs.
    pub fn forget_compressed(&self) {
        self.compressed.store(None);
    }

    /// The pieces to join into a gzip body: compressed ones, or stored blocks where there are none yet.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        match &*self.compressed.load() {
            Some(compressed) => compressed.pieces.clone(),
            None => vec![Piece::stored(&self.text)],
        }
    }

    /// What it holds beyond slices of other texts and its own text, in bytes: the compressed form.
    #[must_use]
    pub fn compressed_len(&self) -> u64 {
        self.compressed
            .load()
            .as_ref()
            .map_or(0, |it| it.pieces.iter().map(Piece::deflated_len).sum())
    }
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
        chunk.compress(Effort::Fast, &mut Compressor::new());
        assert_eq!(chunk.effort(), Some(Effort::Fast));
        assert!(chunk.compressed_len() < 100);
        assert_eq!(chunk.pieces()[0].text_len(), stored[0].text_len());
    }
}
