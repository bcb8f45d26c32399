//! Formatting of sample lines.

use std::borrow::Cow;
use std::io::Write;

use super::OutputFormat;
use crate::escape::{self, escaped_label_name, escaped_metric_name};
use crate::identity::{ExtraLabel, exposed_labels, legacy_labels};
use crate::negotiate::Escaping;
use crate::sample::{Exemplar, Label, Sample};
use crate::syntax::Syntax;
use crate::timestamps::millis_of_seconds;

/// Formatter for the samples of one family of one application.
pub(super) struct SampleFormatter<'a> {
    /// The input syntax.
    pub(super) from: Syntax,
    /// The output format.
    pub(super) to: OutputFormat,
    /// True if some name is quoted.
    pub(super) quoted: bool,
    /// Labels for samples that lack them.
    pub(super) extra_labels: &'a [ExtraLabel],
    /// The label with a value that OpenMetrics requires as a canonical float.
    pub(super) canonical: Option<&'static [u8]>,
    /// True if exemplars are written.
    pub(super) exemplars: bool,
}

impl SampleFormatter<'_> {
    /// Writes a sample and a newline.
    pub(super) fn write(&self, sample: &Sample<'_>, out: &mut Vec<u8>) {
        let mut braces = Braces { opened: false };
        let name = self.metric(sample.name);
        if escape::is_legacy_metric_name(&name) {
            out.extend_from_slice(&name);
        } else {
            braces.next(out);
            quoted(&name, out);
        }
        self.labels(sample, &mut braces, out);
        braces.close(out);
        out.push(b' ');
        out.extend_from_slice(sample.value);
        if let Some(timestamp) = sample.timestamp {
            out.push(b' ');
            self.timestamp(timestamp, out);
        }
        if self.exemplars {
            self.exemplar(sample, out);
        }
        out.push(b'\n');
    }

    fn metric<'n>(&self, name: &'n [u8]) -> Cow<'n, [u8]> {
        match self.to.escaping {
            Escaping::AllowUtf8 => name.into(),
            Escaping::Underscores => escaped_metric_name(name),
        }
    }

    fn labels(&self, sample: &Sample<'_>, braces: &mut Braces, out: &mut Vec<u8>) {
        if self.to.escaping == Escaping::Underscores && self.quoted {
            for (name, label) in &exposed_labels(&sample.labels, self.extra_labels) {
                self.label(name, label, braces, out);
            }
        } else {
            let replaced = |label: &Label<'_>| label.value.is_empty() && self.extra_labels.iter().any(|it| it.has_name_of(label));
            for label in sample.labels.clone().filter(|label| !replaced(label)) {
                self.label(label.name, &label, braces, out);
            }
        }
        for extra_label in self.extra_labels.iter().filter(|it| it.missing_in(&sample.labels)) {
            braces.next(out);
            self.label_name(&extra_label.name, out);
            value(&extra_label.value, out);
        }
    }

    fn label(&self, name: &[u8], label: &Label<'_>, braces: &mut Braces, out: &mut Vec<u8>) {
        braces.next(out);
        self.label_name(name, out);
        match self.canonical {
            Some(bound) if bound == label.name => value(&canonical_float(label.value), out),
            _ => value(label.value, out),
        }
    }

    fn label_name(&self, name: &[u8], out: &mut Vec<u8>) {
        match self.to.escaping {
            Escaping::AllowUtf8 if !escape::is_legacy_label_name(name) => quoted(name, out),
            Escaping::AllowUtf8 => out.extend_from_slice(name),
            Escaping::Underscores => out.extend_from_slice(&escaped_label_name(name)),
        }
    }

    fn timestamp(&self, timestamp: &[u8], out: &mut Vec<u8>) {
        match (self.from, self.to.syntax) {
            (Syntax::Text, Syntax::OpenMetrics) => seconds_of_millis(timestamp, out),
            (Syntax::OpenMetrics, Syntax::Text) => write_millis_of_seconds(timestamp, out),
            (Syntax::Text, Syntax::Text) | (Syntax::OpenMetrics, Syntax::OpenMetrics) => out.extend_from_slice(timestamp),
        }
    }

    fn exemplar(&self, sample: &Sample<'_>, out: &mut Vec<u8>) {
        let Some(exemplar) = &sample.exemplar else { return };
        out.extend_from_slice(b" # {");
        let mut separator: &[u8] = b"";
        for_each_exemplar_label(exemplar, self.to.escaping, |name, label| {
            out.extend_from_slice(std::mem::replace(&mut separator, b","));
            self.label_name(name, out);
            value(label.value, out);
        });
        out.extend_from_slice(b"} ");
        out.extend_from_slice(exemplar.value);
        if let Some(timestamp) = exemplar.timestamp {
            out.push(b' ');
            out.extend_from_slice(timestamp);
        }
    }
}

/// Calls `each` with each label of an exemplar that is written, and its name, escaped as inside quotes: of labels that have the same name once
/// escaped with the first, because strict parsers refuse a name that occurs twice.
pub(super) fn for_each_exemplar_label(exemplar: &Exemplar<'_>, escaping: Escaping, mut each: impl FnMut(&[u8], &Label<'_>)) {
    let labels = &exemplar.labels;
    if escaping == Escaping::Underscores && labels.clone().any(|label| label.quoted) {
        legacy_labels(labels, true).for_each(|(name, label)| each(&name, &label));
    } else {
        labels.clone().for_each(|label| each(label.name, &label));
    }
}

/// Writes the braces and commas around labels, and no braces where there are none.
struct Braces {
    opened: bool,
}

impl Braces {
    fn next(&mut self, out: &mut Vec<u8>) {
        out.push(if self.opened { b',' } else { b'{' });
        self.opened = true;
    }

    fn close(&self, out: &mut Vec<u8>) {
        if self.opened {
            out.push(b'}');
        }
    }
}

/// Writes escaped text in quotes.
pub(super) fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Writes `=` and the escaped value of a label in quotes.
fn value(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'=');
    quoted(value, out);
}

/// Canonical form of a `le` or `quantile` in OpenMetrics: `1` as `1.0`, infinity as `+Inf`. Other numbers are unchanged.
fn canonical_float(value: &[u8]) -> Cow<'_, [u8]> {
    let digits = value.strip_prefix(b"-").or_else(|| value.strip_prefix(b"+")).unwrap_or(value);
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        [value.strip_prefix(b"+").unwrap_or(value), b".0"].concat().into()
    } else if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
        Cow::Borrowed(if value.starts_with(b"-") { b"-Inf" } else { b"+Inf" })
    } else {
        value.into()
    }
}

/// `1234` becomes `1.234`. The timestamps of the text format are digits.
fn seconds_of_millis(digits: &[u8], out: &mut Vec<u8>) {
    let split = digits.len().saturating_sub(3);
    let (seconds, rest) = digits.split_at(split);
    out.extend_from_slice(if seconds.is_empty() { b"0" } else { seconds });
    if rest.iter().any(|&digit| digit != b'0') {
        out.push(b'.');
        out.extend_from_slice(&b"000"[rest.len()..]);
        let end = rest.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
        out.extend_from_slice(&rest[..end]);
    }
}

/// `1.234` becomes `1234`. The timestamp is not negative. Digits beyond the millisecond are truncated, because the text format has none.
fn write_millis_of_seconds(seconds: &[u8], out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{}", millis_of_seconds(seconds));
}

#[cfg(test)]
mod tests;
