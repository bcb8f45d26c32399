//! One sample line, spelt anew.

use std::borrow::Cow;
use std::io::Write;

use super::Variant;
use crate::exposition::negotiate::Escaping;
use crate::exposition::{Labels, Sample, escape, label_hash, name_hash};
use crate::model::Syntax;

/// A label that every sample gets which lacks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addition {
    /// Its name, as escaped inside quotes.
    pub(crate) name: Box<[u8]>,
    /// Its value, as escaped inside quotes.
    pub(crate) value: Box<[u8]>,
}

impl Addition {
    /// From a name and a value as a person writes them.
    pub(crate) fn new(name: &str, value: &str) -> Self {
        Self { name: escaped(name).into(), value: escaped(value).into() }
    }

    /// Whether a sample with these labels already has it. A label with an empty value is none.
    pub(crate) fn lacking_in(&self, labels: &Labels<'_>) -> bool {
        !labels.clone().any(|label| *label.name == *self.name && !label.value.is_empty())
    }
}

fn escaped(text: &str) -> Vec<u8> {
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

/// What the characters of a name are, whose `\\`, `\"` and `\n` stand for one each.
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

/// A metric name by the underscores rule, from one that is escaped as inside quotes.
pub(crate) fn underscored_metric(name: &[u8]) -> Cow<'_, [u8]> {
    if escape::is_legacy_metric_name(name) { name.into() } else { escape::metric_name(&unescaped(name)).into_owned().into_bytes().into() }
}

/// A label name by the underscores rule, from one that is escaped as inside quotes.
pub(crate) fn underscored_label(name: &[u8]) -> Cow<'_, [u8]> {
    if escape::is_legacy_label_name(name) { name.into() } else { escape::label_name(&unescaped(name)).into_owned().into_bytes().into() }
}

/// How the samples of one family of one application are to be spelt.
pub(super) struct Spelling<'a> {
    /// The syntax that they came in.
    pub(super) from: Syntax,
    /// What they go out in.
    pub(super) to: Variant,
    /// Labels for those that lack them.
    pub(super) additions: &'a [Addition],
    /// The label whose value OpenMetrics wants as a float in a certain spelling, if the sample bears it.
    pub(super) canonical: Option<&'static [u8]>,
    /// Whether exemplars may go out.
    pub(super) exemplars: bool,
}

impl Spelling<'_> {
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
            Escaping::Underscores => underscored_metric(name),
        }
    }

    fn labels(&self, sample: &Sample<'_>, braces: &mut Braces, out: &mut Vec<u8>) {
        for (at, label) in sample.labels.clone().enumerate() {
            let replaced = label.value.is_empty() && self.additions.iter().any(|it| *it.name == *label.name);
            if replaced || self.repeats(sample, at, label.name) {
                continue;
            }
            braces.next(out);
            self.label_name(label.name, out);
            out.extend_from_slice(b"=\"");
            match self.canonical {
                Some(name) if name == label.name => canonical_float(label.value, out),
                _ => out.extend_from_slice(label.value),
            }
            out.push(b'"');
        }
        for addition in self.additions.iter().filter(|it| it.lacking_in(&sample.labels)) {
            braces.next(out);
            self.label_name(&addition.name, out);
            out.extend_from_slice(b"=\"");
            out.extend_from_slice(&addition.value);
            out.push(b'"');
        }
    }

    /// Whether escaping makes this label's name the same as an earlier one's; then the earlier one stands.
    fn repeats(&self, sample: &Sample<'_>, at: usize, name: &[u8]) -> bool {
        if self.to.escaping == Escaping::AllowUtf8 || at == 0 {
            return false;
        }
        let name = underscored_label(name);
        let mut earlier = sample.labels.clone().take(at);
        let quoted = matches!(name, Cow::Owned(_)) || earlier.clone().any(|label| label.quoted);
        quoted && earlier.any(|label| underscored_label(label.name) == name)
    }

    fn label_name(&self, name: &[u8], out: &mut Vec<u8>) {
        match self.to.escaping {
            Escaping::AllowUtf8 if !escape::is_legacy_label_name(name) => quoted(name, out),
            Escaping::AllowUtf8 => out.extend_from_slice(name),
            Escaping::Underscores => out.extend_from_slice(&underscored_label(name)),
        }
    }

    fn timestamp(&self, timestamp: &[u8], out: &mut Vec<u8>) {
        match (self.from, self.to.syntax) {
            (Syntax::Text, Syntax::OpenMetrics) => seconds_of_millis(timestamp, out),
            (Syntax::OpenMetrics, Syntax::Text) => millis_of_seconds(timestamp, out),
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
            out.extend_from_slice(b"=\"");
            out.extend_from_slice(label.value);
            out.push(b'"');
        }
        out.extend_from_slice(b"} ");
        out.extend_from_slice(exemplar.value);
        if let Some(timestamp) = exemplar.timestamp {
            out.push(b' ');
            out.extend_from_slice(timestamp);
        }
    }
}

