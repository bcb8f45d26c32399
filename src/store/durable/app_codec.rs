//! The records of the applications' log as bytes. A text stands at the end of its record, as it was handed in.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::{Decoder, put_i64, put_text, put_u64};
use crate::model::{AppName, Format, Origin, Syntax, Timestamp};
use crate::store::App;

const APP: u8 = 1;
const PLACE: u8 = 2;
const GONE: u8 = 3;

/// What a record says.
#[derive(Debug, Clone)]
pub(super) enum Record {
    /// All that a pushed application has.
    App(App),
    /// Where a polled application stands in the order; its data comes with the next poll.
    Place {
        /// The application.
        name: AppName,
        /// Its place.
        order: u64,
        /// When it was first seen.
        first_seen: Timestamp,
    },
    /// The application in this place was forgotten.
    Gone(u64),
}

/// The record of an application, without the text.
pub(super) fn encode(app: &App) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + app.name.as_str().len());
    out.push(if app.expires { APP } else { PLACE });
    put_u64(&mut out, app.order);
    put_i64(&mut out, app.first_seen.as_millis());
    put_text(&mut out, app.name.as_str());
    if app.expires {
        put_i64(&mut out, app.updated.unwrap_or(app.first_seen).as_millis());
        put_text(&mut out, &app.origin.source);
        out.push(match app.origin.format {
            Format::Json => 1,
            Format::Capnp => 2,
            Format::Push => 3,
            Format::Poll => 4,
        });
        out.push(match app.syntax {
            Syntax::Text => 1,
            Syntax::OpenMetrics => 2,
        });
    }
    out
}

/// The text that follows [`encode`].
pub(super) fn body(app: &App) -> &[u8] {
    if app.expires { &app.body } else { &[] }
}

/// The record of an application that is gone.
pub(super) fn encode_gone(order: u64) -> Vec<u8> {
    let mut out = vec![GONE];
    put_u64(&mut out, order);
    out
}

/// Reads a record; `None` if it is none. The text is copied, so that nothing else is kept with it.
pub(super) fn decode(payload: &[u8]) -> Option<Record> {
    let mut decoder = Decoder::new(payload);
    let kind = decoder.byte()?;
    let order = decoder.u64()?;
    if kind == GONE {
        return decoder.rest().is_empty().then_some(Record::Gone(order));
    }
    let first_seen = Timestamp::from_millis(decoder.i64()?);
    let name = AppName::new(decoder.text()?).ok()?;
    match kind {
        PLACE => decoder.rest().is_empty().then_some(Record::Place { name, order, first_seen }),
        APP => Some(Record::App(App {
            name,
            order,
            first_seen,
            updated: Some(Timestamp::from_millis(decoder.i64()?)),
            origin: Origin {
                source: Arc::from(decoder.text()?),
                format: match decoder.byte()? {
                    1 => Format::Json,
                    2 => Format::Capnp,
                    3 => Format::Push,
                    4 => Format::Poll,
                    _ => return None,
                },
            },
            syntax: match decoder.byte()? {
                1 => Syntax::Text,
                2 => Syntax::OpenMetrics,
                _ => return None,
            },
            body: text(decoder.rest())?,
            fault: None,
            withdrawn: false,
            expires: true,
        })),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<Bytes> {
    std::str::from_utf8(bytes).ok()?;
    Some(Bytes::copy_from_slice(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn applications_are_read_as_they_were_written(order: u64, first_seen: i64, updated: i64, name in "[a-zö /]{1,20}", text: String, openmetrics: bool) {
            let app = App {
                name: AppName::new(&name).unwrap(),
                order,
                origin: Origin { source: "tcp 1.2.3.4:5".into(), format: if openmetrics { Format::Push } else { Format::Json } },
                body: Bytes::copy_from_slice(text.as_bytes()),
                syntax: if openmetrics { Syntax::OpenMetrics } else { Syntax::Text },
                first_seen: Timestamp::from_millis(first_seen),
                updated: Some(Timestamp::from_millis(updated)),
                fault: None,
                withdrawn: false,
                expires: true,
            };
            let Some(Record::App(again)) = decode(&[encode(&app), body(&app).to_vec()].concat()) else { panic!() };
            prop_assert_eq!(format!("{again:?}"), format!("{app:?}"));
            let polled = App { expires: false, ..app };
            let bytes = [encode(&polled), body(&polled).to_vec()].concat();
            prop_assert!(bytes.len() < 60);
            let Some(Record::Place { name, order: place, first_seen }) = decode(&bytes) else { panic!() };
            prop_assert_eq!((name, place, first_seen), (polled.name, order, polled.first_seen));
            let Some(Record::Gone(gone)) = decode(&encode_gone(order)) else { panic!() };
            prop_assert_eq!(gone, order);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(prop_oneof![0u8..5, any::<u8>()], 0..40)) {
            let _ = decode(&bytes);
        }
    }
}
