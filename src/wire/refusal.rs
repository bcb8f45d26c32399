//! What is wrong with what came in: who, what and where, and whether the connection can go on.

use std::fmt;

use crate::model::{AppNameError, Format, MAX_APP_NAME_BYTES};

/// Something that a sender said and that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {}{fault}", AppPrefix(.app.as_deref()))]
pub struct Refusal {
    /// The app that it is about, as the sender wrote it (cut at [`MAX_APP_NAME_BYTES`], undecodable bytes replaced), where that is known.
    pub app: Option<Box<str>>,
    /// Where in the stream.
    pub position: Position,
    /// What is wrong there.
    pub fault: Fault,
}

/// A place in what one connection sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Bytes from the start of the connection.
    pub offset: u64,
    /// Line and column (in bytes), both from 1, in formats that have lines.
    pub line: Option<(u64, u64)>,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The framing or the syntax is broken, so that nobody can tell where the next message begins.
    #[error("{0}")]
    Syntax(String),
    /// A Cap'n Proto message that ends where it says, but holds no [`super::Inbound`].
    #[error("not an InboundMetrics message: {0}")]
    Content(String),
    /// The message is larger than `max_message_bytes`.
    #[error("the message is too large: {}, max_message_bytes is {limit}", DeclaredSize(*.declared))]
    TooLarge {
        /// The size that its header declares, in bytes, in formats that have headers.
        declared: Option<u64>,
        /// The limit that it breaks, in bytes.
        limit: u64,
    },
    /// One JSON object has more than [`super::MAX_APPS_PER_OBJECT`] keys.
    #[error("the object has more than {} apps: send several objects", super::MAX_APPS_PER_OBJECT)]
    TooManyApps,
    /// The connection ended inside a message.
    #[error("the connection ended inside a message, of which {received}{} bytes arrived", OfExpected(*.expected))]
    Truncated {
        /// Bytes of the message that were there.
        received: u64,
        /// Bytes that there should have been, where the header told.
        expected: Option<u64>,
    },
    /// The app has no name that could be kept.
    #[error("bad app name: {0}")]
    AppName(#[from] AppNameError),
    /// A JSON value that is no metrics.
    #[error("metrics are a string or an array of strings, this is {0}")]
    Value(JsonType),
    /// Text that is no UTF-8 (a lone surrogate in JSON included).
    #[error("{part} is not UTF-8 (byte {at} of its text)")]
    Utf8 {
        /// Which text.
        part: MessagePart,
        /// How many bytes of the decoded text are good.
        at: usize,
    },
    /// The other format came than the one that the receiver is set to.
    #[error("this is {}, and receiver.format takes only {}", name(*.found), name(*.wanted))]
    WrongFormat {
        /// What the receiver is set to.
        wanted: Format,
        /// What the first bytes look like.
        found: Format,
    },
}

/// A part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessagePart {
    /// The name of the app.
    AppName,
    /// The exposition text.
    Data,
}

/// A JSON value found where a text is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    /// An integer or a fraction.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// `{...}`.
    Object,
    /// `[...]` inside an array of lines.
    Array,
}

impl Refusal {
    /// A refusal of which no app is known.
    pub(super) fn without_app(position: Position, fault: impl Into<Fault>) -> Self {
        Self {
            app: None,
            position,
            fault: fault.into(),
        }
    }

    /// A refusal that is about the app of this name.
    pub(super) fn of_app(name: &[u8], position: Position, fault: impl Into<Fault>) -> Self {
        let shown = String::from_utf8_lossy(&name[..name.len().min(MAX_APP_NAME_BYTES)]);
        Self {
            app: Some(shown.into()),
            position,
            fault: fault.into(),
        }
    }

    /// The stable, short word for it: the `reason` label of `exporter_proxy_rejected_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.fault {
            Fault::Syntax(_) | Fault::Content(_) => "malformed",
            Fault::TooLarge { .. } | Fault::TooManyApps => "too_large",
            Fault::Truncated { .. } => "truncated",
            Fault::AppName(_) => "bad_app_name",
            Fault::Value(_) => "bad_value",
            Fault::Utf8 { .. } => "bad_utf8",
            Fault::WrongFormat { .. } => "wrong_format",
        }
    }

    /// Whether nothing more can be read from this connection. Otherwise only the one app or message is lost.
    #[must_use]
    pub const fn ends_connection(&self) -> bool {
        match self.fault {
            Fault::Syntax(_) | Fault::TooLarge { .. } | Fault::TooManyApps | Fault::Truncated { .. } | Fault::WrongFormat { .. } => true,
            Fault::Content(_) | Fault::AppName(_) | Fault::Value(_) | Fault::Utf8 { .. } => false,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some((line, column)) => write!(f, "line {line}, column {column} (byte {})", self.offset),
            None => write!(f, "byte {}", self.offset),
        }
    }
}

impl fmt::Display for MessagePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppName => "the app name",
            Self::Data => "the data",
        })
    }
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
            Self::Object => "an object",
            Self::Array => "an array inside the array",
        })
    }
}

/// The name of a receiver's format in a sentence.
const fn name(format: Format) -> &'static str {
    match format {
        Format::Json => "JSON",
        Format::Capnp => "Cap'n Proto",
        other => other.as_str(),
    }
}

/// `app "x": `, or nothing where the app is unknown.
struct AppPrefix<'a>(Option<&'a str>);

impl fmt::Display for AppPrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |app| write!(f, "app {app:?}: "))
    }
}

/// `123 bytes` where that is known.
struct DeclaredSize(Option<u64>);

impl fmt::Display for DeclaredSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{bytes} bytes"),
            None => f.write_str("it does not end within the limit"),
        }
    }
}

/// ` of 123` where that is known.
struct OfExpected(Option<u64>);

impl fmt::Display for OfExpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |total| write!(f, " of {total}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_what_and_where() {
        let position = Position {
            offset: 12,
            line: Some((2, 5)),
        };
        let refusal = Refusal::of_app(b"web\n", position, Fault::Value(JsonType::Number));
        assert_eq!(
            refusal.to_string(),
            r#"line 2, column 5 (byte 12): app "web\n": metrics are a string or an array of strings, this is a number"#
        );
        let refusal = Refusal::without_app(
            Position { offset: 8, line: None },
            Fault::TooLarge {
                declared: Some(99),
                limit: 10,
            },
        );
        assert_eq!(
            refusal.to_string(),
            "byte 8: the message is too large: 99 bytes, max_message_bytes is 10"
        );
        let refusal = Refusal::without_app(
            Position::default(),
            Fault::Truncated {
                received: 3,
                expected: Some(9),
            },
        );
        assert_eq!(
            refusal.to_string(),
            "byte 0: the connection ended inside a message, of which 3 of 9 bytes arrived"
        );
        let refusal = Refusal::without_app(
            Position::default(),
            Fault::WrongFormat {
                wanted: Format::Capnp,
                found: Format::Json,
            },
        );
        assert_eq!(
            refusal.to_string(),
            "byte 0: this is JSON, and receiver.format takes only Cap'n Proto"
        );
    }

    #[test]
    fn endless_names_are_cut_wherever_that_falls() {
        let refusal = Refusal::of_app("ä".repeat(1_000).as_bytes(), Position::default(), AppNameError::TooLong(2_000));
        assert!(
            refusal
                .app
                .as_ref()
                .is_some_and(|app| app.starts_with("ää") && app.len() <= MAX_APP_NAME_BYTES + 3)
        );
        assert_eq!((refusal.reason(), refusal.ends_connection()), ("bad_app_name", false));
    }
}
