//! The journal's entries as bytes.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::codec::{Decoder, put_bytes, put_i64, put_text, put_u64};
use crate::model::{Event, EventId, IdempotencyKey, LabelSet, ScraperId, Timestamp};
use crate::store::events::{JournalEntry, OriginId, Source, StoredEvent, UsedKey};

const START: u8 = 1;
const EVENT: u8 = 2;
const KEY: u8 = 3;
const CURSOR: u8 = 4;
const FORGOTTEN: u8 = 5;
const UNCLAIMED: u8 = 6;
const LOST: u8 = 7;
const REGULAR: u8 = 8;
const ORIGIN: u8 = 9;
const SHARED: u8 = 10;
const VOID: u8 = 11;
const SHARED_CURSOR: u8 = 12;

/// Appends an entry.
pub(super) fn encode(out: &mut Vec<u8>, entry: &JournalEntry) {
    match entry {
        JournalEntry::Start { first, freed_stamp } => {
            out.push(START);
            put_u64(out, *first);
            put_i64(out, freed_stamp.as_millis());
        }
        JournalEntry::Event { record, key } => {
            out.push(EVENT);
            put_event(out, record);
            put_text(out, key.as_ref().map_or("", IdempotencyKey::as_str));
        }
        JournalEntry::Key { key, used } => {
            out.push(KEY);
            put_text(out, key.as_str());
            put_u64(out, used.id.0);
            out.extend(used.fingerprint.to_le_bytes());
            put_i64(out, used.at.as_millis());
        }
        JournalEntry::Cursor { scraper, next, heads } => {
            out.push(CURSOR);
            put_text(out, scraper.as_str());
            put_u64(out, *next);
            put_u64(out, heads.len() as u64);
            heads.iter().for_each(|&head| put_u64(out, head));
        }
        JournalEntry::Forgotten { scraper } => {
            out.push(FORGOTTEN);
            put_text(out, scraper.as_str());
        }
        JournalEntry::Lost { scraper, events } => {
            out.push(LOST);
            put_text(out, scraper.as_str());
            put_u64(out, *events);
        }
        JournalEntry::Regular { scraper } => {
            out.push(REGULAR);
            put_text(out, scraper.as_str());
        }
        JournalEntry::Unclaimed { from } => {
            out.push(UNCLAIMED);
            put_u64(out, *from);
        }
        JournalEntry::Origin { own } => {
            out.push(ORIGIN);
            out.extend(own.to_bytes());
        }
        JournalEntry::Shared { record, key, source } => {
            out.push(SHARED);
            put_event(out, record);
            put_text(out, key.as_ref().map_or("", IdempotencyKey::as_str));
            out.extend(source.origin.to_bytes());
            put_u64(out, source.number);
        }
        JournalEntry::Void { id } => {
            out.push(VOID);
            put_u64(out, *id);
        }
        JournalEntry::SharedCursor { scraper, state } => {
            out.push(SHARED_CURSOR);
            put_text(out, scraper.as_str());
            put_bytes(out, state);
        }
    }
}

fn put_event(out: &mut Vec<u8>, record: &StoredEvent) {
    put_u64(out, record.id.0);
    put_i64(out, record.at.as_millis());
    put_i64(out, record.stamp.as_millis());
    out.extend(record.event.value.to_bits().to_le_bytes());
    put_text(out, record.event.labels.as_str());
}

/// Reads all entries of a payload; `None` if it is not what [`encode`] makes.
pub(super) fn decode(payload: &[u8]) -> Option<Vec<JournalEntry>> {
    let mut decoder = Decoder::new(payload);
    let mut entries = Vec::new();
    while !decoder.rest().is_empty() {
        entries.push(entry(&mut decoder)?);
    }
    Some(entries)
}

fn entry(decoder: &mut Decoder<'_>) -> Option<JournalEntry> {
    Some(match decoder.byte()? {
        START => JournalEntry::Start {
            first: decoder.u64()?,
            freed_stamp: time(decoder)?,
        },
        EVENT => JournalEntry::Event {
            record: Arc::new(event(decoder)?),
            key: optional_key(decoder)?,
        },
        KEY => JournalEntry::Key {
            key: IdempotencyKey::new(decoder.text()?).ok()?,
            used: UsedKey {
                id: EventId(decoder.u64()?),
                fingerprint: decoder.fixed_u64()?,
                at: time(decoder)?,
            },
        },
        CURSOR => JournalEntry::Cursor {
            scraper: scraper(decoder)?,
            next: decoder.u64()?,
            heads: decoder.list(Decoder::u64)?,
        },
        FORGOTTEN => JournalEntry::Forgotten {
            scraper: scraper(decoder)?,
        },
        LOST => JournalEntry::Lost {
            scraper: scraper(decoder)?,
            events: decoder.u64()?,
        },
        REGULAR => JournalEntry::Regular {
            scraper: scraper(decoder)?,
        },
        UNCLAIMED => JournalEntry::Unclaimed { from: decoder.u64()? },
        ORIGIN => JournalEntry::Origin { own: origin(decoder)? },
        SHARED => JournalEntry::Shared {
            record: Arc::new(event(decoder)?),
            key: optional_key(decoder)?,
            source: Source {
                origin: origin(decoder)?,
                number: decoder.u64()?,
            },
        },
        VOID => JournalEntry::Void { id: decoder.u64()? },
        SHARED_CURSOR => JournalEntry::SharedCursor {
            scraper: scraper(decoder)?,
            state: decoder.prefixed()?.to_vec(),
        },
        _ => return None,
    })
}

/// A key, or none.
fn optional_key(decoder: &mut Decoder<'_>) -> Option<Option<IdempotencyKey>> {
    match decoder.text()? {
        "" => Some(None),
        key => Some(Some(IdempotencyKey::new(key).ok()?)),
    }
}

fn origin(decoder: &mut Decoder<'_>) -> Option<OriginId> {
    Some(OriginId::from_bytes(decoder.bytes(16)?.try_into().ok()?))
}

fn event(decoder: &mut Decoder<'_>) -> Option<StoredEvent> {
    Some(StoredEvent {
        id: EventId(decoder.u64()?),
        at: time(decoder)?,
        stamp: time(decoder)?,
        event: Event {
            value: f64::from_bits(decoder.fixed_u64()?),
            labels: LabelSet::from_text(decoder.text()?)?,
        },
    })
}

fn time(decoder: &mut Decoder<'_>) -> Option<Timestamp> {
    decoder.i64().map(Timestamp::from_millis)
}

fn scraper(decoder: &mut Decoder<'_>) -> Option<ScraperId> {
    ScraperId::new(decoder.text()?).ok()
}
