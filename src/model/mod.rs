//! The nouns of the house: what an application is called, what it hands in, where that came from.
//!
//! No I/O, no clock, no lock and no serialisation live here, so every room may know this one.

mod client;
mod event;

pub use client::Client;
pub use event::{
    Event, EventError, EventId, IdError, IdempotencyKey, LabelSet, MAX_EVENT_BYTES, MAX_EVENT_LABELS, MAX_IDEMPOTENCY_KEY_BYTES,
    MAX_SCRAPER_ID_BYTES, ScraperId, shown,
};

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// The longest app name in bytes: names stand in tables, labels and paths, where longer ones help nobody.
pub const MAX_APP_NAME_BYTES: usize = 255;

/// The name under which an application's metrics are kept: 1 to 255 bytes of UTF-8 without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppName(Arc<str>);

/// Why a text cannot be an [`AppName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppNameError {
    /// The name has no characters.
    #[error("an app name must not be empty")]
    Empty,
    /// The name is longer than [`MAX_APP_NAME_BYTES`].
    #[error("an app name has at most {MAX_APP_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// The name holds a control character.
    #[error("an app name must not hold control characters (U+{0:04X} at byte {1})")]
    Control(u32, usize),
}

impl AppName {
    /// Checks and keeps a name.
    pub fn new(name: &str) -> Result<Self, AppNameError> {
        if name.is_empty() {
            return Err(AppNameError::Empty);
        }
        if name.len() > MAX_APP_NAME_BYTES {
            return Err(AppNameError::TooLong(name.len()));
        }
        if let Some((at, c)) = name.char_indices().find(|(_, c)| c.is_control()) {
            return Err(AppNameError::Control(u32::from(c), at));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for AppName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long ago `earlier` was, zero where the clock went backwards in between.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This time plus `span`.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// Where a part that needs the time of day asks for it, so that a test can answer.
pub type Clock = fn() -> Timestamp;

/// The exposition format that a sender wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Syntax {
    /// The Prometheus text format 0.0.4 or 1.0.0.
    #[default]
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Syntax {
    /// The syntax that the value of a `Content-Type` header names; `None` where it is not the type of an exposition (`text/html`, the
    /// type of a form that curl sends by itself). As in Prometheus the media type decides, whatever its parameters and the text say.
    #[must_use]
    pub fn named_by(content_type: &str) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            Some(Self::OpenMetrics)
        } else if media_type.eq_ignore_ascii_case("text/plain") {
            Some(Self::Text)
        } else {
            None
        }
    }
}

/// The way in that a message took; it names the `format` label of `exporter_proxy_updates_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON object on a receiver.
    Json,
    /// A Cap'n Proto message on a receiver.
    Capnp,
    /// Exposition text in the body of an HTTP push.
    Push,
    /// Exposition text answered to a poll.
    Poll,
    /// What was counted in a monitoring stream.
    Stream,
}

impl Format {
    /// The value of the `format` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Capnp => "capnp",
            Self::Push => "push",
            Self::Poll => "poll",
            Self::Stream => "stream",
        }
    }
}

/// Where an update came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// What `/apps` shows under `Source` and the `source` label says: a listening address, a socket path, `http`, `external_poll: HOST:PORT`.
    pub source: Arc<str>,
    /// How it was written.
    pub format: Format,
}

/// A label name and its value, as given by configuration (unescaped).
pub type LabelPair = (Arc<str>, Arc<str>);

/// All that an application has to say, replacing all it said before.
#[derive(Debug, Clone)]
pub struct Update {
    /// Whose metrics they are.
    pub app: AppName,
    /// The exposition text, in an allocation of exactly its size.
    pub body: Bytes,
    /// The format of `body`; `None` where none was named and its last line decides.
    pub syntax: Option<Syntax>,
    /// Labels that every series gets unless it has them already (an endpoint's `labels`).
    pub labels: Arc<[LabelPair]>,
    /// Where it came from.
    pub origin: Origin,
    /// When it arrived.
    pub at: Timestamp,
}

/// What a message of the live stream is about; `stream.events` selects by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// An application was updated.
    AppUpdate,
    /// An application was forgotten.
    AppExpired,
    /// A one-shot event was accepted.
    OneShot,
    /// An endpoint was polled.
    Poll,
    /// An IPFS node heard something: a Bitswap message, or a connection that was opened or closed.
    Bitswap,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 5] = [Self::AppUpdate, Self::AppExpired, Self::OneShot, Self::Poll, Self::Bitswap];

    /// Its word in `stream.events`, which for all but the last is also its key in a message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppUpdate => "app_update",
            Self::AppExpired => "app_expired",
            Self::OneShot => "one_shot",
            Self::Poll => "poll",
            Self::Bitswap => "bitswap",
        }
    }

    /// The topic of a word, as [`Topic::as_str`] gives it.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }
}

