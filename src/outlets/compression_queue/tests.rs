use super::*;
use bytes::Bytes;

fn chunk(text: &'static str) -> Arc<Chunk> {
    Arc::new(Chunk::new(vec![Bytes::from_static(text.as_bytes())]))
}

#[test]
fn a_chunk_is_compressed_better_once_it_is_quiet() {
    let (compression_queue, mut compressor) = (CompressionQueue::default(), Compressor::new());
    let chunks = [chunk("a 1\n"), chunk("b 1\n")];
    chunks.iter().for_each(|chunk| chunk.compress_once(&mut compressor));
    let start = Instant::now();
    compression_queue.offer_at(&chunks, start);
    compression_queue.offer_at(&chunks, start + QUIET / 2);
    assert_eq!(compression_queue.queue().waiting.len(), 2, "a chunk waits once");
    assert!(!compression_queue.work(&mut compressor, start + QUIET / 2));
    assert_eq!(chunks[0].level(), Some(CompressionLevel::Fast));
    assert_eq!(compression_queue.next_due(), Some(start + QUIET));
    compression_queue.work(&mut compressor, start + QUIET);
    assert!(chunks.iter().all(|chunk| chunk.level() == Some(CompressionLevel::Small)));
    assert_eq!(compression_queue.next_due(), None);
    compression_queue.offer_at(&chunks, start + QUIET);
    assert_eq!(
        compression_queue.queue().waiting.len(),
        2,
        "a chunk that has left the queue may come again"
    );
}

#[test]
fn a_replaced_chunk_is_skipped() {
    let (compression_queue, mut compressor, now) = (CompressionQueue::default(), Compressor::new(), Instant::now());
    compression_queue.offer_at(&[chunk("gone 1\n")], now);
    assert!(!compression_queue.work(&mut compressor, now + QUIET));
    assert!(compression_queue.queue().waiting.is_empty() && compression_queue.queue().known.is_empty());
}
