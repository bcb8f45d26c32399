//! An app as bytes: a version, then parts, each with its kind and its length. Parts of unknown kinds are skipped, so that a later version can
//! add some while replicas of both versions run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::ReplicatedApp;
use crate::model::{AppName, LabelPair, Origin, Syntax, Timestamp};
use crate::store::durable::codec::{Decoder, put_bytes, put_i64, put_text, put_u64};
use crate::store::durable::{format_code, format_of};
use crate::store::persistence::FamilyKey;

const VERSION: u8 = 1;

/// Name, times, origin and state.
const HEAD: u64 = 1;
/// The text, as it was pushed or polled.
const TEXT: u64 = 2;
/// Labels that the source adds.
const LABELS: u64 = 3;
/// Families with the disambiguating label.
const LABELLED: u64 = 4;
/// The fault of the source.
const FAULT: u64 = 5;

/// Native histograms.
const RECORDS: u64 = 6;
/// The age at which its sender wants it to expire, in milliseconds.
const EXPIRE_AFTER: u64 = 7;

const EXPIRES: u8 = 1;
const WITHDRAWN: u8 = 2;
const UPDATED: u8 = 4;

/// Bytes of an app without its text and labels, about.
const USUAL_HEAD: usize = 256;

pub(super) fn encode(app: &ReplicatedApp) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL_HEAD + app.body.len());
    out.push(VERSION);
    part(&mut out, HEAD, &head(app));
    if !app.labels.is_empty() {
        let mut labels = Vec::new();
        put_u64(&mut labels, app.labels.len() as u64);
        for (name, value) in app.labels.iter() {
            put_text(&mut labels, name);
            put_text(&mut labels, value);
        }
        part(&mut out, LABELS, &labels);
    }
    if !app.labelled.is_empty() {
        let mut sorted: Vec<_> = app.labelled.iter().collect();
        sorted.sort_unstable();
        let mut labelled = Vec::new();
        put_u64(&mut labelled, sorted.len() as u64);
        sorted.iter().for_each(|key| put_bytes(&mut labelled, key));
        part(&mut out, LABELLED, &labelled);
    }
    if let Some(fault) = &app.fault {
        part(&mut out, FAULT, fault.as_bytes());
    }
    if !app.records.is_empty() {
        part(&mut out, RECORDS, &app.records);
    }
    if let Some(expire_after) = app.expire_after {
        let mut millis = Vec::new();
        put_u64(&mut millis, u64::try_from(expire_after.as_millis()).unwrap_or(u64::MAX));
        part(&mut out, EXPIRE_AFTER, &millis);
    }
    part(&mut out, TEXT, &app.body);
    out
}

fn part(out: &mut Vec<u8>, kind: u64, bytes: &[u8]) {
    put_u64(out, kind);
    put_bytes(out, bytes);
}

fn head(app: &ReplicatedApp) -> Vec<u8> {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let mut out = vec![flag(app.expires, EXPIRES) | flag(app.withdrawn, WITHDRAWN) | flag(app.updated.is_some(), UPDATED)];
    put_text(&mut out, app.app.as_str());
    put_i64(&mut out, app.first_seen.as_millis());
    put_i64(&mut out, app.updated.unwrap_or(app.first_seen).as_millis());
    put_text(&mut out, &app.origin.source);
    out.push(format_code(app.origin.format));
    out.push(match app.syntax {
        Syntax::Text => 1,
        Syntax::OpenMetrics => 2,
    });
    out
}

pub(super) fn decode(bytes: &[u8]) -> Option<ReplicatedApp> {
    let mut decoder = Decoder::new(bytes);
    if decoder.byte()? != VERSION {
        return None;
    }
    let mut app: Option<ReplicatedApp> = None;
    let (mut labels, mut labelled, mut fault) = (Arc::from([]), Vec::new(), None);
    let (mut body, mut records, mut expire_after) = (Bytes::new(), Bytes::new(), None);
    while !decoder.rest().is_empty() {
        let (kind, part) = (decoder.u64()?, decoder.prefixed()?);
        let mut part_decoder = Decoder::new(part);
        match kind {
            HEAD => app = Some(read_head(&mut part_decoder)?),
            LABELS => {
                let pairs = part_decoder.list(|decoder| Some(LabelPair::from((decoder.text()?.into(), decoder.text()?.into()))))?;
                labels = pairs.into();
            }
            LABELLED => labelled = part_decoder.list(|decoder| decoder.prefixed().map(FamilyKey::from))?,
            FAULT => fault = Some(Arc::from(std::str::from_utf8(part).ok()?)),
            TEXT => {
                std::str::from_utf8(part).ok()?;
                body = Bytes::copy_from_slice(part);
            }
            EXPIRE_AFTER => expire_after = Some(Duration::from_millis(part_decoder.u64()?)),
            RECORDS => records = Bytes::copy_from_slice(part),
            _ => {}
        }
    }
    Some(ReplicatedApp {
        labels,
        labelled,
        fault,
        body,
        records,
        expire_after,
        ..app?
    })
}

fn read_head(decoder: &mut Decoder<'_>) -> Option<ReplicatedApp> {
    let flags = decoder.byte()?;
    let app = AppName::new(decoder.text()?).ok()?;
    let first_seen = Timestamp::from_millis(decoder.i64()?);
    let updated = Timestamp::from_millis(decoder.i64()?);
    let source = Arc::from(decoder.text()?);
    let format = format_of(decoder.byte()?)?;
    let syntax = match decoder.byte()? {
        1 => Syntax::Text,
        2 => Syntax::OpenMetrics,
        _ => return None,
    };
    Some(ReplicatedApp {
        app,
        origin: Origin { source, format },
        first_seen,
        updated: (flags & UPDATED != 0).then_some(updated),
        expires: flags & EXPIRES != 0,
        expire_after: None,
        withdrawn: flags & WITHDRAWN != 0,
        fault: None,
        labels: Arc::from([]),
        syntax,
        body: Bytes::new(),
        records: Bytes::new(),
        labelled: Vec::new(),
    })
}
