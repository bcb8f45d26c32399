//! The file in which Pushgateway keeps its groups (`--persistence.file`): a map of groups in gob, with families as protobuf messages.

use super::{Group, JOB, PUSH_FAILURE_TIME, PUSH_TIME};
use crate::wire::gob::{Gob, GobError};
use crate::wire::protobuf::{Fields, ProtobufError, Value, push_varint};

/// Field numbers of `io.prometheus.client` messages.
pub(super) mod field {
    pub(in crate::wire::pushgateway) const FAMILY_NAME: u64 = 1;
    pub(in crate::wire::pushgateway) const FAMILY_METRIC: u64 = 4;
    pub(in crate::wire::pushgateway) const METRIC_LABEL: u64 = 1;
    pub(in crate::wire::pushgateway) const METRIC_GAUGE: u64 = 2;
    pub(in crate::wire::pushgateway) const METRIC_TIMESTAMP: u64 = 6;
    pub(in crate::wire::pushgateway) const LABEL_NAME: u64 = 1;
    pub(in crate::wire::pushgateway) const LABEL_VALUE: u64 = 2;
    pub(in crate::wire::pushgateway) const GAUGE_VALUE: u64 = 1;
}

/// The fault of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    /// It is not gob, or of other types.
    #[error("not a persistence file of Pushgateway 0.10 or newer: {0}")]
    Gob(#[from] GobError),
    /// A family is not a protobuf message.
    #[error("a family in the file cannot be read: {0}")]
    Family(#[from] ProtobufError),
    /// A group has no job.
    #[error("a group in the file has no label \"job\"")]
    NoJob,
}

/// A group of another Pushgateway.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedGroup {
    /// Its labels.
    pub group: Group,
    /// Its families but for the times of its pushes, as delimited protobuf messages: the body of a push.
    pub families: Vec<u8>,
    /// The number of the families.
    pub count: usize,
    /// The time of its last push that succeeded, in seconds since the Unix epoch.
    pub pushed: Option<f64>,
    /// The time of its last push that failed.
    pub failed: Option<f64>,
}

impl SavedGroup {
    /// A group without families.
    pub(super) const fn new(group: Group) -> Self {
        Self {
            group,
            families: Vec::new(),
            count: 0,
            pushed: None,
            failed: None,
        }
    }

    /// Adds a family, or takes the time of a push from it.
    pub(super) fn add(&mut self, name: &str, family: &[u8]) -> Result<(), ProtobufError> {
        if name == PUSH_TIME.0 {
            self.pushed = gauge(family)?;
        } else if name == PUSH_FAILURE_TIME.0 {
            self.failed = gauge(family)?;
        } else {
            push_varint(&mut self.families, family.len() as u64);
            self.families.extend_from_slice(family);
            self.count += 1;
        }
        Ok(())
    }
}

/// The value of the first metric of a family of gauges; zero is left out in the message.
fn gauge(family: &[u8]) -> Result<Option<f64>, ProtobufError> {
    let Some(metric) = message_in(family, field::FAMILY_METRIC)? else {
        return Ok(None);
    };
    let Some(gauge) = message_in(metric, field::METRIC_GAUGE)? else {
        return Ok(None);
    };
    let mut fields = Fields(gauge);
    while let Some((number, value)) = fields.next()? {
        if let (field::GAUGE_VALUE, Value::Fixed64(bits)) = (number, value) {
            return Ok(Some(f64::from_bits(bits)));
        }
    }
    Ok(Some(0.0))
}

/// The first message in a field of another one.
fn message_in(message: &[u8], wanted: u64) -> Result<Option<&[u8]>, ProtobufError> {
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        if number == wanted {
            return value.bytes(number).map(Some);
        }
    }
    Ok(None)
}

/// The groups of a file, one after another: no more than one of them is in memory beside the file.
#[derive(Debug, Clone)]
pub struct SavedGroups<'a> {
    rest: Gob<'a>,
    left: u64,
}

impl<'a> SavedGroups<'a> {
    /// Finds the groups in a file.
    ///
    /// # Errors
    /// If it is not gob of a map.
    pub fn new(file: &'a [u8]) -> Result<Self, SavedError> {
        let mut rest = Gob::value_of(file)?;
        let left = rest.number()?;
        Ok(Self { rest, left })
    }

    /// The number of groups that were not read yet.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The next group: its key, and a structure of its labels and its families.
    fn read(&mut self) -> Result<SavedGroup, SavedError> {
        let gob = &mut self.rest;
        let _key = gob.bytes()?;
        let (mut labels, mut families, mut last) = (Vec::new(), Vec::new(), None);
        while let Some(field) = gob.field(last)? {
            match field {
                0 => labels = entries(gob, |gob| Ok(gob.text()?.to_owned()))?,
                1 => families = entries(gob, family)?,
                _ => return Err(GobError::Unexpected("an unknown field of a group").into()),
            }
            last = Some(field);
        }
        let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value));
        let (job, labels): (Vec<_>, Vec<_>) = labels.partition(|(name, _)| name == JOB);
        let (_, job) = job.into_iter().next().ok_or(SavedError::NoJob)?;
        let mut group = SavedGroup::new(Group::new(job, labels));
        for (name, family) in families {
            group.add(name, family)?;
        }
        Ok(group)
    }
}

impl Iterator for SavedGroups<'_> {
    type Item = Result<SavedGroup, SavedError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            // What follows is not part of the map.
            return (!self.rest.is_empty()).then(|| {
                self.rest = Gob::default();
                Err(GobError::Unexpected("bytes behind the last group").into())
            });
        }
        let group = self.read();
        self.left = if group.is_ok() { self.left - 1 } else { 0 };
        if group.is_err() {
            self.rest = Gob::default();
        }
        Some(group)
    }
}

/// A map with texts as keys.
fn entries<'a, T>(gob: &mut Gob<'a>, mut value: impl FnMut(&mut Gob<'a>) -> Result<T, GobError>) -> Result<Vec<(&'a str, T)>, GobError> {
    let count = gob.number()?;
    // Each entry has a byte at least, so a count that lies costs nothing.
    if usize::try_from(count).map_or(true, |count| count > gob.len()) {
        return Err(GobError::Truncated);
    }
    (0..count).map(|_| Ok((gob.text()?, value(gob)?))).collect()
}

/// A family with the time of its push: a structure of a time, and of bytes that are a message.
fn family<'a>(gob: &mut Gob<'a>) -> Result<&'a [u8], GobError> {
    let (mut family, mut last): (&[u8], _) = (&[], None);
    while let Some(field) = gob.field(last)? {
        let bytes = gob.bytes()?;
        match field {
            0 => {}
            1 => family = bytes,
            _ => return Err(GobError::Unexpected("an unknown field of a family")),
        }
        last = Some(field);
    }
    Ok(family)
}

#[cfg(test)]
mod tests;
