//! The records of the log of apps as bytes. The text is at the end of its record, as it was pushed.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::codec::{Decoder, put_bytes, put_i64, put_text, put_u64};
use crate::model::{AppName, Format, Origin, Syntax, Timestamp, Update};
use crate::store::App;
use crate::store::persistence::{Age, FamilyKey, SavedPosition};

/// Of version 1: an app without its age.
const OLD_APP: u8 = 1;
const PLACE: u8 = 2;
const GONE: u8 = 3;
const APP: u8 = 4;
const CLOCK: u8 = 5;
/// An app with an age of its own at which it expires.
const EXPIRING_APP: u8 = 6;

/// Formats of a text.
const TEXT: u8 = 1;
const OPENMETRICS: u8 = 2;
/// OpenMetrics text of a protobuf body, with what it lacks of that before it.
const WITH_RECORDS: u8 = 3;

/// A decoded record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    /// All that a pushed app has.
    App(AppName, SavedPosition, Box<SavedUpdate>),
    /// The position of a polled app; its data comes with the next poll.
    Place(AppName, SavedPosition),
    /// The app in this place was forgotten.
    Gone(u64),
    /// The wall clock was set by this many milliseconds after all that was written before.
    Clock(i64),
}

/// The last update of an app.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SavedUpdate {
    /// Its origin.
    pub(super) origin: Origin,
    /// The time of the update.
    pub(super) at: Timestamp,
    /// Its age when it was written.
    pub(super) age: Age,
    /// The age at which the app expires, if its sender has set one.
    pub(super) expire_after: Option<Duration>,
    /// The format of the text.
    pub(super) syntax: Syntax,
    /// The text, in an allocation of exactly its size.
    pub(super) body: Bytes,
    /// Metrics of a protobuf body that text cannot carry.
    pub(super) records: Bytes,
}

impl SavedUpdate {
    /// The update that it was.
    pub(super) fn update(self, app: AppName) -> Update {
        let Self {
            origin,
            at,
            syntax,
            body,
            records,
            ..
        } = self;
        let (syntax, labels) = (Some(syntax), [].into());
        Update {
            app,
            body,
            syntax,
            records,
            read: None,
            labels,
            origin,
            at,
        }
    }
}

/// The record of an app, without the text.
pub(super) fn encode(app: &App, labelled: &[FamilyKey], age: Age) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + app.name.as_str().len());
    out.push(match (app.expires, app.expire_after) {
        (false, _) => PLACE,
        (true, None) => APP,
        (true, Some(_)) => EXPIRING_APP,
    });
    put_u64(&mut out, app.order);
    put_i64(&mut out, app.first_seen.as_millis());
    put_text(&mut out, app.name.as_str());
    let mut labelled: Vec<_> = labelled.iter().collect();
    labelled.sort_unstable();
    put_u64(&mut out, labelled.len() as u64);
    labelled.iter().for_each(|key| put_bytes(&mut out, key));
    if app.expires {
        put_i64(&mut out, app.updated.unwrap_or(app.first_seen).as_millis());
        put_u64(&mut out, u64::try_from(age.then.as_millis()).unwrap_or(u64::MAX));
        put_i64(&mut out, age.written.as_millis());
        if let Some(expire_after) = app.expire_after {
            put_u64(&mut out, u64::try_from(expire_after.as_millis()).unwrap_or(u64::MAX));
        }
        put_text(&mut out, &app.origin.source);
        out.push(format_code(app.origin.format));
        let records = app.text.exposition().map_or_else(Bytes::new, |text| text.record_bytes());
        out.push(match app.text.syntax() {
            Syntax::Text => TEXT,
            Syntax::OpenMetrics if records.is_empty() => OPENMETRICS,
            Syntax::OpenMetrics => WITH_RECORDS,
        });
        if !records.is_empty() {
            put_bytes(&mut out, &records);
        }
    }
    out
}

const FORMATS: [Format; 5] = [Format::Json, Format::Capnp, Format::Push, Format::Poll, Format::Stream];

