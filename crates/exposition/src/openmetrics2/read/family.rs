//! The lines of one family.

use std::borrow::Cow;

use super::cursor::{LineCursor, ReadLabel};
use super::metric::Tail;
use super::{LineFault, Written, composite, metric};
use crate::escape::{is_legacy_metric_name, unescaped_bytes};
use crate::family::{MetricType, Suffix, takes_unit};
use crate::protobuf::field::family;
use crate::protobuf::wire::{put_bytes, put_number, put_varint};
use crate::protobuf::{MessageType, put_escaped};
use crate::syntax::Syntax;

/// A family while its lines are read.
#[derive(Debug, Default)]
pub(super) struct Family {
    name: Box<[u8]>,
    kind: Option<MetricType>,
    help: Option<Box<[u8]>>,
    unit: Option<Box<[u8]>>,
    /// The metrics of its message, or lines of text.
    samples: Vec<u8>,
    /// The lines of these, by their offset in `samples`.
    lines: Vec<Written>,
    /// Its first line.
    line: u32,
}

impl Family {
    pub(super) fn new(name: &[u8], line: u32) -> Self {
        Self {
            name: name.into(),
            line,
            ..Self::default()
        }
    }

    pub(super) fn kind(&self) -> MetricType {
        self.kind.unwrap_or_default()
    }

    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        !self.name.is_empty() && *self.name == *name
    }

    /// True if a sample of this name would belong to the family in OpenMetrics 1.0, and the family has no samples of its own.
    pub(super) fn would_be_openmetrics_1(&self, sample: &[u8]) -> bool {
        let suffix = Suffix::between(&self.name, sample);
        let suffixes = self.kind.map_or(&[][..], |kind| kind.suffixes(Syntax::OpenMetrics));
        self.samples.is_empty() && suffix.is_some_and(|suffix| suffixes.contains(&suffix))
    }

    /// Reads a line of metadata behind the name.
    pub(super) fn header(&mut self, keyword: &[u8], mut cursor: LineCursor<'_>) -> Result<(), LineFault> {
        let at = cursor.at();
        if !self.samples.is_empty() {
            return Err((2, "metadata after samples of the same metric".into()));
        }
        let second = || Err((2, "a second line of this metadata for the same metric".into()));
        let rest = cursor.rest();
        match keyword {
            b"TYPE" if self.kind.is_some() => return second(),
            b"HELP" if self.help.is_some() => return second(),
            b"UNIT" if self.unit.is_some() => return second(),
            b"TYPE" => {
                let Some(kind) = MetricType::from_word(cursor.word(), Syntax::OpenMetrics).filter(|_| cursor.is_end()) else {
                    let known = "counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown";
                    return Err((at, format!("unknown type: expected {known}").into()));
                };
                if kind == MetricType::Info && self.base().is_empty() {
                    return Err((at, "the name of an info ends in _info".into()));
                }
                self.kind = Some(kind);
            }
            b"HELP" => self.help = Some(unescaped_bytes(rest).into()),
            _ => self.unit = Some(rest.into()),
        }
        let has_unit = self.unit.as_ref().is_some_and(|unit| !unit.is_empty());
        if has_unit && matches!(self.kind(), MetricType::Info | MetricType::StateSet) {
            self.unit = None;
            return Err((at, "an info or stateset has no unit".into()));
        }
        Ok(())
    }

    /// The name of an info in OpenMetrics 1.0; that of others.
    fn base(&self) -> &[u8] {
        match self.kind {
            Some(MetricType::StateSet) => &self.name,
            _ => self.name.strip_suffix(b"_info").unwrap_or_default(),
        }
    }

    /// Reads a sample behind its labels. Exemplars that are left out are added to `left_out`.
    pub(super) fn sample(
        &mut self,
        mut cursor: LineCursor<'_>,
        labels: &[ReadLabel<'_>],
        line: &[u8],
        number: u32,
        left_out: &mut Vec<LineFault>,
    ) -> Result<(), LineFault> {
        let written = Written::new(self.samples.len(), number);
        let (kind, value) = (self.kind(), cursor.at());
        if matches!(kind, MetricType::Histogram | MetricType::GaugeHistogram | MetricType::Summary) {
            let composite = composite::read(&mut cursor, kind)?;
            let reserved: &[u8] = composite.reserved_label();
            if labels.iter().any(|label| *label.name == *reserved) {
                let name = String::from_utf8_lossy(reserved).into_owned();
                return Err((0, format!("the label {name} belongs to the buckets or quantiles").into()));
            }
            let tail = Tail::read(&mut cursor, kind, left_out)?;
            let inside = composite.message(kind, &tail).map_err(|reason| (value, reason))?;
            metric::put(kind, labels, &inside, tail.millis, &mut self.samples);
        } else {
            if cursor.peek() == Some(b'{') {
                let why = "a composite value needs TYPE histogram, gaugehistogram or summary before it";
                return Err((value, why.into()));
            }
            let number = cursor.number()?;
            self.check_number(number, labels).map_err(|reason| (value, reason))?;
            let value_end = cursor.at();
            let tail = Tail::read(&mut cursor, kind, left_out)?;
            if matches!(kind, MetricType::Info | MetricType::StateSet) {
                // Up to the exemplars, this is a line of OpenMetrics 1.0.
                self.samples.extend_from_slice(&line[..tail.end.max(value_end)]);
                self.samples.push(b'\n');
            } else {
                let inside = tail.scalar(number, left_out);
                metric::put(kind, labels, &inside, tail.millis, &mut self.samples);
            }
        }
        self.lines.push(written);
        Ok(())
    }

    /// Checks the value of a family that has numbers.
    fn check_number(&self, value: f64, labels: &[ReadLabel<'_>]) -> Result<(), Cow<'static, str>> {
        let is_one_of = |values: &[f64]| values.iter().any(|it| it.to_bits() == value.to_bits());
        match self.kind() {
            // The comparison is false for NaN as well.
            MetricType::Counter if value >= 0.0 => Ok(()),
            MetricType::Counter => Err("a counter is a number from 0 on".into()),
            MetricType::Info if !is_one_of(&[1.0]) => Err("the value of an info is 1".into()),
            MetricType::StateSet if !is_one_of(&[0.0, 1.0]) => Err("the value of a state is 0 or 1".into()),
            MetricType::StateSet if !labels.iter().any(|label| *label.name == *self.name) => {
                Err("a sample of a stateset has its state in a label with the name of the metric".into())
            }
            _ => Ok(()),
        }
    }

    /// Writes it as lines of OpenMetrics 1.0.
    pub(super) fn put_text(self, out: &mut Vec<u8>, lines: &mut Vec<Written>) {
        if self.samples.is_empty() {
            return;
        }
        lines.push(Written::new(out.len(), self.line));
        let word = self.kind().word(Syntax::OpenMetrics).unwrap_or("unknown");
        let help = self.help.as_ref().filter(|help| !help.is_empty());
        let headers = [Some(("# TYPE ", word.as_bytes())), help.map(|help| ("# HELP ", &**help))];
        for (keyword, value) in headers.into_iter().flatten() {
            out.extend_from_slice(keyword.as_bytes());
            put_name(self.base(), out);
            out.push(b' ');
            put_escaped(value, out);
            out.push(b'\n');
        }
        let base = out.len();
        lines.extend(self.lines.iter().map(|line| Written::new(base + line.at as usize, line.line)));
        out.extend_from_slice(&self.samples);
    }

    /// Writes it as a message.
    pub(super) fn put_message(self, out: &mut Vec<u8>, lines: &mut Vec<Written>) {
        if self.samples.is_empty() {
            return;
        }
        let kind = match self.kind() {
            MetricType::Counter => MessageType::Counter,
            MetricType::Histogram => MessageType::Histogram,
            MetricType::GaugeHistogram => MessageType::GaugeHistogram,
            MetricType::Summary => MessageType::Summary,
            MetricType::Gauge | MetricType::Info | MetricType::StateSet => MessageType::Gauge,
            MetricType::Unknown => MessageType::Untyped,
        };
        let mut head = Vec::with_capacity(self.name.len() + 64);
        put_bytes(family::NAME, &self.name, &mut head);
        if let Some(help) = self.help.as_ref().filter(|help| !help.is_empty()) {
            put_bytes(family::HELP, help, &mut head);
        }
        put_number(family::TYPE, kind as u64, &mut head);
        // OpenMetrics 1.0 has no others.
        let unit = self.unit.as_ref().filter(|unit| takes_unit(&self.name, self.kind(), unit));
        if let Some(unit) = unit.filter(|unit| !unit.is_empty()) {
            put_bytes(family::UNIT, unit, &mut head);
        }
        lines.push(Written::new(out.len(), self.line));
        put_varint((head.len() + self.samples.len()) as u64, out);
        out.extend_from_slice(&head);
        let base = out.len();
        lines.extend(self.lines.iter().map(|line| Written::new(base + line.at as usize, line.line)));
        out.extend_from_slice(&self.samples);
    }
}

fn put_name(name: &[u8], out: &mut Vec<u8>) {
    if is_legacy_metric_name(name) {
        return out.extend_from_slice(name);
    }
    out.push(b'"');
    put_escaped(name, out);
    out.push(b'"');
}
