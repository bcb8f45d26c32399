//! Events of links. Each is logged, counted and sent to subscribers in one place.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::broadcast;

use super::PublicKey;
use super::unreachable_peers::UnreachablePeers;
use crate::telemetry::Throttle;

/// Limit on the events that a subscriber can be behind; beyond it the subscriber loses the oldest and receives an error.
const SUBSCRIBER_LAG: usize = 256;

/// An event of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// A registration was accepted.
    Registered {
        /// The key of the peer.
        peer: PublicKey,
        /// The registered alias.
        alias: String,
        /// True if the registration differs from the previous one.
        updated: bool,
    },
    /// A registration was refused.
    RegistrationRefused {
        /// The key of the peer.
        peer: PublicKey,
        /// The alias of the registration.
        alias: String,
        /// The reason.
        why: String,
    },
    /// A dialed peer is unreachable or has another key.
    Unreachable {
        /// The dialed key.
        peer: PublicKey,
        /// The reason.
        why: String,
    },
    /// HyperDHT has accepted the announcement of our key.
    Announced {
        /// Our key.
        key: PublicKey,
    },
    /// HyperDHT has not accepted the announcement of our key, so that no peer finds it.
    Unannounced {
        /// Our key.
        key: PublicKey,
        /// The reason.
        why: String,
    },
    /// A connection was rejected in the handshake, because of its key or before a key was received.
    HandshakeRejected {
        /// The key of the peer, if received.
        key: Option<PublicKey>,
        /// The address of the peer.
        address: SocketAddr,
        /// The reason.
        why: String,
    },
    /// A connection was opened.
    Opened {
        /// The key of the peer.
        peer: PublicKey,
        /// The number of the connection; over QUIC the same at both ends.
        uid: ConnectionUid,
        /// The address of the peer.
        address: SocketAddr,
    },
    /// A connection was closed gracefully, by either end.
    Closed {
        /// The key of the peer.
        peer: PublicKey,
        /// The number of the connection; over QUIC the same at both ends.
        uid: ConnectionUid,
        /// The reason.
        why: String,
    },
    /// A connection was lost.
    Lost {
        /// The key of the peer.
        peer: PublicKey,
        /// The number of the connection; over QUIC the same at both ends.
        uid: ConnectionUid,
        /// The reason.
        why: String,
    },
    /// At a bridge: another key has registered the alias of a proxy.
    Replaced {
        /// The key that held the alias.
        peer: PublicKey,
        /// The alias.
        alias: String,
        /// The key that holds the alias now.
        by: PublicKey,
        /// The address of the new registration.
        address: SocketAddr,
    },
    /// At a bridge: a proxy that had lost its alias holds it again, without a new registration.
    Restored {
        /// The key that holds the alias again.
        peer: PublicKey,
        /// The alias.
        alias: String,
    },
    /// At a bridge: a proxy registered another alias, and its earlier alias was dropped.
    Renamed {
        /// The key of the proxy.
        peer: PublicKey,
        /// The address of the proxy.
        address: SocketAddr,
        /// The new alias.
        alias: String,
        /// The dropped alias.
        dropped: String,
    },
    /// Two proxies use one key. At a bridge `peer` is that key. At a proxy, which is the first of the two, `peer` is the bridge.
    KeyShared {
        /// The shared key, or the bridge that reported it.
        peer: PublicKey,
        /// The aliases of the two proxies.
        aliases: [String; 2],
        /// The addresses of the two proxies as seen by the bridge.
        addresses: [String; 2],
    },
    /// At a proxy: another key has taken its alias at a bridge.
    AliasLost {
        /// The bridge.
        peer: PublicKey,
        /// The alias.
        alias: String,
        /// The key that holds the alias now.
        by: PublicKey,
        /// The address of the new registration.
        address: String,
    },
    /// At a proxy: it holds an alias again that it had lost at a bridge.
    AliasReturned {
        /// The bridge.
        peer: PublicKey,
        /// The alias.
        alias: String,
    },
    /// A scrape was started.
    ScrapeStarted {
        /// The key of the peer.
        peer: PublicKey,
        /// The number of the scrape; over QUIC the same at both ends.
        scrape: ScrapeId,
        /// The requested path.
        path: String,
    },
    /// A scrape was answered with metrics.
    ScrapeAnswered {
        /// The key of the peer.
        peer: PublicKey,
        /// The number of the scrape; over QUIC the same at both ends.
        scrape: ScrapeId,
    },
    /// A scrape failed or was answered with an error.
    ScrapeFailed {
        /// The key of the peer.
        peer: PublicKey,
        /// The number of the scrape; over QUIC the same at both ends.
        scrape: ScrapeId,
        /// The reason.
        why: String,
    },
}

/// The number of a scrape, formatted as 16 hexadecimal digits.
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

/// The number of a connection, formatted as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionUid(pub u64);

impl ConnectionUid {
    /// Generates a random number.
    pub(super) fn random() -> Self {
        let mut bytes = [0; 8];
        // Without randomness the numbers are equal in the log; the connections still work.
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
    /// Returns the subject of the rate limit for a line that unauthenticated peers can trigger.
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

/// The sink of link events.
pub struct LinkEvents {
    count: Box<dyn Fn(&LinkEvent) + Send + Sync>,
    subscribers: broadcast::Sender<LinkEvent>,
    throttle: Throttle,
    unreachable: Mutex<UnreachablePeers>,
}

impl LinkEvents {
    /// Creates a sink that calls `count` for each event, logs it, and sends it to subscribers.
    #[must_use]
    pub fn new(count: impl Fn(&LinkEvent) + Send + Sync + 'static) -> Self {
        Self {
            count: Box::new(count),
            subscribers: broadcast::Sender::new(SUBSCRIBER_LAG),
            throttle: Throttle::default(),
            unreachable: Mutex::default(),
        }
    }

    /// Subscribes to events from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<LinkEvent> {
        self.subscribers.subscribe()
    }

    /// Emits the event of an opened connection. The returned guard reports its end.
    pub(crate) fn opened(self: &Arc<Self>, peer: PublicKey, address: SocketAddr, uid: ConnectionUid) -> OpenLink {
        self.emit(LinkEvent::Opened { peer, uid, address });
        OpenLink {
            events: Arc::clone(self),
            peer,
            uid,
        }
    }

    /// Logs and counts an event and sends it to subscribers.
    pub fn emit(&self, event: LinkEvent) {
        if self.should_log(&event, Instant::now()) {
            event.log();
        }
        (self.count)(&event);
        // There may be no subscriber.
        let _ = self.subscribers.send(event);
    }

    /// Applies the rate limits of the log.
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

/// Reports the end of an open connection.
#[must_use = "the end of a connection is an event, too"]
pub(crate) struct OpenLink {
    events: Arc<LinkEvents>,
    peer: PublicKey,
    uid: ConnectionUid,
}

impl OpenLink {
    /// Reports the end of the connection: whether it was graceful, and the reason.
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
