//! Messages of a rendered response, which is a list of slices: a message may begin in one and end in another.
//!
//! So the fields of families have a reader of their own, beside [`Fields`] for what lies in one piece: it copies no more than a metric that is in
//! several slices, and its place can be kept while other responses have their turn. Metrics are read by [`Fields`].

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::UnstatedTypes;
use crate::family::MetricType;
use crate::protobuf::MessageType;
use crate::protobuf::field::{family, metric, scalar};
use crate::protobuf::wire::Fields;

/// Slices of a response, shared with others.
pub(super) type Rows = [Arc<Vec<Bytes>>];

/// A place in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RowsPlace {
    row: usize,
    slice: usize,
    byte: usize,
}

/// Reader of a response from a place on. It ends at the end of the response, and at what is no message.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowsReader<'a> {
    rows: &'a Rows,
    place: RowsPlace,
    /// Bytes that were read.
    read: u64,
}

/// A part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) start: RowsPlace,
    pub(super) len: u64,
}

/// A message without its metrics.
#[derive(Debug, Clone)]
pub(super) struct FamilyMessage {
    /// All of its fields.
    pub(super) fields: Part,
    pub(super) name: Box<[u8]>,
    pub(super) help: Option<Part>,
    pub(super) unit: Option<Part>,
    /// The type of its metrics.
    pub(super) kind: MessageType,
    /// The type of its family.
    pub(super) family: MetricType,
}

impl FamilyMessage {
    /// The type of the family that it is on its own: a part of a gauge histogram is a gauge.
    pub(super) fn stated(&self) -> MetricType {
        match (self.kind, self.family) {
            (MessageType::Gauge, MetricType::GaugeHistogram) => MetricType::Gauge,
            (_, family) => family,
        }
    }
}

impl<'a> RowsReader<'a> {
    pub(super) const fn new(rows: &'a Rows, place: RowsPlace) -> Self {
        Self { rows, place, read: 0 }
    }

    /// The rest of the slice in work, which is empty at the end only.
    fn rest(&mut self) -> &'a [u8] {
        while let Some(row) = self.rows.get(self.place.row) {
            if let Some(slice) = row.get(self.place.slice) {
                let rest = &slice[self.place.byte..];
                if !rest.is_empty() {
                    return rest;
                }
                self.place = RowsPlace {
                    slice: self.place.slice + 1,
                    byte: 0,
                    ..self.place
                };
            } else {
                self.place = RowsPlace {
                    row: self.place.row + 1,
                    ..RowsPlace::default()
                };
            }
        }
        &[]
    }

    fn advance(&mut self, len: usize) {
        self.place.byte += len;
        self.read += len as u64;
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.rest().first()?;
            self.advance(1);
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The next bytes, copied only if they are in several slices.
    pub(super) fn take(&mut self, len: u64) -> Option<Cow<'a, [u8]>> {
        let mut left = usize::try_from(len).ok()?;
        let rest = self.rest();
        if let Some(bytes) = rest.get(..left) {
            self.advance(left);
            return Some(bytes.into());
        }
        let mut bytes = Vec::new();
        while left > 0 {
            let rest = self.rest();
            if rest.is_empty() {
                return None;
            }
            let part = &rest[..rest.len().min(left)];
            bytes.extend_from_slice(part);
            left -= part.len();
            self.advance(part.len());
        }
        Some(bytes.into())
    }

    fn skip(&mut self, len: u64) -> Option<()> {
        let mut left = len;
        while left > 0 {
            let rest = self.rest().len();
            if rest == 0 {
                return None;
            }
            let part = rest.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.advance(part);
            left -= part as u64;
        }
        Some(())
    }

    fn part(&mut self) -> Option<Part> {
        let len = self.varint()?;
        self.rest();
        let part = Part { start: self.place, len };
        Some(part)
    }
}

/// Reader of the fields of a message of a family.
#[derive(Debug, Clone, Copy)]
pub(super) struct FamilyFields<'a> {
    reader: RowsReader<'a>,
    end: u64,
}

/// A place between two fields of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resume {
    place: RowsPlace,
    /// The bytes before it, and those of all fields.
    read: u64,
    end: u64,
}

/// A field of a family.
enum Field {
    Bytes(u32, Part),
    Number(u32, u64),
}

