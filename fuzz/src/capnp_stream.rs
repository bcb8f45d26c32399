//! The decoder of Cap'n Proto streams.

use exporter_proxy::wire::FormatChoice;

use super::feeding::decode_in_pieces;

/// Checks that input in any split decodes to the same items, and that the buffer stays within the limit.
pub fn check(input: &[u8]) {
    let items = decode_in_pieces(FormatChoice::Capnp, input);
    let taken: usize = items
        .iter()
        .flatten()
        .map(|message| message.app.as_str().len() + message.data.len())
        .sum();
    assert!(taken <= 2 * input.len(), "two texts may share their bytes, no more: {taken}");
}
