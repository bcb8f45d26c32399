//! Formatting of sample lines.

use std::borrow::Cow;
use std::io::Write;

use super::OutputFormat;
use crate::negotiate::Escaping;
use crate::{Label, Labels, Sample, Syntax, escape};

/// A label that is added to samples that lack it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtraLabel {
    /// Its name, escaped as inside quotes.
    pub(crate) name: Box<[u8]>,
    /// Its name, escaped by the underscores scheme.
    pub(crate) legacy_name: Box<[u8]>,
    /// Its value, escaped as inside quotes.
    pub(crate) value: Box<[u8]>,
}

impl ExtraLabel {
    /// Creates the label from an unescaped name and value.
    pub(crate) fn new(name: &str, value: &str) -> Self {
        Self {
            name: quote_escaped(name).into(),
            legacy_name: escape::label_name(name).as_bytes().into(),
            value: quote_escaped(value).into(),
        }
    }

    /// Returns true if a sample with these labels lacks it. An empty label counts as missing, and one with the same escaped name as present.
    pub(crate) fn missing_in(&self, labels: &Labels<'_>) -> bool {
        !labels.clone().any(|label| !label.value.is_empty() && self.has_name_of(&label))
    }

    fn has_name_of(&self, label: &Label<'_>) -> bool {
        *label.name == *self.legacy_name || label.quoted && *escaped_label_name(label.name) == *self.legacy_name
    }
}

fn quote_escaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
    out
}

/// Replaces the escapes `\\`, `\"` and `\n` in a name by their characters.
fn unescaped(name: &[u8]) -> String {
    let mut bytes = name.iter();
    let mut out = Vec::with_capacity(name.len());
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(&other) => other,
                None => b'\\',
            },
            other => other,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Escapes a metric name, given as inside quotes, by the underscores scheme.
pub(crate) fn escaped_metric_name(name: &[u8]) -> Cow<'_, [u8]> {
    if escape::is_legacy_metric_name(name) {
        name.into()
    } else {
        escape::metric_name(&unescaped(name)).into_owned().into_bytes().into()
    }
}

/// Escapes a label name, given as inside quotes, by the underscores scheme.
pub(crate) fn escaped_label_name(name: &[u8]) -> Cow<'_, [u8]> {
    if escape::is_legacy_label_name(name) {
        name.into()
    } else {
        escape::label_name(&unescaped(name)).into_owned().into_bytes().into()
    }
}

/// The labels under their names escaped by the underscores scheme: without empty ones, and of several with the same escaped name only the
/// first. `quoted` is true if some name of the family is quoted; otherwise escaping changes nothing.
pub(crate) fn legacy_labels<'a>(labels: &Labels<'a>, quoted: bool) -> impl Iterator<Item = (Cow<'a, [u8]>, Label<'a>)> {
    let all = labels.clone();
    labels
        .clone()
        .filter(|label| !label.value.is_empty())
        .enumerate()
        .filter_map(move |(at, label)| {
            if !quoted {
                return Some((Cow::Borrowed(label.name), label));
            }
            let name = escaped_label_name(label.name);
            let mut earlier = all.clone().filter(|label| !label.value.is_empty()).take(at);
            (!earlier.any(|it| escaped_label_name(it.name) == name)).then_some((name, label))
        })
}

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
            for (name, label) in legacy_labels(&sample.labels, true) {
                self.label(&name, &label, braces, out);
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
        for (at, label) in exemplar.labels.clone().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.label_name(label.name, out);
            value(label.value, out);
        }
        out.extend_from_slice(b"} ");
        out.extend_from_slice(exemplar.value);
        if let Some(timestamp) = exemplar.timestamp {
            out.push(b' ');
            out.extend_from_slice(timestamp);
        }
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

/// `1234` becomes `1.234`.
fn seconds_of_millis(millis: &[u8], out: &mut Vec<u8>) {
    let (sign, digits) = match millis {
        [b'-', digits @ ..] => (&b"-"[..], digits),
        [b'+', digits @ ..] => (&b""[..], digits),
        digits => (&b""[..], digits),
    };
    out.extend_from_slice(sign);
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

/// `1.234` becomes `1234`; digits beyond the millisecond are truncated, because the text format has none.
fn write_millis_of_seconds(seconds: &[u8], out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{}", millis_of_seconds(seconds));
}

/// Converts a timestamp in seconds to milliseconds.
pub(crate) fn millis_of_seconds(seconds: &[u8]) -> i64 {
    if let Some(millis) = exact_millis(seconds) {
        return millis;
    }
    let float: f64 = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "saturates, and a time beyond 64 bits of milliseconds is no time"
    )]
    let millis = (float * 1000.0).round() as i64;
    millis
}

/// Exact milliseconds of a decimal number without exponent.
fn exact_millis(seconds: &[u8]) -> Option<i64> {
    let (negative, digits) = match seconds {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let dot = memchr::memchr(b'.', digits).unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..dot], digits.get(dot + 1..).unwrap_or_default());
    if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let padded = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(3);
    let mut millis = 0_i64;
    for digit in whole.iter().copied().chain(padded) {
        millis = millis.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(if negative { -millis } else { millis })
}

#[cfg(test)]
mod tests;
