//! Sources: receivers, polls, HTTP pushes, events and upstream streams. They write into the store and cannot read it.

#[cfg(feature = "bitswap")]
pub mod bitswap;
pub mod events;
pub mod polls;
pub mod push;
pub mod receiver;
pub mod upstreams;

use crate::store::Refused;
use crate::wire::ForeignFormat;

/// The `reason` label and the message of a refusal. The message names the format of an unreadable text, if it is recognized.
fn unusable(refused: &Refused, text: &[u8]) -> (&'static str, String) {
    let foreign = matches!(refused, Refused::Invalid(..)).then(|| ForeignFormat::of(text)).flatten();
    match foreign {
        Some(foreign) => ("not_metrics", format!("this is {foreign}, not metrics in a text format")),
        None => (refused.reason(), refused.to_string()),
    }
}

/// Texts longer than this are parsed on a blocking thread: at a gigabyte per second it takes a millisecond, and other tasks of a worker
/// thread should not wait longer.
const LARGE_BYTES: usize = 1 << 20;
