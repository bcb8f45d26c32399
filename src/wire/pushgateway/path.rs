//! The path of a request: `/metrics/job/JOB/LABEL/VALUE...`, with `@base64` behind the name of a value in base64.

use std::borrow::Cow;

use base64::DecodeError;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

use super::{BASE64_SUFFIX, Group, unescape_label_name};

/// As Pushgateway decodes: padding and the bits behind the last byte do not count.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// The start of paths about groups.
const START: &str = "/metrics/job";

/// The fault of a path. The texts are those of Pushgateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is no job.
    #[error("job name is required")]
    NoJob,
    /// The job is not in base64, although the path says so.
    #[error("invalid base64 encoding in job name {job:?}: illegal base64 data at input byte {at}")]
    JobEncoding {
        /// The part before the fault, decoded.
        job: String,
        /// The offset of the fault.
        at: usize,
    },
    /// A value is not in base64, although its label says so.
    #[error("invalid base64 encoding for label {name}={value:?}: illegal base64 data at input byte {at}")]
    ValueEncoding {
        /// The label.
        name: String,
        /// Its value as sent.
        value: String,
        /// The offset of the fault.
        at: usize,
    },
    /// A label has no value.
    #[error("odd number of components in label string {0:?}")]
    Odd(String),
    /// It is not the name of a label.
    #[error("improper label name {0:?}")]
    LabelName(String),
    /// It is not UTF-8.
    #[error("{0:?} in the path is not valid UTF-8")]
    NotUtf8(String),
}

impl Group {
    /// Reads the path of a request, percent-encoded as it came, from `/metrics/job` on. Segments are separated before they are decoded, so
    /// that a value may have an encoded slash.
    ///
    /// # Errors
    /// The fault of the path.
    pub fn from_path(path: &str) -> Result<Self, PathError> {
        let rest = path.strip_prefix(START).ok_or(PathError::NoJob)?;
        let (in_base64, rest) = match rest.strip_prefix(BASE64_SUFFIX) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.strip_prefix('/').ok_or(PathError::NoJob)?;
        let (job, labels) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let job = decoded(job)?;
        let job = match in_base64 {
            true => job_from_base64(&job)?,
            false => job.into_owned(),
        };
        let labels = labels_from(labels)?;
        if job.is_empty() {
            return Err(PathError::NoJob);
        }
        Ok(Self::new(job, labels))
    }
}

/// The name of the app that the path of a request is about, if it is the path of a group behind any prefix. The configuration refuses a prefix
/// with `/metrics/job` in it, so the first one begins the group.
#[must_use]
pub fn app_of_path(path: &str) -> Option<String> {
    let group = Group::from_path(&path[path.find(START)?..]).ok()?;
    Some(group.app_name().as_str().to_owned())
}

/// The labels in the part of a path behind the job.
fn labels_from(path: &str) -> Result<Vec<(String, String)>, PathError> {
    if path.len() <= 1 {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = path[1..].split('/').collect();
    if !parts.len().is_multiple_of(2) {
        return Err(PathError::Odd(decoded(path)?.into_owned()));
    }
    let mut labels = Vec::with_capacity(parts.len() / 2);
    for pair in parts.chunks_exact(2) {
        let (name, value) = (decoded(pair[0])?, decoded(pair[1])?);
        let (trimmed, in_base64) = match name.strip_suffix(BASE64_SUFFIX) {
            Some(trimmed) => (trimmed, true),
            None => (&*name, false),
        };
        let unescaped = unescape_label_name(trimmed);
        // Names that begin so are Prometheus's own.
        if unescaped.is_empty() || unescaped.starts_with("__") {
            return Err(PathError::LabelName(trimmed.to_owned()));
        }
        let value = match in_base64 {
            false => value.into_owned(),
            true => match from_base64(&value) {
                Ok(bytes) => String::from_utf8(bytes).map_err(|_| PathError::NotUtf8(value.into_owned()))?,
                Err(at) => {
                    let (name, value) = (trimmed.to_owned(), value.into_owned());
                    return Err(PathError::ValueEncoding { name, value, at });
                }
            },
        };
        labels.push((unescaped, value));
    }
    Ok(labels)
}

fn job_from_base64(job: &str) -> Result<String, PathError> {
    match from_base64(job) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| PathError::NotUtf8(job.to_owned())),
        Err(at) => {
            // Pushgateway's message has what was decoded: the groups of four characters before the fault.
            let whole = job
                .get(..at / 4 * 4)
                .and_then(|start| BASE64.decode(start).ok())
                .unwrap_or_default();
            let job = String::from_utf8_lossy(&whole).into_owned();
            Err(PathError::JobEncoding { job, at })
        }
    }
}

/// Decodes base64 with or without padding; the offset of the fault if it is none.
fn from_base64(text: &str) -> Result<Vec<u8>, usize> {
    let text = text.trim_end_matches('=');
    BASE64.decode(text).map_err(|error| match error {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol { offset: at, .. } => at,
        // One character is left over.
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len().saturating_sub(1),
    })
}

fn decoded(segment: &str) -> Result<Cow<'_, str>, PathError> {
    percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| PathError::NotUtf8(segment.to_owned()))
}
