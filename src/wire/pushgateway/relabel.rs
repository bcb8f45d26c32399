//! Pushed protobuf messages with the labels of their group, so that also what text cannot carry has them.

use super::saved::field;
use super::{Group, INSTANCE};
use crate::wire::protobuf::{Fields, ProtobufError, push_bytes, push_varint};

/// The fault of a pushed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelabelError {
    /// It is not a stream of delimited messages.
    #[error("not delimited protobuf messages: {0}")]
    Protobuf(#[from] ProtobufError),
    /// With the labels of the group it is longer than that many bytes.
    #[error("with the labels of the group the messages have more than {0} bytes")]
    TooLong(usize),
}

/// The delimited messages of a push with the labels of the group in each metric, in place of its own of the same names; without timestamps if
/// these are stripped. A metric without the label `instance` gets it, empty.
///
/// # Errors
/// If the body is no such stream, or the result is longer than `most` bytes.
pub fn relabel(body: &[u8], group: &Group, strips_timestamps: bool, most: usize) -> Result<Vec<u8>, RelabelError> {
    let (mut out, mut rest) = (Vec::with_capacity(body.len() + body.len() / 4), body);
    while !rest.is_empty() {
        let mut fields = Fields(rest);
        let family = fields.delimited()?;
        rest = fields.0;
        let family = relabel_family(family, group, strips_timestamps, most.saturating_sub(out.len()))?;
        push_varint(&mut out, family.len() as u64);
        out.extend_from_slice(&family);
        if out.len() > most {
            return Err(RelabelError::TooLong(most));
        }
    }
    Ok(out)
}

fn relabel_family(family: &[u8], group: &Group, strips_timestamps: bool, most: usize) -> Result<Vec<u8>, RelabelError> {
    let (mut out, mut fields) = (Vec::with_capacity(family.len()), Fields(family));
    while let Some((number, value)) = fields.next()? {
        match number {
            field::FAMILY_METRIC => push_bytes(&mut out, number, &relabel_metric(value.bytes(number)?, group, strips_timestamps)?),
            _ => value.write(number, &mut out),
        }
        if out.len() > most {
            return Err(RelabelError::TooLong(most));
        }
    }
    Ok(out)
}

fn relabel_metric(metric: &[u8], group: &Group, strips_timestamps: bool) -> Result<Vec<u8>, ProtobufError> {
    let (mut out, mut fields, mut has_instance) = (Vec::with_capacity(metric.len()), Fields(metric), false);
    while let Some((number, value)) = fields.next()? {
        match number {
            field::METRIC_LABEL => {
                let pair = value.bytes(number)?;
                let name = label_name(pair)?;
                has_instance |= name == INSTANCE.as_bytes();
                if !group.has_label(name) {
                    push_bytes(&mut out, number, pair);
                }
            }
            field::METRIC_TIMESTAMP if strips_timestamps => {}
            _ => value.write(number, &mut out),
        }
    }
    let added = (!has_instance && !group.has_label(INSTANCE.as_bytes())).then_some((INSTANCE, ""));
    for (name, value) in group.labels().chain(added) {
        let mut pair = Vec::with_capacity(name.len() + value.len() + 8);
        push_bytes(&mut pair, field::LABEL_NAME, name.as_bytes());
        push_bytes(&mut pair, field::LABEL_VALUE, value.as_bytes());
        push_bytes(&mut out, field::METRIC_LABEL, &pair);
    }
    Ok(out)
}

/// The name in a pair of a name and a value.
fn label_name(pair: &[u8]) -> Result<&[u8], ProtobufError> {
    let (mut name, mut fields): (&[u8], _) = (&[], Fields(pair));
    while let Some((number, value)) = fields.next()? {
        if number == field::LABEL_NAME {
            name = value.bytes(number)?;
        }
    }
    Ok(name)
}

/// The delimited messages of families with names that are kept.
///
/// # Errors
/// If the stream is damaged.
pub fn retain_families(delimited: &[u8], keeps: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, ProtobufError> {
    let (mut out, mut rest) = (Vec::with_capacity(delimited.len()), delimited);
    while !rest.is_empty() {
        let mut fields = Fields(rest);
        let family = fields.delimited()?;
        rest = fields.0;
        if keeps(family_name(family)?) {
            push_varint(&mut out, family.len() as u64);
            out.extend_from_slice(family);
        }
    }
    Ok(out)
}

fn family_name(family: &[u8]) -> Result<&[u8], ProtobufError> {
    let (mut name, mut fields): (&[u8], _) = (&[], Fields(family));
    while let Some((number, value)) = fields.next()? {
        if number == field::FAMILY_NAME {
            name = value.bytes(number)?;
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
