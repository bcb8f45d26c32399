//! Events of links. Each is logged, counted and sent to subscribers in one place.

mod unreachable_peers;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::broadcast;
use tokio::task::JoinError;

use self::unreachable_peers::UnreachablePeers;
use crate::peer::identity::PublicKey;
use crate::telemetry::Throttle;

/// Limit on the events that a subscriber can be behind; beyond it the subscriber loses the oldest and receives an error.
const SUBSCRIBER_LAG: usize = 256;

/// The reason for rejecting the key of a scraper.
pub(crate) const NOT_ADMITTED: &str = "its key is not admitted; to admit it, add it to p2p.allow";

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
        /// At a bridge: the address of the peer.
        address: Option<SocketAddr>,
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
        /// The purpose of the connection.
        purpose: ConnectionPurpose,
    },
    /// A connection was closed gracefully, by either end.
    Closed {
        /// The key of the peer.
        peer: PublicKey,
        /// The number of the connection; over QUIC the same at both ends.
        uid: ConnectionUid,
        /// The reason.
        why: String,
        /// The purpose of the connection.
        purpose: ConnectionPurpose,
    },
    /// A connection was lost.
    Lost {
        /// The key of the peer.
        peer: PublicKey,
        /// The number of the connection; over QUIC the same at both ends.
        uid: ConnectionUid,
        /// The reason.
        why: String,
        /// The purpose of the connection.
        purpose: ConnectionPurpose,
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

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionPurpose {
    /// A link: scrapes in one direction, after a registration in the other or with an admitted key.
    Link,
    /// A registration over HyperDHT, after which the connection is closed. At a bridge any key can open one.
    Registration,
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
    pub(crate) fn random() -> Self {
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
    /// Returns the subject of the rate limit of the line.
    ///
    /// Authenticated peers have a limit each. Lines that unauthenticated peers can trigger share one for each kind: their keys and
    /// addresses are free to choose, so a limit for each would be none.
    fn log_subject(&self) -> Option<String> {
        Some(match self {
            Self::HandshakeRejected { .. } => "rejected handshakes".to_owned(),
            Self::RegistrationRefused { .. } => "refused registrations".to_owned(),
            Self::Opened { peer, purpose, .. } | Self::Closed { peer, purpose, .. } | Self::Lost { peer, purpose, .. } => match purpose {
                ConnectionPurpose::Link => format!("link {peer}"),
                // Logged at debug level.
                ConnectionPurpose::Registration => return None,
            },
            Self::Registered { peer, .. } => format!("registration {peer}"),
            Self::ScrapeFailed { peer, .. } => format!("scrape {peer}"),
            Self::Replaced { peer, .. }
            | Self::Restored { peer, .. }
            | Self::Renamed { peer, .. }
            | Self::KeyShared { peer, .. }
            | Self::AliasLost { peer, .. }
            | Self::AliasReturned { peer, .. } => format!("alias {peer}"),
            // The last two have the key of this program and at most one line in ten seconds.
            Self::ScrapeStarted { .. }
            | Self::ScrapeAnswered { .. }
            | Self::Unreachable { .. }
            | Self::Announced { .. }
            | Self::Unannounced { .. } => return None,
        })
    }

    /// Logs the event. `suppressed` is the number of earlier lines of its subject that were left out.
    fn log(&self, suppressed: Option<u64>) {
        match self {
            Self::Registered { .. }
            | Self::RegistrationRefused { .. }
            | Self::Unreachable { .. }
            | Self::Announced { .. }
            | Self::Unannounced { .. }
            | Self::HandshakeRejected { .. } => self.log_registration(suppressed),
            Self::Opened { .. } | Self::Closed { .. } | Self::Lost { .. } => self.log_connection(suppressed),
            Self::Replaced { .. }
            | Self::Restored { .. }
            | Self::Renamed { .. }
            | Self::KeyShared { .. }
            | Self::AliasLost { .. }
            | Self::AliasReturned { .. } => self.log_alias(suppressed),
            Self::ScrapeStarted { peer, scrape, path } => tracing::debug!(%peer, %scrape, "scrape of {path}"),
            Self::ScrapeAnswered { peer, scrape } => tracing::debug!(%peer, %scrape, "scrape answered"),
            Self::ScrapeFailed { peer, scrape, why } => tracing::warn!(%peer, %scrape, suppressed, "scrape failed: {why}"),
        }
    }

    fn log_registration(&self, suppressed: Option<u64>) {
        match self {
            Self::Registered { peer, alias, updated } => {
                let unchanged = if *updated { "" } else { " (unchanged)" };
                tracing::info!(%peer, suppressed, "registered {alias}{unchanged}");
            }
            Self::RegistrationRefused {
                peer,
                alias,
                address: Some(address),
                why,
            } => tracing::warn!(%peer, suppressed, "refused to register {alias:?} from {address}: {why}"),
            Self::RegistrationRefused { peer, alias, why, .. } => {
                tracing::warn!(%peer, suppressed, "the bridge refused to register {alias:?}: {why}");
            }
            Self::Unreachable { peer, why } => tracing::warn!(%peer, "cannot reach the peer: {why}"),
            Self::Announced { key } => tracing::info!(%key, "announced in HyperDHT"),
            Self::Unannounced { key, why } => tracing::warn!(%key, "not announced in HyperDHT, so no peer can reach this key: {why}"),
            Self::HandshakeRejected { key, address, why } => {
                let peer = key.map(tracing::field::display);
                tracing::warn!(peer, suppressed, "refused a connection from {address}: {why}");
            }
            _ => {}
        }
    }

    fn log_connection(&self, suppressed: Option<u64>) {
        match self {
            Self::Opened {
                peer,
                uid,
                address,
                purpose: ConnectionPurpose::Link,
            } => tracing::info!(%peer, %uid, %address, suppressed, "link opened"),
            Self::Closed {
                peer,
                uid,
                why,
                purpose: ConnectionPurpose::Link,
            } => tracing::info!(%peer, %uid, suppressed, "link closed: {why}"),
            Self::Lost {
                peer,
                uid,
                why,
                purpose: ConnectionPurpose::Link,
            } => tracing::warn!(%peer, %uid, suppressed, "link lost: {why}"),
            Self::Opened { peer, uid, address, .. } => tracing::debug!(%peer, %uid, %address, "connection for a registration opened"),
            Self::Closed { peer, uid, why, .. } => tracing::debug!(%peer, %uid, "connection for a registration closed: {why}"),
            Self::Lost { peer, uid, why, .. } => tracing::debug!(%peer, %uid, "connection for a registration lost: {why}"),
            _ => {}
        }
    }

    fn log_alias(&self, suppressed: Option<u64>) {
        match self {
            Self::Replaced { peer, alias, by, address } => tracing::warn!(
                %peer, suppressed,
                "alias {alias} moved from this peer to the key {by}, which registered it from {address} (bridge.alias_policy)"
            ),
            Self::Restored { peer, alias } => tracing::info!(%peer, suppressed, "alias {alias} is back at this peer"),
            Self::Renamed {
                peer,
                address,
                alias,
                dropped,
            } => tracing::warn!(%peer, suppressed, "this peer registered {alias} from {address}: its earlier alias {dropped} was dropped"),
            Self::KeyShared { peer, aliases, addresses } => {
                let ([one, other], [here, there]) = (aliases, addresses);
                tracing::warn!(
                    %peer, suppressed,
                    "two proxies use one key: {one} at {here} and {other} at {there}; give each a key of its own (p2p.key_file)"
                );
            }
            Self::AliasLost { peer, alias, by, address } => tracing::warn!(
                %peer, suppressed,
                "lost alias {alias} at this bridge to the key {by}, which registered it from {address}; this proxy is not scraped under it"
            ),
            Self::AliasReturned { peer, alias } => {
                tracing::info!(%peer, suppressed, "alias {alias} at this bridge is back at this proxy");
            }
            _ => {}
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

    /// Emits the event of an opened link. The returned guard reports its end.
    pub(crate) fn opened(self: &Arc<Self>, peer: PublicKey, address: SocketAddr, uid: ConnectionUid) -> OpenLink {
        self.opened_for(ConnectionPurpose::Link, peer, address, uid)
    }

    /// Emits the event of an opened connection. The returned guard reports its end.
    pub(crate) fn opened_for(
        self: &Arc<Self>,
        purpose: ConnectionPurpose,
        peer: PublicKey,
        address: SocketAddr,
        uid: ConnectionUid,
    ) -> OpenLink {
        self.emit(LinkEvent::Opened {
            peer,
            uid,
            address,
            purpose,
        });
        OpenLink {
            events: Arc::clone(self),
            peer,
            uid,
            purpose,
        }
    }

    /// Logs and counts an event and sends it to subscribers.
    pub fn emit(&self, event: LinkEvent) {
        if let Some(suppressed) = self.admit(&event, Instant::now()) {
            event.log((suppressed > 0).then_some(suppressed));
        }
        (self.count)(&event);
        // There may be no subscriber.
        let _ = self.subscribers.send(event);
    }

    /// Applies the rate limits of the log. Returns the number of suppressed lines if this one is logged.
    fn admit(&self, event: &LinkEvent, now: Instant) -> Option<u64> {
        {
            let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                LinkEvent::Unreachable { peer, why } => return unreachable.should_log(peer, why, now).then_some(0),
                LinkEvent::Opened { peer, .. } | LinkEvent::Registered { peer, .. } => unreachable.reached(peer),
                _ => {}
            }
        }
        match event.log_subject() {
            Some(subject) => self.throttle.admit(&subject, now),
            None => Some(0),
        }
    }
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkEnd {
    /// True if either end closed the connection gracefully; false if it was lost.
    pub is_graceful: bool,
    /// The reason.
    pub why: String,
}

impl LinkEnd {
    pub(crate) fn graceful(why: impl Into<String>) -> Self {
        Self {
            is_graceful: true,
            why: why.into(),
        }
    }

    pub(crate) fn lost(why: impl Into<String>) -> Self {
        Self {
            is_graceful: false,
            why: why.into(),
        }
    }

    /// The end of a connection that this end closed because a scrape over it failed, so that the next scrape dials again.
    pub(crate) fn scrape_failed() -> Self {
        Self::lost("closed by this end after a failed scrape")
    }

    /// The end of a connection that this end closed without another reason.
    pub(crate) fn closed_here() -> Self {
        Self::graceful("closed by this end")
    }
}

/// Reports the end of an open connection.
#[must_use = "the end of a connection is an event, too"]
pub(crate) struct OpenLink {
    events: Arc<LinkEvents>,
    peer: PublicKey,
    uid: ConnectionUid,
    purpose: ConnectionPurpose,
}

impl OpenLink {
    /// Reports the end of the connection.
    pub(crate) fn report_end(self, LinkEnd { is_graceful, why }: LinkEnd) {
        let Self {
            events,
            peer,
            uid,
            purpose,
        } = self;
        events.emit(if is_graceful {
            LinkEvent::Closed { peer, uid, why, purpose }
        } else {
            LinkEvent::Lost { peer, uid, why, purpose }
        });
    }
}

/// Logs the panic of a link's task.
pub(crate) fn log_panic(ended: Result<(), JoinError>) {
    if let Err(lost) = ended {
        tracing::error!("a task of a link ended by a bug (panic), please report it: {lost}");
    }
}

impl Default for LinkEvents {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for LinkEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkEvents")
    }
}

#[cfg(test)]
mod tests;
