//! Events and the state of scrapers as the replicas of a cluster exchange them. Each begins with a version; what is read came from other
//! machines.

use super::OriginId;
use super::StoredEvent;
use super::shared_cursor::{Progress, SharedCursor};
use crate::model::{Event, EventId, IdempotencyKey, LabelSet, Timestamp};
use crate::store::durable::codec::{Decoder, put_i64, put_text, put_u64};

const VERSION: u8 = 1;

/// The bytes of the state of one scraper that are read: many times what a replica writes, and few enough that a thousand scrapers fill no
/// memory.
const MAX_RECORD_BYTES: usize = 256 << 10;

const REGULAR: u8 = 1;
const FRESH: u8 = 2;

/// An event as another replica has accepted it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct SharedEvent {
    pub(in crate::store) event: Event,
    /// The time of acceptance, by the clock of that replica.
    pub(in crate::store) at: Timestamp,
    pub(in crate::store) stamp: Timestamp,
    pub(in crate::store) key: Option<IdempotencyKey>,
}

/// The state of a scraper.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct ScraperRecord {
    pub(super) cursor: SharedCursor,
    /// True if it has scraped more than once, or is declared.
    pub(super) regular: bool,
}

pub(in crate::store) fn encode_event(record: &StoredEvent, key: Option<&IdempotencyKey>) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_i64(&mut out, record.at.as_millis());
    put_i64(&mut out, record.stamp.as_millis());
    out.extend(record.event.value.to_bits().to_le_bytes());
    put_text(&mut out, record.event.labels.as_str());
    put_text(&mut out, key.map_or("", IdempotencyKey::as_str));
    out
}

/// Reads what [`encode_event`] has written; `None` for other bytes.
pub(in crate::store) fn decode_event(bytes: &[u8]) -> Option<SharedEvent> {
    let mut decoder = versioned(bytes)?;
    let (at, stamp) = (time(&mut decoder)?, time(&mut decoder)?);
    let value = f64::from_bits(decoder.fixed_u64()?);
    let labels = LabelSet::from_text(decoder.text()?)?;
    let key = match decoder.text()? {
        "" => None,
        key => Some(IdempotencyKey::new(key).ok()?),
    };
    let event = Event { value, labels };
    decoder.rest().is_empty().then_some(SharedEvent { event, at, stamp, key })
}

pub(in crate::store) fn encode_scraper(record: &ScraperRecord) -> Vec<u8> {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    let mut out = vec![VERSION, flag(record.regular, REGULAR) | flag(record.cursor.fresh, FRESH)];
    put_i64(&mut out, record.cursor.seen.as_millis());
    put_u64(&mut out, record.cursor.progress.len() as u64);
    for (origin, progress) in &record.cursor.progress {
        out.extend(origin.to_bytes());
        put_u64(&mut out, progress.through);
        put_u64(&mut out, progress.waiting.len() as u64);
        // From the last one back: they are near the end.
        let mut from = progress.through;
        for &number in progress.waiting.iter().rev() {
            put_u64(&mut out, from - number);
            from = number;
        }
    }
    out
}

/// Reads what [`encode_scraper`] has written; `None` for other bytes.
pub(in crate::store) fn decode_scraper(bytes: &[u8]) -> Option<ScraperRecord> {
    let mut decoder = versioned(bytes)?;
    let flags = decoder.byte()?;
    let mut cursor = SharedCursor {
        seen: time(&mut decoder)?,
        fresh: flags & FRESH != 0,
        ..SharedCursor::default()
    };
    if bytes.len() > MAX_RECORD_BYTES {
        return None;
    }
    let origins = decoder.u64()?;
    for _ in 0..origins {
        let origin = OriginId::from_bytes(decoder.bytes(16)?.try_into().ok()?);
        let through = decoder.u64()?;
        let mut from = through;
        let steps = decoder.list(Decoder::u64)?;
        let mut progress = Progress {
            through,
            ..Progress::default()
        };
        for step in steps {
            from = from.checked_sub(step)?;
            if !progress.waiting.insert(from) {
                return None;
            }
        }
        if cursor.progress.insert(origin, progress).is_some() {
            return None;
        }
    }
    decoder.rest().is_empty().then_some(ScraperRecord {
        cursor,
        regular: flags & REGULAR != 0,
    })
}

/// Reads bytes as an event and as the state of a scraper, which must end well, and writes again what they are.
///
/// # Panics
/// If what was written is read as something else: a fault of this module.
pub fn inspect_shared(bytes: &[u8]) {
    if let Some(SharedEvent { event, at, stamp, key }) = decode_event(bytes) {
        let id = EventId(1);
        let written = encode_event(&StoredEvent { id, event, at, stamp }, key.as_ref());
        assert!(decode_event(&written).is_some(), "an event is not read as it was written");
    }
    if let Some(record) = decode_scraper(bytes) {
        let written = encode_scraper(&record);
        let again = decode_scraper(&written).map(|again| again.cursor.progress);
        assert_eq!(
            again.as_ref(),
            Some(&record.cursor.progress),
            "a state is not read as it was written"
        );
        let mut joined = record.cursor.clone();
        joined.join(&record.cursor);
        assert_eq!(
            joined.progress, record.cursor.progress,
            "a state changes when it is joined to itself"
        );
    }
}

fn versioned(bytes: &[u8]) -> Option<Decoder<'_>> {
    let mut decoder = Decoder::new(bytes);
    (decoder.byte()? == VERSION).then_some(decoder)
}

fn time(decoder: &mut Decoder<'_>) -> Option<Timestamp> {
    decoder.i64().map(Timestamp::from_millis)
}
