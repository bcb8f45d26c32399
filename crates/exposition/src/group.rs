//! Texts of groups, as Pushgateway stores them: every sample carries the labels of its group, and a family can be replaced by itself.

use crate::app_name::AppName;
use crate::catalog::{Catalog, Rules, Selection, Update};
use crate::escape::{is_legacy_label_name, is_legacy_metric_name, quote_escaped, unescaped};
use crate::family::{Family, MetricType};
use crate::go_float::go_float;
use crate::index::Exposition;
use crate::negotiate::Escaping;
use crate::render::OutputFormat;
use crate::sample::Sample;
use crate::syntax::Syntax;

/// The label that every sample of a group has, if only with an empty value: otherwise Prometheus would add its own.
const INSTANCE: &[u8] = b"instance";

/// The labels of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLabels {
    /// As they are written: name, in quotes where it needs them, and value.
    labels: Vec<Vec<u8>>,
    /// The names, escaped as inside quotes and sorted: a group may have ten thousand labels, and a sample a million.
    names: Vec<Vec<u8>>,
    has_instance: bool,
}

/// The timestamps of samples when a family is written into a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamps {
    /// They are left out.
    Strip,
    /// They are written as they are.
    Keep,
}

/// The spelling of the bounds of buckets and of quantiles when a family is written into a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// As they are.
    AsWritten,
    /// As Go programs write them in the text format, `1` and not `1.0`: for families that came as numbers.
    Go,
}

impl GroupLabels {
    /// Takes names and values, unescaped; names are unique.
    #[must_use]
    pub fn new<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let label = |(name, value): (&str, &str)| {
            let name = quote_escaped(name);
            let mut text = Vec::with_capacity(name.len() + value.len() + 5);
            if is_legacy_label_name(&name) {
                text.extend_from_slice(&name);
            } else {
                quoted(&name, &mut text);
            }
            text.push(b'=');
            quoted(&quote_escaped(value), &mut text);
            (text, name)
        };
        let (labels, mut names): (Vec<_>, Vec<_>) = labels.into_iter().map(label).unzip();
        names.sort_unstable();
        let has_instance = names.iter().any(|name| name == INSTANCE);
        Self {
            labels,
            names,
            has_instance,
        }
    }

    /// The bytes that a sample grows by at most.
    #[must_use]
    pub fn added_bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(|label| label.len() + 1).sum();
        labels + "{instance=\"\"}".len()
    }

    /// Writes a family of a text, in the syntax of that: its headers, and its samples with the labels of the group in place of their own of
    /// the same names. A sample without the label `instance` gets it, empty.
    pub fn write_family(&self, text: &Exposition, family: &Family, timestamps: Timestamps, bounds: Bounds, out: &mut Vec<u8>) {
        write_header(text, family, out);
        let respelled: &[u8] = match (bounds, family.kind) {
            (Bounds::Go, MetricType::Histogram | MetricType::GaugeHistogram) => b"le",
            (Bounds::Go, MetricType::Summary) => b"quantile",
            _ => b"",
        };
        for sample in text.samples(family) {
            self.write_sample(&sample, timestamps, respelled, out);
        }
    }

    /// Writes a gauge of the group, which is the same in both syntaxes: its headers and its only sample.
    pub fn write_gauge(&self, name: &str, help: &str, value: &str, out: &mut Vec<u8>) {
        let sample = format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name}");
        out.extend_from_slice(sample.as_bytes());
        self.write_labels(&Sample::bare(name.as_bytes()), b"", out);
        out.push(b' ');
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    }

    fn write_sample(&self, sample: &Sample<'_>, timestamps: Timestamps, respelled: &[u8], out: &mut Vec<u8>) {
        if is_legacy_metric_name(sample.name) {
            out.extend_from_slice(sample.name);
        }
        self.write_labels(sample, respelled, out);
        out.push(b' ');
        out.extend_from_slice(sample.value);
        if let Some(timestamp) = sample.timestamp.filter(|_| timestamps == Timestamps::Keep) {
            out.push(b' ');
            out.extend_from_slice(timestamp);
        }
        if let Some(exemplar) = &sample.exemplar {
            out.extend_from_slice(b" # {");
            out.extend_from_slice(exemplar.labels.text());
            out.extend_from_slice(b"} ");
            out.extend_from_slice(exemplar.value);
            if let Some(timestamp) = exemplar.timestamp {
                out.push(b' ');
                out.extend_from_slice(timestamp);
            }
        }
        out.push(b'\n');
    }

    /// Writes the labels; that of the name `respelled` has a number.
    fn write_labels(&self, sample: &Sample<'_>, respelled: &[u8], out: &mut Vec<u8>) {
        let mut separator = b'{';
        let mut next = |out: &mut Vec<u8>| out.push(std::mem::replace(&mut separator, b','));
        if !is_legacy_metric_name(sample.name) {
            next(out);
            quoted(sample.name, out);
        }
        let mut has_instance = self.has_instance;
        for label in sample.labels.clone() {
            if self.names.binary_search_by(|own| own.as_slice().cmp(label.name)).is_ok() {
                continue;
            }
            has_instance |= label.name == INSTANCE;
            next(out);
            if is_legacy_label_name(label.name) {
                out.extend_from_slice(label.name);
            } else {
                quoted(label.name, out);
            }
            out.push(b'=');
            let number = || std::str::from_utf8(label.value).ok()?.parse().ok();
            match (label.name == respelled).then(number).flatten() {
                Some(number) => quoted(go_float(number).as_bytes(), out),
                None => quoted(label.value, out),
            }
        }
        for label in &self.labels {
            next(out);
            out.extend_from_slice(label);
        }
        if !has_instance {
            next(out);
            out.extend_from_slice(b"instance=\"\"");
        }
        out.push(b'}');
    }
}