/// A set of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Topics(u8);

impl Topics {
    /// The set of all topics.
    pub const ALL: Self = Self((1 << Topic::ALL.len()) - 1);

    /// The set of one topic.
    #[must_use]
    pub const fn only(topic: Topic) -> Self {
        Self(1 << (topic as u8))
    }

    /// The set as a number with one bit for each topic.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns true if the set holds a topic.
    #[must_use]
    pub const fn contains(self, topic: Topic) -> bool {
        self.0 & Self::only(topic).0 != 0
    }

    /// Returns true if the set holds all topics of another one.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns true if the set holds no topic.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The topics of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The topics that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The topics of the set.
    pub fn iter(self) -> impl Iterator<Item = Topic> {
        Topic::ALL.into_iter().filter(move |topic| self.contains(*topic))
    }
}

impl FromIterator<Topic> for Topics {
    fn from_iter<I: IntoIterator<Item = Topic>>(topics: I) -> Self {
        topics.into_iter().fold(Self::default(), |set, topic| set.union(Self::only(topic)))
    }
}

/// Prints the words of the topics, separated by commas.
impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, topic) in self.iter().enumerate() {
            write!(f, "{}{}", if n > 0 { ", " } else { "" }, topic.as_str())?;
        }
        Ok(())
    }
}

/// The peers that one IPFS node was connected to when it was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerSample {
    /// When it was asked.
    pub at: Timestamp,
    /// How many connections it had; a peer may have several.
    pub connections: usize,
    /// The peers, each once.
    pub peers: Vec<Peer>,
}

/// A peer of an IPFS node. The texts are its own and may be anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Its identity in base58.
    pub id: Arc<str>,
    /// The program that it runs, if it said so.
    pub agent: Option<Arc<str>>,
    /// How long a message takes there and back, if it was measured.
    pub latency: Option<Duration>,
    /// The multiaddresses at which it says it can be reached.
    pub addresses: Vec<Arc<str>>,
    /// The multiaddresses at which it is connected.
    pub connected: Vec<Arc<str>>,
    /// The protocols that it says it speaks.
    pub protocols: Vec<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_printable() {
        assert!(AppName::new("a b/ö").is_ok());
        assert_eq!(AppName::new(""), Err(AppNameError::Empty));
        assert!(AppName::new(&"x".repeat(255)).is_ok());
        assert_eq!(AppName::new(&"x".repeat(256)), Err(AppNameError::TooLong(256)));
        assert_eq!(AppName::new("ab\n"), Err(AppNameError::Control(10, 2)));
        assert_eq!(AppName::new("\u{85}"), Err(AppNameError::Control(0x85, 0)));
    }

    #[test]
    fn a_content_type_names_a_syntax_or_none() {
        for (value, expected) in [
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                Some(Syntax::OpenMetrics),
            ),
            ("Application/OpenMetrics-Text", Some(Syntax::OpenMetrics)),
            ("text/plain; charset=utf-8; Version=0.0.4", Some(Syntax::Text)),
            ("text/plain; charset=utf-8", Some(Syntax::Text)),
            (" TEXT/plain ", Some(Syntax::Text)),
            ("text/plain2", None),
            ("text/html", None),
            ("application/x-www-form-urlencoded", None),
            ("", None),
            (";;", None),
        ] {
            assert_eq!(Syntax::named_by(value), expected, "{value}");
        }
    }

    #[test]
    fn a_set_of_topics_is_one() {
        let two: Topics = [Topic::Poll, Topic::Bitswap, Topic::Poll].into_iter().collect();
        assert_eq!(two.to_string(), "poll, bitswap");
        assert!(two.contains(Topic::Poll) && !two.contains(Topic::OneShot));
        assert!(Topics::ALL.includes(two) && !two.includes(Topics::ALL) && two.includes(Topics::default()));
        assert_eq!(two.intersection(Topics::only(Topic::Bitswap)), Topics::only(Topic::Bitswap));
        assert_eq!(two.union(Topics::ALL), Topic::ALL.into_iter().collect());
        assert!(Topics::default().is_empty() && !two.is_empty());
        assert!(Topic::ALL.iter().all(|topic| Topic::named(topic.as_str()) == Some(*topic)));
        assert_eq!(Topic::named("connection_event"), None);
    }

    #[test]
    fn time_never_runs_backwards_in_an_age() {
        let (a, b) = (Timestamp::from_millis(1_000), Timestamp::from_millis(3_500));
        assert_eq!(b.since(a), Duration::from_millis(2_500));
        assert_eq!(a.since(b), Duration::ZERO);
    }
}
