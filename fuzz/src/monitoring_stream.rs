//! The monitoring stream: frames in any split, their gzip members, and relayed messages.

use bytes::BytesMut;
use exporter_proxy::wire::monitoring::{
    Compressor, GzipError, Inflater, MAX_HANDSHAKE_BYTES, UpstreamMessage, length_of, read_hello, split,
};

/// The limit of a text, low enough for a fuzzer to reach.
const MAX_TEXT: usize = 4096;

/// Checks that input in any split has the same frames, that decompression stays within its limit, and that relayed messages parse again
/// with the same counts.
pub fn check(input: &[u8]) {
    let whole = frames(input, usize::MAX);
    let odd = input.last().map_or(3, |&byte| usize::from(byte) + 2);
    for size in [1, odd] {
        assert_eq!(frames(input, size), whole, "in pieces of {size}");
    }
    let (mut inflater, mut text) = (Inflater::default(), Vec::new());
    for frame in &whole.0 {
        let _ = read_hello(frame);
        match inflater.open(frame, MAX_TEXT, &mut text) {
            Ok(()) => {
                assert!(text.len() <= MAX_TEXT);
                relay(&text);
            }
            Err(GzipError::TooLong(limit)) => assert!(limit == MAX_TEXT && text.len() <= MAX_TEXT + 1),
            Err(_) => {}
        }
        // Also checks the input as an uncompressed message.
        relay(frame);
    }
}

/// The frames of a stream in pieces of `size` bytes, and true if it can be continued.
fn frames(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(size.clamp(1, stream.len().max(1))) {
        buffer.extend_from_slice(piece);
        loop {
            match split(&mut buffer, MAX_HANDSHAKE_BYTES) {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

/// Parses a message, relays it, and parses the result.
fn relay(text: &[u8]) {
    let Ok(received) = UpstreamMessage::read(text) else { return };
    for legacy_addresses in [false, true] {
        let mut message = b"{\"event\":".to_vec();
        received.write("upstream", legacy_addresses, &mut message);
        message.push(b'}');
        let again = UpstreamMessage::read(&message).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&message)));
        assert_eq!((again.tally, again.topic), (received.tally, received.topic));
        assert_eq!(again.hops, received.hops.saturating_add(1));
        let mut member = Vec::new();
        Compressor::default().member(&message, &mut member);
        assert!(length_of(member.len()).is_ok());
        let mut opened = Vec::new();
        assert_eq!(Inflater::default().open(&member, message.len(), &mut opened), Ok(()));
        assert_eq!(opened, message);
    }
}
