//! The body of a push: its format, and the checks that Pushgateway makes of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::exposition::group::{Bounds, GroupLabels};
use crate::exposition::protobuf::{self, DecodeErrorKind};
use crate::exposition::{Exposition, FamilyFlags, Fault, detect};
use crate::model::Syntax;
use crate::store::Refused;
use crate::wire::ForeignFormat;
use crate::wire::pushgateway::{Group, RelabelError, relabel};

/// A pushed text without faults but for series that occur twice.
#[derive(Debug)]
pub(super) struct PushedText {
    text: Arc<Exposition>,
    /// A series that occurs twice, which Pushgateway finds in its check of consistency.
    duplicate: Option<String>,
    /// Metrics of a body of protobuf or OpenMetrics 2.0 that text cannot carry, with the labels of the group.
    records: Bytes,
    bounds: Bounds,
}

/// Reads the body of a push to a group in length-delimited protobuf messages, without timestamps if these are stripped. Neither the messages
/// with the labels of the group nor their text may have more than `most` bytes.
///
/// # Errors
/// The fault of the body, or that it is too long.
pub(super) fn parse_protobuf(body: &[u8], group: &Group, strips_timestamps: bool, most: usize) -> Result<PushedText, BodyFault> {
    let relabelled = relabel(body, group, strips_timestamps, most).map_err(|error| match error {
        RelabelError::TooLong(_) => BodyFault::TooLong(error.to_string()),
        // The decoder names the place.
        RelabelError::Protobuf(_) => {
            BodyFault::Invalid(protobuf::decode(body, most).map_or_else(|at| at.to_string(), |_| error.to_string()))
        }
    })?;
    let decoded = protobuf::decode(&relabelled, most).map_err(|error| match error.kind {
        DecodeErrorKind::TooLong(_) => BodyFault::TooLong(error.to_string()),
        _ => BodyFault::Invalid(error.to_string()),
    })?;
    let text = Exposition::parse(decoded.text, Syntax::OpenMetrics);
    let mut pushed = PushedText::of(text).map_err(|fault| BodyFault::Invalid(fault.reason.into_owned()))?;
    (pushed.records, pushed.bounds) = (decoded.records, Bounds::Go);
    Ok(pushed)
}

/// Takes what was read of the body of a push to a group in OpenMetrics 2.0. Metrics that text cannot carry get the labels of the group, without
/// timestamps if these are stripped, and may then have `most` bytes. Samples of the text get them with those of other formats.
///
/// # Errors
/// The faults of the body, as other pushes name them, or that it is too long.
pub(super) fn of_openmetrics2(
    body: &[u8],
    read: Exposition,
    group: &Group,
    strips_timestamps: bool,
    most: usize,
) -> Result<PushedText, BodyFault> {
    check_utf8(body).map_err(BodyFault::Invalid)?;
    let records = relabel(&read.record_bytes(), group, strips_timestamps, most).map_err(|error| BodyFault::TooLong(error.to_string()))?;
    let faults: Vec<Fault> = read.faults().iter().cloned().collect();
    let refused = Refused::Invalid(faults, read.faults().total());
    let mut pushed = PushedText::of(read).map_err(|_| {
        let foreign = foreign(body).unwrap_or_default();
        BodyFault::Invalid(format!("{refused}{foreign}"))
    })?;
    pushed.records = records.into();
    Ok(pushed)
}

/// The fault of a body that is not read as it came.
#[derive(Debug)]
pub(super) enum BodyFault {
    Invalid(String),
    TooLong(String),
}

/// Reads the body of a push.
///
/// # Errors
/// The fault of the text, in the words of Pushgateway where it is the same.
pub(super) fn parse(body: Bytes, content_type: Option<&str>) -> Result<PushedText, String> {
    check_utf8(&body)?;
    let syntax = content_type.and_then(Syntax::from_content_type).unwrap_or_else(|| detect(&body));
    if syntax == Syntax::Text {
        check_line_ends(&body)?;
    }
    PushedText::of(Exposition::parse(body.clone(), syntax)).map_err(|fault| {
        let foreign = foreign(&body).unwrap_or_default();
        let (line, column, reason) = (fault.line, fault.column, &fault.reason);
        format!("text format parsing error in line {line}: column {column}: {reason}{foreign}")
    })
}