/// The identity that a sample has once its names are escaped by the underscores rule.
pub(super) fn underscored_hash(sample: &Sample<'_>) -> u64 {
    let labels = sample.labels.clone().map(|label| label_hash(&underscored_label(label.name), label.value));
    labels.fold(name_hash(&underscored_metric(sample.name)), u64::wrapping_add)
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

/// Writes a name that is escaped already in quotes.
pub(super) fn quoted(name: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name);
    out.push(b'"');
}

/// Writes the value of a `le` or `quantile` as OpenMetrics wants it: `1` as `1.0`, infinity as `+Inf`. Other spellings stay.
fn canonical_float(value: &[u8], out: &mut Vec<u8>) {
    let digits = value.strip_prefix(b"-").or_else(|| value.strip_prefix(b"+")).unwrap_or(value);
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        out.extend_from_slice(value.strip_prefix(b"+").unwrap_or(value));
        out.extend_from_slice(b".0");
    } else if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
        out.extend_from_slice(if value.starts_with(b"-") { b"-Inf" } else { b"+Inf" });
    } else {
        out.extend_from_slice(value);
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

/// `1.234` becomes `1234`; digits beyond the millisecond are cut off, as the text format has no room for them.
fn millis_of_seconds(seconds: &[u8], out: &mut Vec<u8>) {
    if let Some(millis) = exact_millis(seconds) {
        // Writing to memory cannot fail.
        let _ = write!(out, "{millis}");
        return;
    }
    let float: f64 = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    #[allow(clippy::cast_possible_truncation, reason = "saturates, and a time beyond 64 bits of milliseconds is no time")]
    let millis = (float * 1000.0).round() as i64;
    let _ = write!(out, "{millis}");
}

/// The milliseconds of a plain decimal number without exponent.
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(by: fn(&[u8], &mut Vec<u8>), input: &str) -> String {
        let mut out = Vec::new();
        by(input.as_bytes(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn timestamps_change_their_unit() {
        for (millis, seconds) in [("1234", "1.234"), ("1000", "1"), ("5", "0.005"), ("0", "0"), ("-1500", "-1.5"), ("120", "0.12")] {
            assert_eq!(written(seconds_of_millis, millis), seconds);
            assert_eq!(written(millis_of_seconds, seconds), millis);
        }
        assert_eq!(written(millis_of_seconds, "1.0005"), "1000");
        assert_eq!(written(millis_of_seconds, "1.5e3"), "1500000");
        assert_eq!(written(millis_of_seconds, ".5"), "500");
        assert_eq!(written(millis_of_seconds, "1e300"), i64::MAX.to_string());
    }

    #[test]
    fn bounds_are_floats() {
        for (value, canonical) in
            [("1", "1.0"), ("+5", "5.0"), ("Inf", "+Inf"), ("+inf", "+Inf"), ("-Inf", "-Inf"), ("0.5", "0.5"), ("1e3", "1e3"), ("-2", "-2.0")]
        {
            assert_eq!(written(canonical_float, value), canonical);
        }
    }

    proptest! {
        #[test]
        fn millis_survive_the_way_to_seconds_and_back(millis in any::<i32>()) {
            let millis = millis.to_string();
            prop_assert_eq!(written(millis_of_seconds, &written(seconds_of_millis, &millis)), millis);
        }
    }
}
