//! Replies of the server as values of ours. A reply of another form is an error, never a panic.

use redis::Value;

use crate::cluster::engine::{BeatReply, EngineError, Revision};
use crate::model::AppName;

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

/// The entries that XREAD has found in the one stream that it was asked for. Names that are none of ours are left out.
pub(super) fn changes(value: Value) -> Result<Vec<(AppName, Revision)>, EngineError> {
    let Some(stream) = array(value)?.into_iter().next() else {
        return Ok(Vec::new());
    };
    let [_, entries] = <[Value; 2]>::try_from(array(stream)?).map_err(|_| unexpected("XREAD"))?;
    let mut found = Vec::new();
    for entry in array(entries)? {
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
