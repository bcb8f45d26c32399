//! Messages in the form that encoders write: the fields in order, each once, and no others. Such a message is compared with its form as a
//! whole, in place of reading it field by field. Any other form is left to [`Fields`](super::wire::Fields), with the same result.

use std::ops::Range;

use super::field::{bucket, label, scalar};
use super::wire::{BYTES, FIXED64, VARINT, tag};

const LABEL_NAME: u8 = tag(label::NAME, BYTES);
const LABEL_VALUE: u8 = tag(label::VALUE, BYTES);
const BUCKET_COUNT: u8 = tag(bucket::COUNT, VARINT);
const BUCKET_BOUND: u8 = tag(bucket::BOUND, FIXED64);
const SCALAR_VALUE: u8 = tag(scalar::VALUE, FIXED64);

/// The value of a label of this name, both shorter than 128 bytes.
#[inline]
pub(super) fn value_of_label<'a>(label: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let [LABEL_NAME, name_len, rest @ ..] = label else { return None };
    if usize::from(*name_len) != name.len() || *name_len >= 0x80 {
        return None;
    }
    let [LABEL_VALUE, value_len, value @ ..] = rest.strip_prefix(name)? else {
        return None;
    };
    (usize::from(*value_len) == value.len() && *value_len < 0x80).then_some(value)
}

/// The count and the bound of a classic bucket without an exemplar. The count is below 2^63.
#[inline]
pub(super) fn bucket(bucket: &[u8]) -> Option<(u64, f64)> {
    let (rest, bound) = bucket.split_last_chunk()?;
    let [BUCKET_COUNT, digits @ .., last, BUCKET_BOUND] = rest else {
        return None;
    };
    if *last >= 0x80 || digits.len() > 8 {
        return None;
    }
    let mut count = 0;
    let mut shift = 0;
    for digit in digits {
        if *digit < 0x80 {
            return None;
        }
        count |= u64::from(digit & 0x7f) << shift;
        shift += 7;
    }
    Some((count | u64::from(*last) << shift, f64::from_le_bytes(*bound)))
}

/// The value with which a gauge, a counter or an untyped metric begins, and the fields behind it.
#[inline]
pub(super) fn scalar(body: &[u8], range: Range<usize>) -> (Option<f64>, Range<usize>) {
    match body.get(range.clone()).and_then(|metric| metric.split_first_chunk::<9>()) {
        Some(([SCALAR_VALUE, value @ ..], _)) => (Some(f64::from_le_bytes(*value)), range.start + 9..range.end),
        _ => (None, range),
    }
}

#[cfg(test)]
mod tests;
