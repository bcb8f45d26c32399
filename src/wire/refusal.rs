//! Refusals of messages: the app, the fault and its position, and if the connection can continue.

use std::fmt;

use crate::model::{AppNameError, Format, MAX_APP_NAME_BYTES};

/// A refused message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {}{fault}", AppPrefix(.app.as_deref()))]
pub struct Refusal {
    /// The name of the app as the sender wrote it, if known: truncated to [`MAX_APP_NAME_BYTES`], with invalid UTF-8 replaced.
    pub app: Option<Box<str>>,
    /// The position in the stream.
    pub position: Position,
    /// The fault at this position.
    pub fault: Fault,
}

/// A position in the bytes of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Bytes from the start of the connection.
    pub offset: u64,
    /// Line and column (in bytes), both from 1, in formats that have lines.
    pub line: Option<(u64, u64)>,
}

/// Fault of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The framing or the syntax is broken, so the start of the next message is unknown.
    #[error("{0}")]
    Syntax(String),
    /// A well-framed Cap'n Proto message that is not an [`super::Inbound`].
    #[error("not an InboundMetrics message: {0}")]
    Content(String),
    /// The message is larger than `max_message_bytes`.
    #[error("the message is too large: {} (receiver.max_message_bytes is {limit})", DeclaredSize(*.declared))]
    TooLarge {
        /// The size that its header declares, in bytes, in formats that have headers.
        declared: Option<u64>,
        /// The limit in bytes.
        limit: u64,
    },
    /// One JSON object has more than [`super::MAX_APPS_PER_OBJECT`] keys.
    #[error("the object has more than {} apps: send several objects", super::MAX_APPS_PER_OBJECT)]
    TooManyApps,
    /// The connection ended inside a message.
    #[error("the connection ended inside a message, of which {received}{} bytes arrived", OfExpected(*.expected))]
    Truncated {
        /// Received bytes of the message.
        received: u64,
        /// Bytes of the complete message, if its header contains the size.
        expected: Option<u64>,
    },
    /// The app name is invalid.
    #[error("bad app name: {0}")]
    AppName(#[from] AppNameError),
    /// A JSON value that is not metrics.
    #[error("metrics must be a string or an array of strings, not {0}")]
    Value(JsonType),
    /// Text that is not UTF-8 (including a lone surrogate in JSON).
    #[error("{part} is not UTF-8 (byte {at} of its text)")]
    Utf8 {
        /// The faulty text.
        part: MessagePart,
        /// Number of valid bytes of the decoded text.
        at: usize,
    },
    /// The format differs from the configured one.
    #[error("this is {}, and receiver.format takes only {}", name(*.found), name(*.wanted))]
    WrongFormat {
        /// The configured format.
        wanted: Format,
        /// The detected format.
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
    /// A refusal without known app.
    pub(super) fn without_app(position: Position, fault: impl Into<Fault>) -> Self {
        Self {
            app: None,
            position,
            fault: fault.into(),
        }
    }

    /// A refusal of the app with this name.
    pub(super) fn of_app(name: &[u8], position: Position, fault: impl Into<Fault>) -> Self {
        let shown = String::from_utf8_lossy(&name[..name.len().min(MAX_APP_NAME_BYTES)]);
        Self {
            app: Some(shown.into()),
            position,
            fault: fault.into(),
        }
    }

    /// The `reason` label of `exporter_proxy_rejected_total`; stable.
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

    /// Returns true if nothing more can be read from this connection. Otherwise only this app or message is lost.
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

/// Prints `app "x": `, or nothing if the app is unknown.
struct AppPrefix<'a>(Option<&'a str>);

impl fmt::Display for AppPrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |app| write!(f, "app {app:?}: "))
    }
}

/// Prints `123 bytes` if the size is known.
struct DeclaredSize(Option<u64>);

impl fmt::Display for DeclaredSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{bytes} bytes"),
            None => f.write_str("it does not end within the limit"),
        }
    }
}

/// Prints ` of 123` if the size is known.
struct OfExpected(Option<u64>);

impl fmt::Display for OfExpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |total| write!(f, " of {total}"))
    }
}

#[cfg(test)]
mod tests;
