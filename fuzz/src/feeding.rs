//! Feeding a stream decoder in pieces, with what must hold after each of them.

use bytes::BufMut;
use exporter_proxy::wire::{FormatChoice, Inbound, Refusal, StreamDecoder};

/// The limit of a message, low enough for a fuzzer to reach.
pub(super) const MAX_MESSAGE_BYTES: usize = 4096;

/// Decodes a stream in pieces of `size` bytes.
pub(super) fn decode(choice: FormatChoice, stream: &[u8], size: usize) -> Vec<Result<Inbound, Refusal>> {
    let mut decoder = StreamDecoder::new(choice, MAX_MESSAGE_BYTES);
    let mut items = Vec::new();
    let mut over = false;
    for piece in stream.chunks(size.max(1)) {
        let mut rest = piece;
        while !rest.is_empty() {
            let mut spare = decoder.spare(rest.len());
            let n = spare.remaining_mut().min(rest.len());
            assert!(n > 0, "there is always room for a byte");
            spare.put_slice(&rest[..n]);
            rest = &rest[n..];
            for item in decoder.by_ref() {
                assert!(!over, "nothing comes after the end: {item:?}");
                over = item.as_ref().is_err_and(Refusal::ends_connection);
                items.push(item);
            }
            assert!(decoder.buffered() < MAX_MESSAGE_BYTES, "{} bytes held", decoder.buffered());
            assert_eq!(decoder.mid_message(), decoder.buffered() > 0);
        }
    }
    let end = decoder.finish();
    assert!(!(over && end.is_some()), "one end is enough: {end:?}");
    items.extend(end.map(Err));
    assert_eq!(decoder.buffered(), 0);
    items
}

/// Decodes at once, byte by byte and in odd pieces, with equal results.
pub(super) fn decode_in_pieces(choice: FormatChoice, stream: &[u8]) -> Vec<Result<Inbound, Refusal>> {
    let whole = decode(choice, stream, usize::MAX);
    let odd = stream.last().map_or(3, |&byte| usize::from(byte) + 2);
    for size in [1, odd] {
        assert_eq!(decode(choice, stream, size), whole, "in pieces of {size}");
    }
    for refusal in whole.iter().filter_map(|item| item.as_ref().err()) {
        assert!(refusal.position.offset <= stream.len() as u64, "{refusal}");
        assert!(refusal.to_string().len() < 2048, "{refusal}");
    }
    whole
}