/// The number of a format in files and in what replicas exchange.
pub(in crate::store) const fn format_code(format: Format) -> u8 {
    match format {
        Format::Json => 1,
        Format::Capnp => 2,
        Format::Push => 3,
        Format::Poll => 4,
        Format::Stream => 5,
    }
}

/// The format with this number.
pub(in crate::store) fn format_of(code: u8) -> Option<Format> {
    FORMATS.into_iter().find(|format| format_code(*format) == code)
}

/// The text that follows [`encode`].
pub(super) fn body(app: &App) -> &[u8] {
    if app.expires { app.text.body() } else { &[] }
}

/// The record of an app that is gone.
pub(super) fn encode_gone(order: u64) -> Vec<u8> {
    let mut out = vec![GONE];
    put_u64(&mut out, order);
    out
}

/// The record of a wall clock that was set.
pub(super) fn encode_clock(millis: i64) -> Vec<u8> {
    let mut out = vec![CLOCK];
    put_i64(&mut out, millis);
    out
}

/// The name in a damaged record, to be shown to people: it may be damaged itself.
pub(super) fn name_in(payload: &[u8]) -> Option<AppName> {
    let mut decoder = Decoder::new(payload);
    let (_kind, _order, _first_seen) = (decoder.byte()?, decoder.u64()?, decoder.i64()?);
    AppName::new(decoder.text()?).ok()
}

/// Reads a record; `None` if it is none. The text is copied, so that nothing else is kept with it.
pub(super) fn decode(payload: &[u8]) -> Option<Record> {
    let mut decoder = Decoder::new(payload);
    let kind = decoder.byte()?;
    if kind == CLOCK {
        let millis = decoder.i64()?;
        return decoder.rest().is_empty().then_some(Record::Clock(millis));
    }
    // No place can follow the last one.
    let order = decoder.u64().filter(|order| *order < u64::MAX)?;
    if kind == GONE {
        return decoder.rest().is_empty().then_some(Record::Gone(order));
    }
    let first_seen = Timestamp::from_millis(decoder.i64()?);
    let name = AppName::new(decoder.text()?).ok()?;
    let labelled = decoder.list(|decoder| decoder.prefixed().map(FamilyKey::from))?;
    let position = SavedPosition {
        order,
        first_seen,
        labelled,
    };
    match kind {
        PLACE => decoder.rest().is_empty().then_some(Record::Place(name, position)),
        APP | OLD_APP | EXPIRING_APP => Some(Record::App(name, position, Box::new(saved_update(&mut decoder, kind)?))),
        _ => None,
    }
}

fn saved_update(decoder: &mut Decoder<'_>, kind: u8) -> Option<SavedUpdate> {
    let at = Timestamp::from_millis(decoder.i64()?);
    // A record of the old version has the age that the time of day gives.
    let (mut then, mut written) = (Duration::ZERO, at);
    if kind != OLD_APP {
        then = Duration::from_millis(decoder.u64()?);
        written = Timestamp::from_millis(decoder.i64()?);
    }
    let expire_after = match kind {
        EXPIRING_APP => Some(Duration::from_millis(decoder.u64()?)),
        _ => None,
    };
    let source = Arc::from(decoder.text()?);
    let format = format_of(decoder.byte()?)?;
    let (syntax, records) = match decoder.byte()? {
        TEXT => (Syntax::Text, Bytes::new()),
        OPENMETRICS => (Syntax::OpenMetrics, Bytes::new()),
        WITH_RECORDS => (Syntax::OpenMetrics, Bytes::copy_from_slice(decoder.prefixed()?)),
        _ => return None,
    };
    let body = decoder.rest();
    std::str::from_utf8(body).ok()?;
    let body = Bytes::copy_from_slice(body);
    let origin = Origin { source, format };
    let age = Age { then, written };
    Some(SavedUpdate {
        origin,
        at,
        age,
        expire_after,
        syntax,
        body,
        records,
    })
}
