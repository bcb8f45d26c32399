//! The labels of metrics. Most metrics begin with labels of the metric before, which are written once.

use std::ops::Range;

use super::Decoder;
use crate::byte_scan::common_prefix;
use crate::escape::is_legacy_label_name;
use crate::protobuf::error::DecodeErrorKind;
use crate::protobuf::field::metric;
use crate::protobuf::text::{LabelHead, slice};
use crate::protobuf::text_index::IndexBuilder;
use crate::protobuf::wire::{Fault, Fields};
use crate::protobuf::{plain, records};

/// The name of a label, which needs no quotes.
pub(super) struct LabelName {
    name: Range<usize>,
    hash: u64,
    text: LabelHead,
}

/// A label at the beginning of a metric, with the labels before it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LeadingLabel {
    /// The end of its field, from the beginning of the metric.
    end: usize,
    /// The length of the labels as text.
    text: usize,
    /// The sum of the hashes.
    hash: u64,
}

/// The labels of a metric so far.
#[derive(Default)]
pub(super) struct LabelsSoFar {
    pub(super) count: usize,
    /// The sum of their hashes.
    pub(super) hash: u64,
}

impl<'a> Decoder<'a> {
    /// Begins a metric with the labels that come first in it. Those with which the metric before begins as well are written already.
    pub(super) fn leading_labels(&mut self, fields: &mut Fields<'a>) -> Result<LabelsSoFar, Fault> {
        if !self.index.is_plain() {
            self.out.begin_metric(0);
            return Ok(LabelsSoFar::default());
        }
        let body = self.body;
        let start = fields.at();
        let same = common_prefix(&body[self.leading_place.clone()], fields.rest());
        let count = self.leading.iter().take_while(|label| label.end <= same).count();
        self.leading.truncate(count);
        let last = self.leading.last().copied().unwrap_or_default();
        self.out.begin_metric(last.text);
        fields.skip(last.end);
        let mut labels = LabelsSoFar { count, hash: last.hash };
        while let Some(range) = fields.message_of(metric::LABEL)? {
            match self.known_value(labels.count, &range) {
                Some(value) => self.put_known(value, &mut labels),
                None => {
                    let (name, value) = self.label(range)?;
                    self.put_label(name, value, &mut labels);
                }
            }
            self.leading.push(LeadingLabel {
                end: fields.at() - start,
                text: self.out.labels_len(),
                hash: labels.hash,
            });
        }
        self.leading_place = start..fields.at();
        Ok(labels)
    }

    /// The value of a label that has the name of the label at this position in the metric before, if its message has the form that
    /// encoders write: the name, the value.
    #[inline]
    fn known_value(&self, at: usize, label: &Range<usize>) -> Option<Range<usize>> {
        let name = &self.body[self.label_names.get(at)?.name.clone()];
        let value = plain::value_of_label(slice(self.body, label), name)?;
        Some(label.end - value.len()..label.end)
    }

    /// Writes a label with the name of the label at its position in the metric before, and adds its hash.
    #[inline]
    fn put_known(&mut self, value: Range<usize>, so_far: &mut LabelsSoFar) {
        let Some(known) = self.label_names.get(so_far.count) else { return };
        so_far.count += 1;
        let escaped = self.out.known_label(&known.text, self.body, value);
        so_far.hash = so_far.hash.wrapping_add(self.seed.label_value(known.hash, escaped));
    }

    /// Writes a label of the metric, and adds its hash.
    pub(super) fn put_label(&mut self, name: Range<usize>, value: Range<usize>, so_far: &mut LabelsSoFar) {
        let body = self.body;
        let at = so_far.count;
        if self.index.is_plain()
            && self
                .label_names
                .get(at)
                .is_none_or(|known| body[known.name.clone()] != body[name.clone()])
        {
            self.new_label_name(at, name.clone());
        }
        if self.index.is_plain() {
            self.put_known(value, so_far);
        } else {
            let name = &body[name];
            self.out.label(name, &body[value]);
        }
    }

    /// Keeps the name of a label that the metric before had not at this position. The names that are kept are always ones that a
    /// metric of the family can have together, and but for those of bounds one of any family.
    fn new_label_name(&mut self, at: usize, name: Range<usize>) {
        let body = self.body;
        let text = &body[name.clone()];
        self.label_names.truncate(at);
        let is_twice = self.label_names.iter().any(|known| body[known.name.clone()] == *text);
        if is_twice || !is_legacy_label_name(text) || self.index.is_special_label(text) || !IndexBuilder::has_room(at) {
            return self.index.give_up();
        }
        self.has_bound_label |= IndexBuilder::is_bound(text);
        let hash = self.seed.label_name(text);
        let head = LabelHead::new(text, at == 0);
        self.label_names.push(LabelName { name, hash, text: head });
    }

    /// The name and the value of a label.
    #[inline]
    pub(super) fn label(&self, range: Range<usize>) -> Result<(Range<usize>, Range<usize>), Fault> {
        let start = range.start;
        let (name, value) = records::read_label(self.body, range)?;
        if name.is_empty() {
            return Err((start, DecodeErrorKind::NoLabelName));
        }
        Ok((name, value))
    }
}
