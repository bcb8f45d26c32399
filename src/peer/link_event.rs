//! What happens on links: each event is logged, counted and handed to whoever follows, in one place.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::broadcast;

use super::PublicKey;
use super::unreachable_peers::UnreachablePeers;
use crate::telemetry::Throttle;

/// Events that a follower may be behind; one further behind misses the oldest and is told so.
const SUBSCRIBER_LAG: usize = 256;

/// Something that happened on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
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
    RegistrationRefused {
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
    /// A dialling end was turned away in the handshake, by its key or before it had shown one.
    HandshakeRejected {
        /// The key that it has shown.
        key: Option<PublicKey>,
        /// From where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// A connection is there.
    Opened {
        /// The other end.
        peer: PublicKey,
        /// The number of the connection; over QUIC the same at both ends.
        uid: ConnectionUid,
        /// Its address.
        address: SocketAddr,
    },
    /// A connection was ended on purpose, by either end.
    Closed {
        /// The other end.
        peer: PublicKey,
        /// The number of the connection; over QUIC the same at both ends.
        uid: ConnectionUid,
        /// Why.
        why: String,
    },
    /// A connection broke.
    Lost {
        /// The other end.
        peer: PublicKey,
        /// The number of the connection; over QUIC the same at both ends.
        uid: ConnectionUid,
        /// What is known of it.
        why: String,
    },
    /// At a bridge: a proxy has lost its alias to another key, which has registered it.
    Replaced {
        /// The key that had the alias.
        peer: PublicKey,
        /// The alias.
        alias: String,
        /// The key that has it now.
        by: PublicKey,
        /// The address from which that was registered.
        address: SocketAddr,
    },
    /// At a bridge: a proxy that had lost its alias has it again, without having registered.
    Restored {
        /// The key that has the alias again.
        peer: PublicKey,
        /// The alias.
        alias: String,
    },
    /// At a bridge: a proxy has registered another alias, and its earlier one was dropped.
    Renamed {
        /// Its key.
        peer: PublicKey,
        /// Its address.
        address: SocketAddr,
        /// The alias that it has now.
        alias: String,
        /// The alias that it had.
        dropped: String,
    },
    /// Two proxies use one key. At a bridge `peer` is that key; at a proxy, which is the first of the two, it is the bridge's.
    KeyShared {
        /// The shared key, or the bridge that has told of it.
        peer: PublicKey,
        /// The aliases of the two.
        aliases: [String; 2],
        /// The addresses of the two, as the bridge sees them.
        addresses: [String; 2],
    },
    /// At a proxy: another key has taken its alias at a bridge.
    AliasLost {
        /// The bridge.
        peer: PublicKey,
        /// The alias.
        alias: String,
        /// The key that has it now.
        by: PublicKey,
        /// The address from which that was registered.
        address: String,
    },
    /// At a proxy: the alias that it had lost at a bridge is its own again.
    AliasReturned {
        /// The bridge.
        peer: PublicKey,
        /// The alias.
        alias: String,
    },
    /// A scrape was asked for.
    ScrapeStarted {
        /// The other end.
        peer: PublicKey,
        /// Its number; over QUIC the same at both ends.
        scrape: ScrapeId,
        /// What was asked for.
        path: String,
    },
    /// A scrape was answered.
    ScrapeAnswered {
        /// The other end.
        peer: PublicKey,
        /// Its number; over QUIC the same at both ends.
        scrape: ScrapeId,
    },
    /// A scrape was not answered, or not with metrics.
    ScrapeFailed {
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

/// The number of a connection; prints as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionUid(pub u64);

impl ConnectionUid {
    /// A number that hardly any other connection has.
    pub(super) fn random() -> Self {
        let mut bytes = [0; 8];
        // Without randomness connections cannot be told apart in the log, and work all the same.
        let _ = SystemRandom::new().fill(&mut bytes);
        Self(u64::from_ne_bytes(bytes))
    }
}

impl fmt::Display for ConnectionUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ConnectionUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl LinkEvent {
    /// Who is to blame for a line that strangers can bring about at will.
    fn throttle_key(&self) -> Option<String> {
        match self {
            Self::HandshakeRejected { address, .. } => Some(address.ip().to_string()),
            Self::RegistrationRefused { peer, .. } => Some(peer.to_string()),
            _ => None,
        }
    }

    fn log(&self) {
        match self {
            Self::Registered { peer, alias, updated } => {
                let news = if *updated { "" } else { ", with nothing new" };
                tracing::info!(%peer, alias, updated, "registered {alias}{news}");
            }
            Self::RegistrationRefused { peer, alias, why } => {
                tracing::warn!(%peer, alias, "the registration of {alias:?} was refused: {why}")
            }
            Self::Unreachable { peer, why } => tracing::warn!(%peer, "cannot reach {peer}: {why}"),
            Self::Announced { key } => tracing::info!(%key, "announced in HyperDHT"),
            Self::Unannounced { key, why } => tracing::warn!(%key, "not announced in HyperDHT, so no peer can reach this key: {why}"),
            Self::HandshakeRejected { key, address, why } => {
                tracing::warn!(key = key.map(tracing::field::display), %address, "turned {address} away: {why}");
            }
            Self::Opened { peer, uid, address } => tracing::info!(%peer, %uid, %address, "link opened"),
            Self::Closed { peer, uid, why } => tracing::info!(%peer, %uid, "link closed: {why}"),
            Self::Lost { peer, uid, why } => tracing::warn!(%peer, %uid, "link lost: {why}"),
            Self::Replaced { peer, alias, by, address } => tracing::warn!(
                alias, %by, %address,
                "the alias {alias} was taken from the key {peer}: the key {by} has registered it from {address} (bridge.alias_policy)"
            ),
            Self::Restored { peer, alias } => tracing::info!(%peer, alias, "the alias {alias} is the key {peer}'s again"),
            Self::Renamed {
                peer,
                address,
                alias,
                dropped,
            } => tracing::warn!(
                %peer, %address, alias, dropped,
                "the key {peer} has registered {alias} from {address}: its earlier alias {dropped} was dropped"
            ),
            Self::KeyShared { peer, aliases, addresses } => {
                let ([one, other], [here, there]) = (aliases, addresses);
                tracing::warn!(
                    %peer,
                    "two proxies use one key: {one} at {here} and {other} at {there}; give each a key of its own (p2p.key_file)"
                );
            }
            Self::AliasLost { peer, alias, by, address } => tracing::warn!(
                %peer, alias, %by, address,
                "the alias {alias} was taken at the bridge {peer}: the key {by} has registered it from {address}; this proxy is not scraped under it"
            ),
            Self::AliasReturned { peer, alias } => {
                tracing::info!(%peer, alias, "the alias {alias} at the bridge {peer} is this proxy's again");
            }
            Self::ScrapeStarted { peer, scrape, path } => tracing::debug!(%peer, %scrape, "scrape of {path}"),
            Self::ScrapeAnswered { peer, scrape } => tracing::debug!(%peer, %scrape, "scrape answered"),
            Self::ScrapeFailed { peer, scrape, why } => tracing::warn!(%peer, %scrape, "scrape failed: {why}"),
        }
    }
}

/// Where events go.
pub struct LinkEvents {
    count: Box<dyn Fn(&LinkEvent) + Send + Sync>,
    subscribers: broadcast::Sender<LinkEvent>,
    throttle: Throttle,
    unreachable: Mutex<UnreachablePeers>,
}

impl LinkEvents {
    /// Events that are counted by `count`, logged, and handed to followers.
    #[must_use]
    pub fn new(count: impl Fn(&LinkEvent) + Send + Sync + 'static) -> Self {
        Self {
            count: Box::new(count),
            subscribers: broadcast::Sender::new(SUBSCRIBER_LAG),
            throttle: Throttle::default(),
            unreachable: Mutex::default(),
        }
    }

    /// All events from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<LinkEvent> {
        self.subscribers.subscribe()
    }

    /// Tells of a connection that is there. What is returned tells of its end.
    pub(crate) fn opened(self: &Arc<Self>, peer: PublicKey, address: SocketAddr, uid: ConnectionUid) -> OpenLink {
        self.emit(LinkEvent::Opened { peer, uid, address });
        OpenLink {
            events: Arc::clone(self),
            peer,
            uid,
        }
    }

    /// Logs, counts and hands on.
    pub fn emit(&self, event: LinkEvent) {
        if self.should_log(&event, Instant::now()) {
            event.log();
        }
        (self.count)(&event);
        // Nobody has to follow.
        let _ = self.subscribers.send(event);
    }

    /// Neither strangers nor an end that stays away fill the log.
    fn should_log(&self, event: &LinkEvent, now: Instant) -> bool {
        let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            LinkEvent::Unreachable { peer, why } => return unreachable.should_log(peer, why, now),
            LinkEvent::Opened { peer, .. } | LinkEvent::Registered { peer, .. } => unreachable.reached(peer),
            _ => {}
        }
        let throttle_key = event.throttle_key();
        throttle_key.is_none_or(|source| self.throttle.admit(&source, now).is_some())
    }
}

/// A connection whose end is still to be told of.
#[must_use = "the end of a connection is an event, too"]
pub(crate) struct OpenLink {
    events: Arc<LinkEvents>,
    peer: PublicKey,
    uid: ConnectionUid,
}

impl OpenLink {
    /// Tells of the end: whether it was meant, and why.
    pub(crate) fn report_end(self, (graceful, why): (bool, String)) {
        let Self { events, peer, uid } = self;
        events.emit(if graceful {
            LinkEvent::Closed { peer, uid, why }
        } else {
            LinkEvent::Lost { peer, uid, why }
        });
    }
}

impl Default for LinkEvents {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for LinkEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
