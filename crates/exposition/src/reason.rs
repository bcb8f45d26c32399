//! Reasons of problems: small values while a text is parsed, messages for the few that are kept.

use std::borrow::Cow;

use crate::family::Suffix;
use crate::span::Span;

/// Reason of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    // Reasons to skip a line.
    /// No metric name can start here.
    NameStart(u8),
    /// This byte is not allowed in a metric name or after it.
    NameByte(u8),
    /// No label name can start here.
    LabelStart(u8),
    /// This byte instead of `=`.
    NoEquals(u8),
    /// This byte instead of the opening quote of a label value.
    NoQuote(u8),
    /// A quoted string without closing quote on its line.
    OpenString,
    /// A backslash before a character that is not escaped.
    Escape(u8),
    /// This byte instead of a comma or the closing brace.
    NoComma(u8),
    /// The braces are not closed.
    OpenBraces,
    /// Not UTF-8.
    Encoding,
    /// A NUL in a name, or in an exemplar.
    Nul,
    /// An empty quoted name.
    EmptyName,
    /// A quoted string without value that is not the first in the braces.
    NameNotFirst,
    /// The label name `__name__`.
    NameLabel,
    /// A quoted label name that becomes `__name__` by the underscores scheme.
    EscapedNameLabel,
    /// The same label name twice.
    TwiceLabel(Span),
    /// More labels than the limit.
    ManyLabels,
    /// No value.
    NoValue,
    /// A value that is not a number.
    Value(Span),
    /// A timestamp that is not a number.
    Timestamp(Span),
    /// Something after the end of a sample.
    Trailing,
    /// A comment after the end of a sample.
    TrailingComment,
    /// An exemplar in the text format.
    ExemplarInText,
    /// An exemplar that cannot be read.
    Exemplar,
    /// A `le` or `quantile` that is not a number.
    Bound(&'static str, Span),
    /// A duplicate series; the offset of the first.
    Duplicate(u32),
    /// A label's name starts with two underscores.
    ReservedLabel,
    /// A HELP, TYPE or UNIT line with a bad name.
    HeaderName,
    /// A TYPE line without type.
    NoType,
    /// A type that this format does not know.
    UnknownType(Span),
    /// A second header line of this kind.
    Second(&'static str),
    /// A TYPE line after samples.
    LateType,
    /// A header for a name that belongs to another family.
    Claimed(&'static str, Suffix, Span),
    /// A type with sample names that belong to another family.
    Taken(Suffix, Span),
    /// A unit that is not the end of the name.
    Unit,
    /// A unit of more than 65,535 bytes, the most that [`Family`](crate::family::Family) has room for.
    LongUnit,
    /// A unit on a type that has none.
    NoUnit,
    /// Text after `# EOF`.
    AfterEof,
    /// No `# EOF`.
    NoEof,
    /// More than 4 GiB.
    TooLong,
    /// A comment of no known form, and no sample anywhere.
    NoSample,
    /// A header inside another line, and no sample anywhere.
    Joined,

    // Accepted here, refused by other parsers.
    /// A byte order mark.
    Mark,
    /// Carriage returns before the newlines.
    CarriageReturn,
    /// Whitespace before a sample.
    LeadingWhitespace,
    /// Whitespace after a sample.
    TrailingWhitespace,
    /// A TYPE line with more whitespace than Prometheus accepts.
    TypeWhitespace,
    /// A header without name.
    NoHeaderName,
    /// A line that Prometheus takes for a comment.
    HashWithoutSpace,
    /// No newline at the end.
    NoNewline,
    /// The samples of a family are not together.
    Interleaved(Span),
    /// Whitespace, commas or comments that OpenMetrics does not allow.
    Formatting(&'static str),
    /// A header after samples, in OpenMetrics.
    LateHeader(&'static str),
    /// An exemplar that OpenMetrics does not allow there.
    ExemplarPlace,
    /// The samples of a family break a rule of OpenMetrics.
    InvalidOpenMetrics(&'static str, Span),

    // Warnings of promtool.
    /// Advice about a family.
    Lint(&'static str, Span),
}

/// Severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Some parser refuses the text, or a sample is lost.
    Error,
    /// Accepted everywhere, but discouraged.
    Warning,
}

impl Reason {
    pub(super) const fn severity(self) -> Severity {
        match self {
            Self::HashWithoutSpace | Self::ReservedLabel | Self::Lint(..) => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// The message for a user. `line_of` returns the line of a byte offset.
    pub(super) fn message(self, body: &[u8], line_of: impl Fn(u32) -> u32) -> Cow<'static, str> {
        let text = |span: Span| quote(span.of(body));
        match self {
            Self::NameStart(byte) => format!("{} cannot start a metric name", one(byte)).into(),
            Self::NameByte(byte) => format!("unexpected {} after the metric name", one(byte)).into(),
            Self::LabelStart(byte) => format!("{} cannot start a label name", one(byte)).into(),
            Self::NoEquals(byte) => format!("expected = after the label name, found {}", one(byte)).into(),
            Self::NoQuote(byte) => format!("expected a quote before the label value, found {}", one(byte)).into(),
            Self::Escape(b'\n') => "backslash at the end of the line".into(),
            Self::Escape(byte) => format!("\\ before {} is not an escape sequence; write a backslash as \\\\", one(byte)).into(),
            Self::NoComma(byte) => format!("expected , or }} after the label value, found {}", one(byte)).into(),
            Self::TwiceLabel(name) => format!("label {} occurs twice", text(name)).into(),
            Self::Value(span) => format!("{} is not a number", text(span)).into(),
            Self::Timestamp(span) => format!("{} is not a timestamp", text(span)).into(),
            Self::Bound(label, span) => format!("the value of label {label} must be a number, not {}", text(span)).into(),
            Self::ReservedLabel => "label names that start with __ are reserved in OpenMetrics".into(),
            Self::Duplicate(first) => format!("duplicate series, first on line {}", line_of(first)).into(),
            Self::UnknownType(span) => unknown_type(span.of(body)).into(),
            Self::Second(what) => format!("second {what} line for the same metric").into(),
            Self::Claimed(what, suffix, family) => format!(
                "{what} line for {}, which belongs to the metric {}",
                text_with(span_of(family, body), suffix),
                text(family)
            )
            .into(),
            Self::Taken(suffix, family) => {
                let (name, base) = (text_with(span_of(family, body), suffix), text(family));
                format!("{base} cannot have this type, because {name} is already a metric of its own").into()
            }
            Self::Interleaved(family) => format!("the samples of {} are not contiguous: some are further up", text(family)).into(),
            Self::LateHeader(what) => format!("{what} line after samples of the same metric").into(),
            Self::Formatting(what) => what.into(),
            Self::Lint(what, family) | Self::InvalidOpenMetrics(what, family) => format!("{}: {what}", text(family)).into(),
            plain => plain.fixed_message().into(),
        }
    }

    /// The messages without arguments.
    const fn fixed_message(self) -> &'static str {
        match self {
            Self::OpenString => "missing closing quote",
            Self::OpenBraces => "missing closing brace",
            Self::Encoding => "not UTF-8",
            Self::Nul => "a NUL is not allowed in names and exemplars",
            Self::EmptyName => "the name in the quotes is empty",
            Self::NameNotFirst => "quoted text without a value; the metric name must be before the braces or first in them",
            Self::NameLabel => "the label name __name__ is reserved",
            Self::EscapedNameLabel => "the label name becomes __name__ for scrapers that take no UTF-8, and that is reserved",
            Self::ManyLabels => "too many labels",
            Self::NoValue => "the value is missing",
            Self::Trailing => "unexpected text after the timestamp",
            Self::TrailingComment => "unexpected text after the value (comments need their own line)",
            Self::ExemplarInText => "the text format has no exemplars (use OpenMetrics)",
            Self::Exemplar => "unreadable exemplar: expected # {labels} value [timestamp]",
            Self::HeaderName => "expected a metric name",
            Self::NoType => "the type is missing",
            Self::LateType => "TYPE line after samples of the same metric",
            Self::Unit => "the unit must be the end of the metric name, after an underscore",
            Self::LongUnit => "the unit has more than 65535 bytes",
            Self::NoUnit => "metrics of this type have no unit",
            Self::AfterEof => "text after # EOF",
            Self::NoEof => "no # EOF at the end: the text may be truncated",
            Self::TooLong => "longer than 4 GiB",
            Self::NoSample => "the text has no samples, and this comment is not a HELP, TYPE, UNIT or EOF line",
            Self::Joined => "the text has no samples, and a header inside another line: were its lines joined?",
            Self::Mark => "starts with a byte order mark, which Prometheus refuses",
            Self::CarriageReturn => "lines end in CR LF, which Prometheus refuses",
            Self::LeadingWhitespace => "whitespace before the metric name, which Prometheus takes as part of it",
            Self::TrailingWhitespace => "whitespace after the sample, which strict parsers refuse",
            Self::TypeWhitespace => "more than one space before the type, or one after it, which Prometheus refuses",
            Self::NoHeaderName => "the metric name is missing, which Prometheus refuses",
            Self::HashWithoutSpace => "no space after #: Prometheus takes this line as a comment",
            Self::NoNewline => "no newline at the end, which strict parsers refuse",
            Self::ExemplarPlace => "exemplars are allowed only on counters' totals and on buckets, with at most 128 characters of labels",
            _ => "cannot be read",
        }
    }
}

fn span_of(span: Span, body: &[u8]) -> &[u8] {
    span.of(body)
}

fn text_with(name: &[u8], suffix: Suffix) -> String {
    quote(&[name, suffix.as_str().as_bytes()].concat())
}

/// Message about an unknown type, with advice for likely mistakes.
fn unknown_type(word: &[u8]) -> String {
    let lower = word.to_ascii_lowercase();
    match &lower[..] {
        b"counter" | b"gauge" | b"histogram" | b"summary" => format!("type {} must be written in lower case", quote(word)),
        b"untyped" => "OpenMetrics calls untyped metrics unknown".to_owned(),
        b"unknown" => "the text format calls unknown metrics untyped".to_owned(),
        b"info" | b"stateset" | b"gaugehistogram" => format!("type {} needs OpenMetrics", quote(word)),
        _ => format!("unknown type {}", quote(word)),
    }
}

/// Characters of the sender's text that a message quotes.
const QUOTED_CHARS: usize = 60;

/// Quotes the sender's text for a log line: escaped and truncated.
fn quote(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(QUOTED_CHARS * 4)]);
    let short: String = text.chars().take(QUOTED_CHARS).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("\"{}{dots}\"", short.escape_debug())
}

/// Description of one byte.
fn one(byte: u8) -> String {
    match byte {
        b'\n' => "the end of the line".to_owned(),
        b' '..=b'~' => format!("\"{}\"", char::from(byte)),
        0x80.. => "a non-ASCII character".to_owned(),
        _ => format!("the control character {byte:#04x}"),
    }
}
