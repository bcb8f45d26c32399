//! Sources: receivers, polls, HTTP pushes, events and upstream streams. They write into the store and cannot read it.

#[cfg(feature = "bitswap")]
pub mod bitswap;
pub mod events;
pub mod polls;
pub mod push;
pub mod pushgateway;
pub mod receiver;
pub mod upstreams;

use std::time::Duration;

use bytes::Bytes;

use self::receiver::Reservation;
use crate::exposition::Exposition;
use crate::exposition::openmetrics2::{self, TextTooLong};
use crate::exposition::protobuf::DecodeError;
use crate::model::{AppName, Origin};
use crate::store::{Inlet, Refused};
use crate::supervise::blocking;
use crate::wire::ForeignFormat;

/// The `reason` label and the message of a refusal. The message names the format of an unreadable text, if it is recognized.
fn unusable(refused: &Refused, text: &[u8]) -> (&'static str, String) {
    let foreign = matches!(refused, Refused::Invalid(..)).then(|| ForeignFormat::of(text)).flatten();
    match foreign {
        Some(foreign) => ("not_metrics", format!("this is {foreign}, not metrics in a text format")),
        None => (refused.reason(), refused.to_string()),
    }
}

/// Decodes a protobuf body, on a blocking thread if it is large. The text may be as long as a body of text.
///
/// # Errors
/// The first fault of the body.
async fn decode_protobuf(body: Bytes, max_text: usize) -> Result<Exposition, DecodeError> {
    if body.len() > LARGE_BYTES / TEXT_A_BYTE {
        return blocking(move || Exposition::decode(&body, max_text)).await;
    }
    Exposition::decode(&body, max_text)
}

/// Reads a pushed body of OpenMetrics 2.0, on a blocking thread if it is large. Waits until the memory for messages has room for what reading takes;
/// the body and the text that is kept stay reserved. The text of OpenMetrics 1.0 may have `max_text` bytes.
///
/// # Errors
/// If it is longer. Other faults are in what is read.
async fn read_openmetrics2(body: Bytes, max_text: usize, reservation: &mut Reservation) -> Result<Exposition, TextTooLong> {
    let bytes = body.len();
    let kept = max_text.min(TEXT_A_BYTE * bytes);
    reservation.reserve(bytes + READ_A_BYTE * bytes + kept).await;
    let read = if bytes > LARGE_BYTES / TEXT_A_BYTE {
        blocking(move || openmetrics2::parse(&body, max_text)).await?
    } else {
        openmetrics2::parse(&body, max_text)?
    };
    reservation.shrink_to(bytes + read.body().len());
    Ok(read)
}

/// Interval at which a replica removes apps of a kind that it alone fills and that its settings do not list. Other replicas may bring one at any
/// time: with what the engine holds at the start, or after the engine has lost its data. It takes milliseconds for 100,000 apps.
const REMOVE_UNLISTED_EVERY: Duration = Duration::from_secs(10);

/// The apps of an origin of one kind that are not listed. Other tasks have their turn meanwhile.
async fn unlisted_apps(inlet: &Inlet, is_kind: impl Fn(&Origin) -> bool, is_listed: impl Fn(&AppName) -> bool) -> Vec<AppName> {
    let (mut unlisted, mut position) = (Vec::new(), Some(0));
    while let Some(from) = position {
        let (names, next) = inlet.of_origin(&is_kind, from);
        unlisted.extend(names.into_iter().filter(|name| !is_listed(name)));
        position = next;
        tokio::task::yield_now().await;
    }
    unlisted
}

/// The bytes of text that a byte of protobuf makes at most as a rule: those of classic histograms, which repeat labels for each bucket.
const TEXT_A_BYTE: usize = 8;

/// The bytes that a byte of OpenMetrics 2.0 takes while it is read, beside the text that is kept: messages, the places of lines and the hashes of
/// names, which small families have most of.
const READ_A_BYTE: usize = 8;

/// Texts longer than this are parsed on a blocking thread: at a gigabyte per second it takes a millisecond, and other tasks of a worker
/// thread should not wait longer.
const LARGE_BYTES: usize = 1 << 20;
