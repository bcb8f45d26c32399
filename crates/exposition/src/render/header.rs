//! The header lines of a family.

use bytes::Bytes;

use super::OutputFormat;
use super::sample::quoted;
use super::slice_writer::SliceWriter;
use crate::escape::{self, escaped_metric_name};
use crate::family::MetricType;
use crate::negotiate::Escaping;
use crate::syntax::Syntax;

/// HELP, TYPE and UNIT of a rendered family.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    /// The family's name in the output syntax, escaped as inside quotes.
    pub(crate) name: Box<[u8]>,
    /// Its type, one that the output syntax has.
    pub(crate) kind: MetricType,
    /// Its help.
    pub(crate) help: Option<Help>,
    /// Its unit, rendered in OpenMetrics if the name ends with it.
    pub(crate) unit: Option<Bytes>,
}

/// The text of a HELP line, escaped as in its syntax.
#[derive(Debug, Clone)]
pub(crate) struct Help {
    /// The text.
    pub(crate) text: Bytes,
    /// Its syntax.
    pub(crate) syntax: Syntax,
}

impl Header {
    /// Approximate rendered size in bytes.
    pub(super) fn size(&self) -> usize {
        let help = self.help.as_ref().map_or(0, |help| help.text.len() + self.name.len() + 10);
        help + self.name.len() + 24
    }

    /// Copies the parts that are not slices of `text`.
    pub(super) fn detach(&mut self, text: &Bytes) {
        let range = text.as_ptr_range();
        let words = self.help.as_mut().map(|help| &mut help.text).into_iter().chain(&mut self.unit);
        for foreign in words.filter(|it| !range.contains(&it.as_ptr())) {
            *foreign = Bytes::copy_from_slice(foreign);
        }
    }

    pub(super) fn write(&self, to: OutputFormat, out: &mut SliceWriter<'_>) {
        let name = self.escaped_name(to.escaping);
        if let Some(help) = &self.help {
            out.write(b"# HELP ");
            out.write(&name);
            out.write(b" ");
            help.write(to.syntax, out);
            out.write(b"\n");
        }
        // In the text format a family without TYPE line is untyped.
        if to.syntax == Syntax::OpenMetrics || self.kind != MetricType::Unknown {
            out.write(b"# TYPE ");
            out.write(&name);
            out.write(b" ");
            out.write(self.kind.word(to.syntax).unwrap_or("unknown").as_bytes());
            out.write(b"\n");
        }
        if let Some(unit) = self
            .unit
            .as_ref()
            .filter(|unit| to.syntax == Syntax::OpenMetrics && self.takes_unit(unit))
        {
            out.write(b"# UNIT ");
            out.write(&name);
            out.write(b" ");
            out.write(unit);
            out.write(b"\n");
        }
    }

    fn escaped_name(&self, escaping: Escaping) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.name.len() + 2);
        match escaping {
            Escaping::AllowUtf8 if !escape::is_legacy_metric_name(&self.name) => quoted(&self.name, &mut name),
            Escaping::AllowUtf8 => name.extend_from_slice(&self.name),
            Escaping::Underscores => name.extend_from_slice(&escaped_metric_name(&self.name)),
        }
        name
    }

    fn takes_unit(&self, unit: &[u8]) -> bool {
        let ends_name = self
            .name
            .strip_suffix(unit)
            .is_some_and(|rest| rest.ends_with(b"_") && rest.len() > 1);
        ends_name && !matches!(self.kind, MetricType::Info | MetricType::StateSet) && escape::is_legacy_metric_name(&self.name)
    }
}

impl Help {
    /// Quotes are escaped in OpenMetrics and are not in the text format.
    fn write(&self, to: Syntax, out: &mut SliceWriter<'_>) {
        match (self.syntax, to) {
            (Syntax::Text, Syntax::OpenMetrics) if self.text.contains(&b'"') => {
                let out = out.buffer();
                for &byte in &self.text {
                    if byte == b'"' {
                        out.push(b'\\');
                    }
                    out.push(byte);
                }
            }
            (Syntax::OpenMetrics, Syntax::Text) if self.text.contains(&b'"') => {
                let (out, mut bytes) = (out.buffer(), self.text.iter().copied().peekable());
                while let Some(byte) = bytes.next() {
                    match (byte, bytes.peek()) {
                        (b'\\', Some(b'"')) => {}
                        (b'\\', Some(&next)) => {
                            out.extend_from_slice(&[byte, next]);
                            bytes.next();
                        }
                        _ => out.push(byte),
                    }
                }
            }
            _ => out.write(&self.text),
        }
    }
}