/// Refuses what is not UTF-8.
fn check_utf8(body: &[u8]) -> Result<(), String> {
    // Looking for bytes beyond ASCII takes a third of the time of validation.
    if !body.is_ascii()
        && let Err(error) = std::str::from_utf8(body)
    {
        let foreign = foreign(body).unwrap_or_default();
        return Err(format!("the text is not UTF-8 (byte {}){foreign}", error.valid_up_to()));
    }
    Ok(())
}

/// Another format that the body is in.
fn foreign(body: &[u8]) -> Option<String> {
    ForeignFormat::of(body).map(|foreign| format!("; this is {foreign}, not metrics in a text format"))
}

/// Refuses lines that do not end as Pushgateway wants it: it takes a text without a newline at its end for one that was cut off, and a
/// carriage return for a part of the line.
fn check_line_ends(body: &[u8]) -> Result<(), String> {
    let is_blank = |line: &[u8]| line.iter().all(|byte| matches!(byte, b' ' | b'\t'));
    let fault = |at: usize, what: &str| {
        let line = 1 + memchr::memchr_iter(b'\n', &body[..at]).count();
        Err(format!("text format parsing error in line {line}: {what}"))
    };
    let last = memchr::memrchr(b'\n', body).map_or(0, |newline| newline + 1);
    if !is_blank(&body[last..]) {
        return fault(
            body.len(),
            "unexpected end of input stream: the last line does not end in a newline",
        );
    }
    for at in memchr::memchr_iter(b'\r', body).filter(|at| body.get(at + 1) == Some(&b'\n')) {
        let start = memchr::memrchr(b'\n', &body[..at]).map_or(0, |newline| newline + 1);
        let line = body[start..at].trim_ascii_start();
        if !line.starts_with(b"#") || line[1..].trim_ascii_start().starts_with(b"TYPE") {
            return fault(at, "unexpected carriage return: lines end in a newline alone");
        }
    }
    Ok(())
}

impl PushedText {
    /// A text without other faults than series that occur twice.
    fn of(text: Exposition) -> Result<Self, Fault> {
        if let Some(fault) = text.faults().iter().find(|fault| !fault.is_duplicate) {
            return Err(fault.clone());
        }
        Ok(Self {
            duplicate: text.faults().first().map(ToString::to_string),
            text: Arc::new(text),
            records: Bytes::new(),
            bounds: Bounds::AsWritten,
        })
    }

    /// The spelling of bounds: in protobuf they are numbers.
    pub(super) const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Metrics that text cannot carry, with the labels of the group.
    pub(super) fn records(&self) -> &[u8] {
        &self.records
    }

    pub(super) fn exposition(&self) -> &Arc<Exposition> {
        &self.text
    }

    /// The number of its samples.
    pub(super) fn samples(&self) -> usize {
        self.text.families().iter().map(|family| family.samples as usize).sum()
    }

    /// The bytes that each sample grows by at most in this group.
    pub(super) fn added_bytes(&self, group: &Group) -> usize {
        GroupLabels::new(group.labels()).added_bytes()
    }

    /// Checks what Pushgateway checks beyond the format.
    ///
    /// # Errors
    /// Timestamps where there must be none, reserved label names, and series that occur twice.
    pub(super) fn check(&self, rejects_timestamps: bool) -> Result<(), String> {
        let has = |flag| self.text.families().iter().any(|family| family.flags.contains(flag));
        if rejects_timestamps && has(FamilyFlags::TIMESTAMPS) {
            return Err("pushed metrics must not have timestamps".to_owned());
        }
        if has(FamilyFlags::RESERVED_LABELS) {
            return Err("label names that begin with \"__\" are reserved".to_owned());
        }
        self.duplicate.clone().map_or(Ok(()), Err)
    }
}