impl<'a> FamilyFields<'a> {
    pub(super) const fn new(rows: &'a Rows, fields: Part) -> Self {
        Self {
            reader: RowsReader::new(rows, fields.start),
            end: fields.len,
        }
    }

    /// The next field, of which the bytes are still to be read.
    fn next(&mut self) -> Option<Field> {
        if self.reader.read >= self.end {
            return None;
        }
        let tag = self.reader.varint()?;
        let number = u32::try_from(tag >> 3).ok()?;
        match tag & 7 {
            0 => Some(Field::Number(number, self.reader.varint()?)),
            2 => Some(Field::Bytes(number, self.reader.part()?)),
            // A family has no other ones.
            _ => None,
        }
    }

    /// The fields from a place on that [`FamilyFields::position`] returned.
    pub(super) const fn resume(rows: &'a Rows, resume: Resume) -> Self {
        let Resume { place, read, end } = resume;
        Self {
            reader: RowsReader { rows, place, read },
            end,
        }
    }

    /// The place behind the last field that was read.
    pub(super) const fn position(&self) -> Resume {
        Resume {
            place: self.reader.place,
            read: self.reader.read,
            end: self.end,
        }
    }

    /// The next metric that has at most this number of bytes.
    pub(super) fn metric(&mut self, most: u64) -> Option<Cow<'a, [u8]>> {
        loop {
            match self.next()? {
                Field::Bytes(family::METRIC, part) if part.len <= most => return self.reader.take(part.len),
                Field::Bytes(_, part) => self.reader.skip(part.len)?,
                Field::Number(..) => {}
            }
        }
    }
}

/// All messages of a response but for their metrics.
pub(super) fn messages(rows: &Rows, types: &UnstatedTypes) -> Vec<FamilyMessage> {
    let mut messages = Vec::new();
    let mut reader = RowsReader::new(rows, RowsPlace::default());
    while let Some(fields) = reader.part() {
        messages.extend(read(rows, fields, types));
        if reader.skip(fields.len).is_none() {
            break;
        }
    }
    messages.shrink_to_fit();
    messages
}

/// A message; `None` without a name.
fn read(rows: &Rows, fields: Part, types: &UnstatedTypes) -> Option<FamilyMessage> {
    let mut message = FamilyMessage {
        fields,
        name: Box::default(),
        help: None,
        unit: None,
        kind: MessageType::Counter,
        family: MetricType::Unknown,
    };
    let mut is_counter = true;
    let mut family = FamilyFields::new(rows, fields);
    while let Some(field) = family.next() {
        match field {
            Field::Number(family::TYPE, number) => {
                message.kind = MessageType::from_number(number)?;
            }
            Field::Number(..) => {}
            Field::Bytes(family::NAME, part) => message.name = family.reader.take(part.len)?.into(),
            // Looked at only where it matters: a value that no counter has would cost the scraper all of its scrape.
            Field::Bytes(family::METRIC, part) if message.kind == MessageType::Counter => {
                is_counter &= is_count(&family.reader.take(part.len)?);
            }
            Field::Bytes(number, part) => {
                match number {
                    family::HELP => message.help = Some(part),
                    family::UNIT => message.unit = Some(part),
                    _ => {}
                }
                family.reader.skip(part.len)?;
            }
        }
    }
    message.family = match message.kind {
        MessageType::Counter if is_counter => MetricType::Counter,
        MessageType::Counter | MessageType::Untyped => MetricType::Unknown,
        MessageType::Gauge => types.get(&message.name).copied().unwrap_or(MetricType::Gauge),
        MessageType::Summary => MetricType::Summary,
        MessageType::Histogram => MetricType::Histogram,
        MessageType::GaugeHistogram => MetricType::GaugeHistogram,
    };
    (!message.name.is_empty()).then_some(message)
}

/// True if the value of a metric is one of a counter.
fn is_count(bytes: &[u8]) -> bool {
    let mut value = 0.0;
    let mut fields = Fields::new(bytes, 0..bytes.len());
    while let Ok(Some(field)) = fields.next() {
        if field.number != metric::COUNTER {
            continue;
        }
        let Ok(range) = field.bytes() else { return false };
        let mut counter = Fields::new(bytes, range);
        while let Ok(Some(field)) = counter.next() {
            if field.number == scalar::VALUE {
                value = field.double().unwrap_or(f64::NAN);
            }
        }
    }
    value >= 0.0
}
