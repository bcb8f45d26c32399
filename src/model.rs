//! Domain types: names of applications, their updates and the origin of updates.
//!
//! No I/O, no clock, no lock and no serialization, so every module may depend on this one.

mod client;
mod event;
mod printable;
pub mod units;

pub use crate::exposition::{AppName, AppNameError, LabelPair, MAX_APP_NAME_BYTES, Syntax};
pub use client::Client;
pub use event::{
    Event, EventError, EventId, IdError, IdempotencyKey, LabelSet, MAX_EVENT_BYTES, MAX_EVENT_LABELS, MAX_IDEMPOTENCY_KEY_BYTES,
    MAX_SCRAPER_ID_BYTES, ScraperId, truncated,
};
pub use printable::{cut, is_hidden, printable, printable_json};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::exposition::Exposition;

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates a timestamp from milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The time since `earlier`; zero if the clock went backwards in between.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The timestamp `span` later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// Source of the wall-clock time, replaceable in tests.
pub type Clock = fn() -> Timestamp;

/// Format of a received message; the `format` label of `exporter_proxy_updates_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON object on a receiver.
    Json,
    /// A Cap'n Proto message on a receiver.
    Capnp,
    /// Exposition text in the body of an HTTP push.
    Push,
    /// Exposition text in the response to a poll.
    Poll,
    /// Counts of a monitoring stream.
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

/// Origin of an update.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The `Source` in `/apps` and the `source` label: a listening address, a socket path, `http`, `external_poll: HOST:PORT`.
    pub source: Arc<str>,
    /// Its format.
    pub format: Format,
}

/// The complete metrics of an application, replacing its previous update.
#[derive(Debug, Clone)]
pub struct Update {
    /// The application.
    pub app: AppName,
    /// The exposition text, in an allocation of exactly its size.
    pub body: Bytes,
    /// The syntax of `body`; `None` if it was not declared and is detected by the last line.
    pub syntax: Option<Syntax>,
    /// Metrics of a protobuf body that text cannot carry, such as native histograms; see [`protobuf::decode`](crate::exposition::protobuf::decode).
    /// Empty for other bodies.
    pub records: Bytes,
    /// The parsed text, if the source has it parsed already, as that of a protobuf body: its text and records are `body` and `records`.
    pub read: Option<Box<Exposition>>,
    /// Labels that are added to series that lack them (an endpoint's `labels`).
    pub labels: Arc<[LabelPair]>,
    /// Its origin.
    pub origin: Origin,
    /// Its time of arrival.
    pub at: Timestamp,
}

/// Topic of a message in the live stream, selected by `stream.events`.
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
    /// An IPFS node received a Bitswap message, or opened or closed a connection.
    Bitswap,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 5] = [Self::AppUpdate, Self::AppExpired, Self::OneShot, Self::Poll, Self::Bitswap];

    /// Its name in `stream.events`, which for all but the last is also its key in a message.
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

    /// The topic with a name of [`Topic::as_str`].
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

/// Prints the names of the topics, separated by commas.
impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, topic) in self.iter().enumerate() {
            write!(f, "{}{}", if n > 0 { ", " } else { "" }, topic.as_str())?;
        }
        Ok(())
    }
}

/// The peers of one IPFS node at the time of a poll.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerSample {
    /// Time of the poll.
    pub at: Timestamp,
    /// Number of connections; a peer may have several.
    pub connections: usize,
    /// The peers, each once.
    pub peers: Vec<Peer>,
}

/// A peer of an IPFS node. Its texts are not validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Its identity in base58.
    pub id: Arc<str>,
    /// Its agent version, if known.
    pub agent: Option<Arc<str>>,
    /// Round-trip time, if measured.
    pub latency: Option<Duration>,
    /// The multiaddresses that it announces.
    pub addresses: Vec<Arc<str>>,
    /// The multiaddresses of its connections.
    pub connected: Vec<Arc<str>>,
    /// The protocols that it announces.
    pub protocols: Vec<Arc<str>>,
}

#[cfg(test)]
mod tests;
