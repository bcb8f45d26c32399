//! Why a line is of no use, or of little: small values while reading, sentences for the few that are kept.

use std::borrow::Cow;

use super::family::Suffix;
use super::span::Span;

/// What is wrong with a place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    // What costs a line.
    /// No metric name can start here.
    NameStart(u8),
    /// This byte cannot stand in a metric name, or follow it.
    NameByte(u8),
    /// No label name can start here.
    LabelStart(u8),
    /// This byte stands where `=` belongs.
    NoEquals(u8),
    /// This byte stands where the opening quote of a label value belongs.
    NoQuote(u8),
    /// A quoted string goes on beyond the line.
    OpenString,
    /// A backslash before something that needs none.
    Escape(u8),
    /// This byte stands where a comma or the closing brace belongs.
    NoComma(u8),
    /// The braces are not closed.
    OpenBraces,
    /// Not UTF-8.
    Encoding,
    /// A NUL in a name, or in an exemplar.
    Nul,
    /// A name in quotes with nothing in them.
    EmptyName,
    /// A quoted string without value that is not the first in the braces.
    NameNotFirst,
    /// The label name `__name__`.
    NameLabel,
    /// The same label name twice.
    TwiceLabel(Span),
    /// More labels than anybody reads.
    ManyLabels,
    /// No value.
    NoValue,
    /// This is no number.
    Value(Span),
    /// This is no timestamp.
    Timestamp(Span),
    /// Something after the end of a sample.
    Trailing,
    /// A comment after the end of a sample.
    TrailingComment,
    /// An exemplar in the text format.
    ExemplarInText,
    /// An exemplar that cannot be read.
    Exemplar,
    /// A `le` or `quantile` that is no number.
    Bound(&'static str, Span),
    /// The same series once more; the first stands here.
    Duplicate(u32),
    /// A label's name starts with two underscores.
    ReservedLabel,
    /// A HELP, TYPE or UNIT line with a bad name.
    HeaderName,
    /// A TYPE line without type.
    NoType,
    /// A type that this format does not know.
    UnknownType(Span),
    /// A second header line of this sort.
    Second(&'static str),
    /// A TYPE line after samples.
    LateType,
    /// A header for a name that belongs to another family.
    Claimed(&'static str, Suffix, Span),
    /// A type whose sample names are taken by another family.
    Taken(Suffix, Span),
    /// A unit that is not the end of the name.
    Unit,
    /// A unit where none may be.
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

    // What costs nothing here, but would elsewhere.
    /// A byte order mark.
    Mark,
    /// Carriage returns before the newlines.
    CarriageReturn,
    /// Blanks before a sample.
    LeadingWhitespace,
    /// Blanks after a sample.
    TrailingWhitespace,
    /// A TYPE line with blanks where Prometheus wants one.
    TypeWhitespace,
    /// A header without name.
    NoHeaderName,
    /// A line that Prometheus takes for a comment.
    HashWithoutSpace,
    /// No newline at the end.
    NoNewline,
    /// The samples of a family are not together.
    Interleaved(Span),
    /// OpenMetrics allows no such blanks, commas, comments.
    Formatting(&'static str),
    /// A header after samples, in OpenMetrics.
    LateHeader(&'static str),
    /// An exemplar that OpenMetrics does not allow there.
    ExemplarPlace,
    /// The samples of a family break a rule of OpenMetrics.
    InvalidOpenMetrics(&'static str, Span),

    // What promtool would rather have otherwise.
    /// Advice about a family.
    Lint(&'static str, Span),
}

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Some parser refuses the text because of it, or a sample is lost.
    Error,
    /// It works, but somebody may be sorry.
    Warning,
}

impl Reason {
    pub(super) const fn severity(self) -> Severity {
        match self {
            Self::HashWithoutSpace | Self::ReservedLabel | Self::Lint(..) => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// The sentence for a person. `line_of` tells the line of a byte.
    pub(super) fn message(self, body: &[u8], line_of: impl Fn(u32) -> u32) -> Cow<'static, str> {
        let text = |span: Span| shown(span.of(body));
        match self {
            Self::NameStart(byte) => format!("{} cannot start a metric name", one(byte)).into(),
            Self::NameByte(byte) => format!("{} cannot stand in a metric name, nor follow one", one(byte)).into(),
            Self::LabelStart(byte) => format!("{} cannot start a label name", one(byte)).into(),
            Self::NoEquals(byte) => format!("expected = after the label name, found {}", one(byte)).into(),
            Self::NoQuote(byte) => format!("expected a quote before the label value, found {}", one(byte)).into(),
            Self::Escape(b'\n') => "backslash at the end of the line".into(),
            Self::Escape(byte) => format!("\\ before {} is no escape sequence; a backslash is written \\\\", one(byte)).into(),
            Self::NoComma(byte) => format!("expected , or }} after the label value, found {}", one(byte)).into(),
            Self::TwiceLabel(name) => format!("label {} occurs twice", text(name)).into(),
            Self::Value(span) => format!("{} is not a number", text(span)).into(),
            Self::Timestamp(span) => format!("{} is not a timestamp", text(span)).into(),
            Self::Bound(label, span) => format!("the value of label {label} must be a number, not {}", text(span)).into(),
            Self::ReservedLabel => "label names that start with __ are reserved in OpenMetrics".into(),
            Self::Duplicate(first) => format!("the same series stands on line {} already", line_of(first)).into(),
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
                format!("{base} cannot have this type, because {name} is a metric of its own already").into()
            }
            Self::Interleaved(family) => format!("the samples of {} are not all together: some stand further up", text(family)).into(),
            Self::LateHeader(what) => format!("{what} line after samples of the same metric").into(),
            Self::Formatting(what) => what.into(),
            Self::Lint(what, family) | Self::InvalidOpenMetrics(what, family) => format!("{}: {what}", text(family)).into(),
            plain => plain.fixed_message().into(),
        }
    }

    /// The sentences that name nothing.
    const fn fixed_message(self) -> &'static str {
        match self {
            Self::OpenString => "quoted text is not closed by a quote on this line",
            Self::OpenBraces => "labels are not closed by a brace on this line",
            Self::Encoding => "not UTF-8",
            Self::Nul => "a NUL, which no name and no exemplar may hold",
            Self::EmptyName => "the name in the quotes is empty",
            Self::NameNotFirst => "quoted text without a value; the metric name stands once, before the braces or first in them",
            Self::NameLabel => "label name __name__ is reserved",
            Self::ManyLabels => "too many labels",
            Self::NoValue => "the value is missing",
            Self::Trailing => "nothing may follow the timestamp",
            Self::TrailingComment => "a comment needs a line of its own",
            Self::ExemplarInText => "the text format has no exemplars; they need OpenMetrics",
            Self::Exemplar => "the exemplar cannot be read: expected # {labels} value, perhaps a timestamp",
            Self::HeaderName => "no metric name here that can be read",
            Self::NoType => "the type is missing",
            Self::LateType => "TYPE line after samples of the same metric",
            Self::Unit => "the unit must be the end of the metric name, after an underscore",
            Self::NoUnit => "metrics of this type have no unit",
            Self::AfterEof => "text after # EOF",
            Self::NoEof => "no # EOF at the end: the text may be cut off",
            Self::TooLong => "longer than 4 GiB",
            Self::NoSample => "the text has no sample, and this comment is no HELP, TYPE, UNIT or EOF line",
            Self::Joined => "the text has no sample, and a header inside another line: were its lines joined?",
            Self::Mark => "starts with a byte order mark, which Prometheus refuses",
            Self::CarriageReturn => "lines end in CR LF, which Prometheus refuses",
            Self::LeadingWhitespace => "blanks before the metric name, which Prometheus takes for a part of it",
            Self::TrailingWhitespace => "blanks after the sample, which strict parsers refuse",
            Self::TypeWhitespace => "more than one blank before the type, or one after it, which Prometheus refuses",
            Self::NoHeaderName => "the metric name is missing, and Prometheus refuses that",
            Self::HashWithoutSpace => "no blank after #: Prometheus takes this line for a comment",
            Self::NoNewline => "no newline at the end, which strict parsers refuse",
            Self::ExemplarPlace => "an exemplar may stand only on counters' totals and on buckets, with at most 128 characters of labels",
            _ => "cannot be read",
        }
    }
}

fn span_of(span: Span, body: &[u8]) -> &[u8] {
    span.of(body)
}

fn text_with(name: &[u8], suffix: Suffix) -> String {
    shown(&[name, suffix.as_str().as_bytes()].concat())
}

/// A type word that is not known, with advice where somebody was close.
fn unknown_type(word: &[u8]) -> String {
    let lower = word.to_ascii_lowercase();
    match &lower[..] {
        b"counter" | b"gauge" | b"histogram" | b"summary" => format!("type {} must be written in lower case", shown(word)),
        b"untyped" => "OpenMetrics calls untyped metrics unknown".to_owned(),
        b"unknown" => "the text format calls unknown metrics untyped".to_owned(),
        b"info" | b"stateset" | b"gaugehistogram" => format!("type {} needs OpenMetrics", shown(word)),
        _ => format!("type {} is not known", shown(word)),
    }
}

/// How many characters of a foreign text a reason shows.
const SHOWN_CHARS: usize = 60;

/// Foreign text, fit for a log line: escaped, in quotes, short.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_CHARS * 4)]);
    let short: String = text.chars().take(SHOWN_CHARS).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("“{}{dots}”", short.escape_debug())
}

/// One byte for a person.
fn one(byte: u8) -> String {
    match byte {
        b'\n' => "the end of the line".to_owned(),
        b' '..=b'~' => format!("“{}”", char::from(byte)),
        0x80.. => "a character beyond ASCII".to_owned(),
        _ => format!("the control character {byte:#04x}"),
    }
}
