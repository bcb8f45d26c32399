#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::app_name::AppName;
use crate::catalog::{Catalog, Rules, Selection, Update};
use crate::index::Exposition;
use crate::negotiate::Escaping;
use crate::syntax::Syntax;

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

/// A chunk of small families, for which the instructions for rendering would take as much memory as the text.
fn of_small_families() -> Arc<Chunk> {
    let text: String = (0..10_000).map(|n| format!("family_{n}{{a=\"{n}\"}} 1\n")).collect();
    let exposition = Arc::new(Exposition::parse(text.into(), Syntax::Text));
    let mut catalog = Catalog::new(Rules::default());
    let update = Update::new(catalog.rules(), &AppName::new("a").unwrap(), &Arc::default(), exposition);
    catalog.update(update);
    let format = OutputFormat {
        syntax: Syntax::OpenMetrics,
        protobuf: false,
        escaping: Escaping::Underscores,
    };
    let rendered = catalog.plan(format, Selection::Everything).render();
    Arc::clone(&rendered.chunks()[0])
}

#[test]
fn text_of_small_families_is_inflated_from_its_compressed_form() {
    let (chunk, mut compressor) = (of_small_families(), Compressor::new());
    assert!(chunk.source.is_none());
    let text = chunk.text().concat();
    (0..2).for_each(|_| chunk.evict_text());
    assert!(chunk.has_text(), "it could not be made again");
    chunk.compress(CompressionLevel::Fast, &mut compressor);
    chunk.evict_text();
    assert!(chunk.has_text(), "it was used since the last time");
    chunk.evict_text();
    assert!(!chunk.has_text());
    chunk.compress(CompressionLevel::Small, &mut compressor);
    assert!(!chunk.has_text() && chunk.pieces().len() > 1);
    assert_eq!(chunk.text().concat(), text);
    assert!(chunk.has_text());
}
