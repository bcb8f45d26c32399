//! Replies of the server as values of ours. A reply of another form is an error, never a panic.

use bytes::Bytes;
use redis::Value;

use super::keys::Keys;
use crate::cluster::engine::{BeatReply, EngineError, Move, ReadEvents, Revision};
use crate::model::{AppName, ScraperId};
use crate::store::{OriginId, ReadEvent};

pub(super) fn unexpected(what: &str) -> EngineError {
    EngineError(format!("the engine gave an unexpected reply to {what}; is it Redis 6.2 or Valkey?"))
}

pub(super) fn array(value: Value) -> Result<Vec<Value>, EngineError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Nil => Ok(Vec::new()),
        _ => Err(unexpected("a command with a list")),
    }
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>, EngineError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(unexpected("a command with a text")),
    }
}

pub(super) fn text(value: Value) -> Result<String, EngineError> {
    String::from_utf8(bytes(value)?).map_err(|_| unexpected("a command with a text"))
}

pub(super) fn number(value: Value) -> Result<i64, EngineError> {
    match value {
        Value::Int(number) => Ok(number),
        other => text(other)?.parse().map_err(|_| unexpected("a command with a number")),
    }
}

pub(super) fn revision(value: Value) -> Result<Revision, EngineError> {
    Revision::parse(&text(value)?).ok_or_else(|| unexpected("XADD"))
}

/// One entry of the stream: its id and its fields.
pub(super) fn change(value: Value) -> Result<(Revision, Vec<Value>), EngineError> {
    let [id, fields] = <[Value; 2]>::try_from(array(value)?).map_err(|_| unexpected("XRANGE"))?;
    Ok((revision(id)?, array(fields)?))
}

/// The name of a stream, and entries of it.
type Stream = (Vec<u8>, Vec<Value>);

/// The entries that XREAD has found.
fn streams(value: Value) -> Result<Vec<Stream>, EngineError> {
    let mut found = Vec::new();
    for stream in array(value)? {
        let [name, entries] = <[Value; 2]>::try_from(array(stream)?).map_err(|_| unexpected("XREAD"))?;
        found.push((bytes(name)?, array(entries)?));
    }
    Ok(found)
}

/// The events and the changes of scrapers that XREAD has found. Names that are none of ours are left out.
pub(super) fn events(value: Value, keys: &Keys) -> Result<ReadEvents, EngineError> {
    let mut read = ReadEvents::default();
    for (stream, entries) in streams(value)? {
        for entry in entries {
            let (at, fields) = change(entry)?;
            if stream == keys.events.as_bytes() {
                read.events.extend(event(fields)?.map(|event| (at, event)));
            } else {
                read.moves.extend(moved(fields)?.map(|moved| (at, moved)));
            }
        }
    }
    Ok(read)
}

fn event(fields: Vec<Value>) -> Result<Option<ReadEvent>, EngineError> {
    let [_, origin, _, number, _, event] = <[Value; 6]>::try_from(fields).map_err(|_| unexpected("XREAD"))?;
    let (number, event) = (number_of(number)?, some(event)?);
    let origin = OriginId::parse(&text(origin)?);
    Ok(origin.map(|origin| ReadEvent {
        origin,
        number,
        bytes: event,
    }))
}

fn moved(fields: Vec<Value>) -> Result<Option<Move>, EngineError> {
    let [_, scraper, _, state] = <[Value; 4]>::try_from(fields).map_err(|_| unexpected("XREAD"))?;
    let (scraper, state) = (ScraperId::new(&text(scraper)?).ok(), some(state)?);
    Ok(scraper.map(|scraper| Move { scraper, state }))
}

/// A number that is not negative.
pub(super) fn number_of(value: Value) -> Result<u64, EngineError> {
    Ok(number(value)?.unsigned_abs())
}

/// Bytes; `None` for an empty text.
pub(super) fn some(value: Value) -> Result<Option<Bytes>, EngineError> {
    let bytes = bytes(value)?;
    Ok((!bytes.is_empty()).then(|| bytes.into()))
}

/// A number that says what follows, a version, and a state.
pub(super) fn state(value: Value) -> Result<(i64, u64, Option<Bytes>), EngineError> {
    let [first, version, state] = <[Value; 3]>::try_from(array(value)?).map_err(|_| unexpected("a script"))?;
    Ok((number(first)?, number_of(version)?, some(state)?))
}

/// The scrapers of a hash and their numbers. Names that are none of ours are left out.
pub(super) fn scrapers(value: Value) -> Result<Vec<(ScraperId, u64)>, EngineError> {
    let mut pairs = array(value)?.into_iter();
    let mut found = Vec::new();
    while let (Some(name), Some(value)) = (pairs.next(), pairs.next()) {
        let number = number_of(value)?;
        found.extend(ScraperId::new(&text(name)?).ok().map(|scraper| (scraper, number)));
    }
    Ok(found)
}

/// The entries that XREAD has found in the one stream that it was asked for. Names that are none of ours are left out.
pub(super) fn changes(value: Value) -> Result<Vec<(AppName, Revision)>, EngineError> {
    let Some((_, entries)) = streams(value)?.into_iter().next() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in entries {
        let (revision, fields) = change(entry)?;
        let name = fields.into_iter().nth(1).ok_or_else(|| unexpected("XREAD"))?;
        if let Ok(app) = AppName::new(&text(name)?) {
            found.push((app, revision));
        }
    }
    Ok(found)
}

/// The cursor and the names of a part of the sorted set of apps.
pub(super) fn scanned(value: Value) -> Result<(u64, Vec<AppName>), EngineError> {
    let [cursor, members] = <[Value; 2]>::try_from(array(value)?).map_err(|_| unexpected("ZSCAN"))?;
    let cursor = text(cursor)?.parse().map_err(|_| unexpected("ZSCAN"))?;
    let mut names = Vec::new();
    for name in array(members)?.into_iter().step_by(2) {
        names.extend(AppName::new(&text(name)?));
    }
    Ok((cursor, names))
}

/// The reply to a heartbeat.
pub(super) fn beat(value: Value) -> Result<BeatReply, EngineError> {
    let [epoch, owner, millis, members] = <[Value; 4]>::try_from(array(value)?).map_err(|_| unexpected("a heartbeat"))?;
    let mut pairs = array(members)?.into_iter();
    let mut members = Vec::new();
    while let (Some(id), Some(about)) = (pairs.next(), pairs.next()) {
        members.push((text(id)?, text(about)?));
    }
    Ok(BeatReply {
        epoch: text(epoch)?,
        lease_owner: text(owner)?,
        millis: number(millis)?.unsigned_abs(),
        members,
    })
}
