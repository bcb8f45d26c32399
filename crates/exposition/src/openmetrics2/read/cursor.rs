//! Reading of the parts of a line.

use std::borrow::Cow;

use super::LineFault;
use crate::escape::{is_legacy_label_name, is_legacy_metric_name, unescaped_bytes};
use crate::parse;
use crate::timestamps::exact;

/// A place in a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineCursor<'a> {
    line: &'a [u8],
    at: usize,
}

/// A label, unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadLabel<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) value: Cow<'a, [u8]>,
}

impl<'a> LineCursor<'a> {
    pub(super) const fn new(line: &'a [u8], at: usize) -> Self {
        Self { line, at }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.line[self.at..]
    }

    pub(super) fn is_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    pub(super) fn fail<T>(&self, reason: impl Into<Cow<'static, str>>) -> Result<T, LineFault> {
        Err((self.at, reason.into()))
    }

    /// Takes these bytes if they are the next ones.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let is_next = self.rest().starts_with(bytes);
        self.at += if is_next { bytes.len() } else { 0 };
        is_next
    }

    pub(super) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), LineFault> {
        if self.take(&[byte]) {
            return Ok(());
        }
        self.fail(format!("expected {what}"))
    }

    /// The bytes up to one of these.
    pub(super) fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let len = rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// The bytes up to the next space.
    pub(super) fn word(&mut self) -> &'a [u8] {
        self.until(|byte| byte == b' ')
    }

    /// Text in quotes, unescaped.
    pub(super) fn quoted(&mut self) -> Result<Cow<'a, [u8]>, LineFault> {
        self.expect(b'"', "a quote")?;
        let start = self.at;
        loop {
            self.until(|byte| matches!(byte, b'"' | b'\\'));
            match self.peek() {
                Some(b'"') => break,
                Some(_) if self.at + 1 < self.line.len() => self.at += 2,
                _ => return Err((start - 1, "a quote without its end".into())),
            }
        }
        let text = &self.line[start..self.at];
        self.at += 1;
        Ok(unescaped_bytes(text))
    }

    fn metric_name(&mut self) -> Result<Cow<'a, [u8]>, LineFault> {
        let start = self.at;
        let name = self.until(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')));
        if is_legacy_metric_name(name) {
            return Ok(name.into());
        }
        Err((
            start,
            "expected a metric name; other characters than a-zA-Z0-9_: need quotes".into(),
        ))
    }

    fn quoted_name(&mut self) -> Result<Cow<'a, [u8]>, LineFault> {
        let start = self.at;
        let name = self.quoted()?;
        if name.is_empty() {
            return Err((start, "an empty name".into()));
        }
        Ok(name)
    }

    /// The name in a line of metadata.
    pub(super) fn header_name(&mut self) -> Result<Cow<'a, [u8]>, LineFault> {
        if self.peek() == Some(b'"') {
            self.quoted_name()
        } else {
            self.metric_name()
        }
    }

    /// The name and the labels of a sample, up to the space behind them.
    pub(super) fn series(&mut self) -> Result<(Cow<'a, [u8]>, Vec<ReadLabel<'a>>), LineFault> {
        if !self.take(b"{") {
            let name = self.metric_name()?;
            let labels = if self.take(b"{") { self.labels()? } else { Vec::new() };
            self.expect(b' ', "a space and a value")?;
            return Ok((name, labels));
        }
        let name = self.quoted_name()?;
        if self.peek() == Some(b'=') {
            return self.fail("expected the metric name in quotes before the labels");
        }
        let labels = if self.take(b",") {
            self.labels()?
        } else {
            self.expect(b'}', "a comma or a closing brace")?;
            Vec::new()
        };
        self.expect(b' ', "a space and a value")?;
        Ok((name, labels))
    }

    /// Labels behind an opening brace, up to the closing one.
    pub(super) fn labels(&mut self) -> Result<Vec<ReadLabel<'a>>, LineFault> {
        let mut labels: Vec<ReadLabel<'a>> = Vec::new();
        if self.take(b"}") {
            return Ok(labels);
        }
        loop {
            let start = self.at;
            let name = if self.peek() == Some(b'"') {
                self.quoted_name()?
            } else {
                let name = self.until(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_'));
                if !is_legacy_label_name(name) {
                    return Err((start, "expected a label name; other characters than a-zA-Z0-9_ need quotes".into()));
                }
                name.into()
            };
            self.expect(b'=', "an equals sign behind the label name")?;
            let value = self.quoted()?;
            labels.push(ReadLabel { name, value });
            if self.take(b"}") {
                break;
            }
            self.expect(b',', "a comma or a closing brace")?;
        }
        let mut names: Vec<&[u8]> = labels.iter().map(|label| &*label.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let name = String::from_utf8_lossy(pair[0]).into_owned();
            return self.fail(format!("the label {name} stands twice"));
        }
        Ok(labels)
    }

    /// The number in a word, which begins at `start`.
    pub(super) fn number_of(word: &[u8], start: usize) -> Result<f64, LineFault> {
        parse::whole_float(word).ok_or((start, "expected a number".into()))
    }

    /// A number up to the next space.
    pub(super) fn number(&mut self) -> Result<f64, LineFault> {
        let start = self.at;
        Self::number_of(self.word(), start)
    }

    /// A time in seconds, in nanoseconds.
    pub(super) fn time(&mut self) -> Result<i128, LineFault> {
        let start = self.at;
        let word = self.word();
        let seconds = Self::number_of(word, start).map_err(|(at, _)| (at, "expected a time in seconds".into()))?;
        // The years 1 to 9999, which timestamps of protobuf have.
        if !(-62_135_596_800.0..253_402_300_800.0).contains(&seconds) {
            return Err((start, "a time beyond the years 1 to 9999".into()));
        }
        #[expect(clippy::cast_possible_truncation, reason = "a time, in nanoseconds far below 128 bits")]
        let rounded = (seconds * 1e9).round() as i128;
        Ok(exact::<9>(word).unwrap_or(rounded))
    }
}
