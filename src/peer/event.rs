//! What happens on links: each event is logged, counted and handed to whoever follows, in one place.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::broadcast;

use super::PublicKey;
use super::unreached::Unreached;
use crate::telemetry::Throttle;

/// Events that a follower may be behind; one further behind misses the oldest and is told so.
const FOLLOWER_LAG: usize = 256;

/// Something that happened on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A registration was accepted.
    Registered {
        /// The other end.
        peer: PublicKey,
        /// The name that was registered.
        alias: String,
        /// Whether the bridge has learned something new.
        updated: bool,
    },
    /// A registration was not accepted.
    Refused {
        /// The other end.
        peer: PublicKey,
        /// The name that was to be registered.
        alias: String,
        /// Why.
        why: String,
    },
    /// A dialled end could not be reached or showed another key.
    Unreachable {
        /// Who was dialled.
        peer: PublicKey,
        /// Why.
        why: String,
    },
    /// HyperDHT knows our key again, or for the first time.
    Announced {
        /// Our key.
        key: PublicKey,
    },
    /// HyperDHT does not know our key, so no peer that looks for it finds us.
    Unannounced {
        /// Our key.
        key: PublicKey,
        /// The reason.
        why: String,
    },
    /// Somebody who dialled us was turned away in the handshake.
    Barred {
        /// From where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// A connection is there.
    Opened {
        /// The other end.
        peer: PublicKey,
        /// Its address.
        address: SocketAddr,
    },
    /// A connection was ended on purpose, by either end.
    Closed {
        /// The other end.
        peer: PublicKey,
        /// Why.
        why: String,
    },
    /// A connection broke.
    Lost {
        /// The other end.
        peer: PublicKey,
        /// What is known of it.
        why: String,
    },
    /// A scrape was asked for.
    Asked {
        /// The other end.
        peer: PublicKey,
        /// Its number; over QUIC the same at both ends.
        scrape: ScrapeId,
        /// What was asked for.
        path: String,
    },
    /// A scrape was answered.
    Answered {
        /// The other end.
        peer: PublicKey,
        /// Its number; over QUIC the same at both ends.
        scrape: ScrapeId,
    },
    /// A scrape was not answered, or not with metrics.
    Failed {
        /// The other end.
        peer: PublicKey,
        /// Its number; over QUIC the same at both ends.
        scrape: ScrapeId,
        /// Why.
        why: String,
    },
}

/// The number of a scrape; prints as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScrapeId(pub u64);

impl fmt::Display for ScrapeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ScrapeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for ScrapeId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl Event {
    /// Who is to blame for a line that strangers can bring about at will.
    fn stranger(&self) -> Option<String> {
        match self {
            Self::Barred { address, .. } => Some(address.ip().to_string()),
            Self::Refused { peer, .. } => Some(peer.to_string()),
            _ => None,
        }
    }

    fn log(&self) {
        match self {
            Self::Registered { peer, alias, updated } => {
                let news = if *updated { "" } else { ", with nothing new" };
                tracing::info!(%peer, alias, updated, "registered {alias}{news}");
            }
            Self::Refused { peer, alias, why } => tracing::warn!(%peer, alias, "the registration of {alias:?} was refused: {why}"),
            Self::Unreachable { peer, why } => tracing::warn!(%peer, "cannot reach {peer}: {why}"),
            Self::Announced { key } => tracing::info!(%key, "announced in HyperDHT"),
            Self::Unannounced { key, why } => tracing::warn!(%key, "not announced in HyperDHT, so no peer can reach this key: {why}"),
            Self::Barred { address, why } => tracing::warn!(%address, "turned {address} away: {why}"),
            Self::Opened { peer, address } => tracing::info!(%peer, %address, "link opened"),
            Self::Closed { peer, why } => tracing::info!(%peer, "link closed: {why}"),
            Self::Lost { peer, why } => tracing::warn!(%peer, "link lost: {why}"),
            Self::Asked { peer, scrape, path } => tracing::debug!(%peer, %scrape, "scrape of {path}"),
            Self::Answered { peer, scrape } => tracing::debug!(%peer, %scrape, "scrape answered"),
            Self::Failed { peer, scrape, why } => tracing::warn!(%peer, %scrape, "scrape failed: {why}"),
        }
    }
}

/// Where events go.
pub struct Events {
    count: Box<dyn Fn(&Event) + Send + Sync>,
    followers: broadcast::Sender<Event>,
    throttle: Throttle,
    unreached: Mutex<Unreached>,
}

impl Events {
    /// Events that are counted by `count`, logged, and handed to followers.
    #[must_use]
    pub fn new(count: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self {
            count: Box::new(count),
            followers: broadcast::Sender::new(FOLLOWER_LAG),
            throttle: Throttle::default(),
            unreached: Mutex::default(),
        }
    }

    /// All events from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Event> {
        self.followers.subscribe()
    }

    /// Logs, counts and hands on.
    pub fn emit(&self, event: Event) {
        if self.is_worth_a_line(&event, Instant::now()) {
            event.log();
        }
        (self.count)(&event);
        // Nobody has to follow.
        let _ = self.followers.send(event);
    }

    /// Neither strangers nor an end that stays away fill the log.
    fn is_worth_a_line(&self, event: &Event, now: Instant) -> bool {
        let mut unreached = self.unreached.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Unreachable { peer, why } => return unreached.is_news(peer, why, now),
            Event::Opened { peer, .. } | Event::Registered { peer, .. } => unreached.reached(peer),
            _ => {}
        }
        let stranger = event.stranger();
        stranger.is_none_or(|source| self.throttle.admit(&source, now).is_some())
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
