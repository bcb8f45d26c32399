//! One-shot events, which every scraper receives exactly once.

use std::fmt;
use std::sync::Arc;

/// Limit of labels per event. Prometheus stores every label of every series.
pub const MAX_EVENT_LABELS: usize = 64;

/// Limit of bytes for the label names and values of one event together. With the limit on pending events it bounds the memory that
/// producers can fill.
pub const MAX_EVENT_BYTES: usize = 8 * 1024;

/// The longest scraper identity in bytes: it is a label value and appears in tables.
pub const MAX_SCRAPER_ID_BYTES: usize = 255;

/// The longest idempotency key in bytes: a UUID has 36, and a table of them is kept in memory.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// Characters of a label name that an error quotes: enough to find it.
const MAX_NAME_CHARS_IN_ERROR: usize = 80;

/// The labels of an event, sorted by name, in one allocation in the form that all Prometheus text formats share: `a="x",b="y"`, with
/// `\\`, `\"` and `\n` escaped. Equal sets have equal text, so it also identifies the series.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelSet(Arc<str>);

/// Fault of an event, with the name of the label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The value is not a floating-point number.
    #[error("value: {0:?} is not a number")]
    Value(String),
    /// An invalid label name.
    #[error("label {0:?}: a label name consists of letters, digits and underscores and does not start with a digit")]
    Name(String),
    /// A reserved name.
    #[error("label {0:?}: names that start with two underscores are reserved")]
    Reserved(String),
    /// A duplicate name, possibly only after spaces became underscores.
    #[error("label {0:?}: given more than once")]
    Duplicate(String),
    /// A name or a value that is not UTF-8 once decoded.
    #[error("label {0:?}: not UTF-8")]
    NotUtf8(String),
    /// More than [`MAX_EVENT_LABELS`].
    #[error("label {0:?}: an event has at most {MAX_EVENT_LABELS} labels")]
    TooMany(String),
    /// The label at which the sum of all exceeded [`MAX_EVENT_BYTES`].
    #[error("label {0:?}: the labels of an event have at most {MAX_EVENT_BYTES} bytes together")]
    TooLong(String),
}

impl EventError {
    /// The name of the faulty label, truncated if it is very long; `value` for the value.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Value(_) => "value",
            Self::Name(name)
            | Self::Reserved(name)
            | Self::Duplicate(name)
            | Self::NotUtf8(name)
            | Self::TooMany(name)
            | Self::TooLong(name) => name,
        }
    }
}

/// Truncates a sender's text for an error message.
#[must_use]
pub fn truncated(text: &str) -> String {
    text.chars().take(MAX_NAME_CHARS_IN_ERROR).collect()
}

impl LabelSet {
    /// Validates unescaped label names and values and sorts them by name.
    ///
    /// `le` and `quantile` are ordinary names here, because the family of events is a gauge.
    ///
    /// # Errors
    /// On the first invalid label, and on too many or too long ones.
    pub fn new(mut pairs: Vec<(String, String)>) -> Result<Self, EventError> {
        let mut bytes = 0;
        for (count, (name, value)) in pairs.iter().enumerate() {
            check_name(name)?;
            bytes += name.len() + value.len();
            if bytes > MAX_EVENT_BYTES {
                return Err(EventError::TooLong(truncated(name)));
            }
            if count >= MAX_EVENT_LABELS {
                return Err(EventError::TooMany(truncated(name)));
            }
        }
        pairs.sort();
        if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(EventError::Duplicate(truncated(&pair[0].0)));
        }
        let mut text = String::with_capacity(bytes + 4 * pairs.len());
        for (name, value) in &pairs {
            push_pair(&mut text, name, value);
        }
        Ok(Self(text.into()))
    }

    /// Parses the output of [`LabelSet::as_str`]; `None` for any other text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let given = Self(text.into());
        let pairs = given.iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self::new(pairs).ok().filter(|set| *set == given)
    }

    /// The pairs as between the braces of a sample; empty if there are none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names and unescaped values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, String)> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (name, value) = rest.split_once("=\"")?;
            let (value, after) = unescape(value);
            rest = after.strip_prefix(',').unwrap_or(after);
            Some((name, value))
        })
    }
}

fn check_name(name: &str) -> Result<(), EventError> {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !starts || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(EventError::Name(truncated(name)));
    }
    if name.starts_with("__") {
        return Err(EventError::Reserved(truncated(name)));
    }
    Ok(())
}

/// Appends one pair in escaped form.
fn push_pair(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// The text up to the closing quote, unescaped, and what follows the quote.
fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c)) => value.push(c),
                None => break,
            },
            c => value.push(c),
        }
    }
    (value, "")
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.0)
    }
}

/// A one-shot event as a producer reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The labels that identify it.
    pub labels: LabelSet,
    /// The value of its sample.
    pub value: f64,
}

/// Number of an accepted event. Numbers increase by one, so they also give the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of a scraper: 1 to [`MAX_SCRAPER_ID_BYTES`] bytes of UTF-8 without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScraperId(Arc<str>);

/// Key by which a producer's repeated request counts once: 1 to [`MAX_IDEMPOTENCY_KEY_BYTES`] bytes of UTF-8
/// without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(Arc<str>);

/// Error of [`ScraperId::new`] and [`IdempotencyKey::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// It is too long.
    #[error("must have at most {max} bytes, not {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// It contains a control character.
    #[error("must not contain control characters")]
    Control,
}

fn check_id(text: &str, max: usize) -> Result<Arc<str>, IdError> {
    match text.len() {
        0 => Err(IdError::Empty),
        bytes if bytes > max => Err(IdError::TooLong { bytes, max }),
        _ if text.chars().any(char::is_control) => Err(IdError::Control),
        _ => Ok(text.into()),
    }
}

impl ScraperId {
    /// Validates an identity.
    ///
    /// # Errors
    /// If it is empty, too long, or contains control characters.
    pub fn new(text: &str) -> Result<Self, IdError> {
        check_id(text, MAX_SCRAPER_ID_BYTES).map(Self)
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IdempotencyKey {
    /// Validates a key.
    ///
    /// # Errors
    /// If it is empty, too long, or contains control characters.
    pub fn new(text: &str) -> Result<Self, IdError> {
        check_id(text, MAX_IDEMPOTENCY_KEY_BYTES).map(Self)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScraperId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ScraperId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests;
