//! The writers: each takes metrics in its own way and puts them into the store, which none of them can read.

pub mod events;
pub mod polls;
pub mod push;
pub mod receiver;
pub mod upstreams;

use crate::store::Refused;
use crate::wire::ForeignFormat;

/// The reason of a refusal, for its counter, and the words for it. A text that cannot be read is named as what it is, if that is known.
fn unusable(refused: &Refused, text: &[u8]) -> (&'static str, String) {
    let foreign = matches!(refused, Refused::Invalid(..)).then(|| ForeignFormat::of(text)).flatten();
    match foreign {
        Some(foreign) => ("not_metrics", format!("this is {foreign}, not metrics in text form")),
        None => (refused.reason(), refused.to_string()),
    }
}

/// Texts longer than this are read on a thread of their own: at a gigabyte a second it takes a millisecond, and the other tasks of a
/// worker thread should not wait longer than that.
const LARGE_BYTES: usize = 1 << 20;