/// Copies a family of a text, headers and samples.
pub fn copy_family(text: &Exposition, family: &Family, out: &mut Vec<u8>) {
    write_header(text, family, out);
    for run in text.runs(family) {
        out.extend_from_slice(run);
        out.push(b'\n');
    }
}

/// The text in the text format of Prometheus, with names in UTF-8. Exemplars and units, which that format lacks, are left out.
#[must_use]
pub fn as_text(text: &std::sync::Arc<Exposition>) -> Vec<u8> {
    let mut catalog = Catalog::new(Rules::default());
    let app = AppName::new("group").expect("a short word is a name");
    catalog.update(Update::new(
        catalog.rules(),
        &app,
        &std::sync::Arc::default(),
        std::sync::Arc::clone(text),
    ));
    let format = OutputFormat {
        syntax: Syntax::Text,
        escaping: Escaping::AllowUtf8,
        protobuf: false,
    };
    let rendered = catalog.plan(format, Selection::Everything).render();
    let chunks = rendered.chunks().iter().cloned().chain(rendered.tail(None));
    chunks.flat_map(|chunk| chunk.text().concat()).collect()
}

/// The characters of a name or value that is given as inside quotes.
#[must_use]
pub fn unescape(text: &[u8]) -> String {
    unescaped(text)
}

/// HELP, TYPE and UNIT. A family without a type has no TYPE line.
fn write_header(text: &Exposition, family: &Family, out: &mut Vec<u8>) {
    let name = text.text(family.name);
    let mut line = |word: &[u8], rest: &[u8]| {
        out.extend_from_slice(word);
        if is_legacy_metric_name(name) {
            out.extend_from_slice(name);
        } else {
            quoted(name, out);
        }
        out.push(b' ');
        out.extend_from_slice(rest);
        out.push(b'\n');
    };
    if let Some(help) = family.help() {
        line(b"# HELP ", text.text(help));
    }
    if let Some(word) = family.kind.word(text.syntax()).filter(|_| family.kind != MetricType::Unknown) {
        line(b"# TYPE ", word.as_bytes());
    }
    if let Some(unit) = family.unit() {
        line(b"# UNIT ", text.text(unit));
    }
}

fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
