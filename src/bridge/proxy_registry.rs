//! The proxy registry: the alias table and the open links.

mod sharing;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::alias_moves::AliasMoves;
use super::alias_table::{AliasChange, AliasEntry, AliasPolicy, AliasTable, AliasUnavailable, LinkId, Transport};
use super::remote_claims::BridgeMember;
use crate::model::{Clock, Timestamp};
use crate::peer::{Alias, Link, LinkEvent, LinkEvents, PeerState, PublicKey};
use crate::telemetry::BridgeTelemetry;
use crate::wire::{AliasLost, LinkMessage, SharedKey};

#[cfg(all(test, feature = "cluster"))]
pub(crate) use sharing::fake;
pub use sharing::{ClaimRead, IncomingClaim, OutgoingClaim, SharedRegistry};
use sharing::{Holder, SharedState};

/// Limit on the open links of one key. More than one mean several proxies with one key, each with its own alias; beyond the limit the
/// oldest link is closed.
const MAX_LINKS_OF_KEY: usize = 8;

/// The names of a proxy's apps, and the time of the request for them; `None` if there was no request yet.
pub(super) type Apps = (Option<Instant>, Arc<[String]>);

/// An open link.
struct ConnectedLink {
    key: PublicKey,
    address: SocketAddr,
    /// The alias that the link registered last.
    alias: String,
    link: Link,
}

struct RegistryState {
    aliases: AliasTable,
    /// The apps of each alias. [`ProxyRegistry::expire`] removes those of unknown aliases.
    apps: HashMap<String, Apps>,
    /// Bounded by the limit on links in `quic_registration`.
    links: HashMap<LinkId, ConnectedLink>,
    /// The links of each key. More than one if several proxies use the key, or if a proxy dialed again.
    links_of: HashMap<PublicKey, Vec<LinkId>>,
    /// Delivery state that outlives links, so that a new link can report outcomes of responses on the previous one.
    /// [`ProxyRegistry::expire`] removes keys without alias and link, which bounds it.
    peer_states: HashMap<PublicKey, PeerState>,
    next_link: LinkId,
    /// True if proxies are dialed by key, over HyperDHT.
    dials: bool,
    /// The claims that the bridges of a cluster exchange; `None` without a cluster.
    shared: Option<SharedState>,
}

/// The state shared by all services of a bridge.
pub(super) struct ProxyRegistry {
    // Never held across an await.
    state: Mutex<RegistryState>,
    /// Notified when the targets file may be out of date.
    changed: Notify,
    /// Notified when a claim is to be written for the other bridges of a cluster.
    to_write: Notify,
    peer_state: PeerState,
    pub(super) events: Arc<LinkEvents>,
    /// The latest moves of aliases.
    pub(super) moves: AliasMoves,
    pub(super) telemetry: Arc<BridgeTelemetry>,
    pub(super) clock: Clock,
}

/// A snapshot of an alias.
#[derive(Clone)]
pub(super) struct AliasListing {
    pub(super) entry: AliasEntry,
    pub(super) registered: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) link: Option<Link>,
    pub(super) apps: Apps,
    /// The bridge of the cluster that scrapes of it go over, if it is another one.
    pub(super) bridge: Option<BridgeMember>,
}

impl AliasListing {
    /// Returns true if there is a link to the proxy, at this bridge or at another one of the cluster.
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some() || self.bridge.is_some()
    }
}

/// Another link with the same key, and the number of datagrams it had received when it was found.
pub(super) struct SharedKeyLink {
    id: LinkId,
    received: u64,
}

impl ProxyRegistry {
    /// Creates a registry without links. `dials` is true if proxies are dialed by key, over HyperDHT.
    pub(super) fn new(aliases: AliasTable, dials: bool, events: Arc<LinkEvents>, telemetry: Arc<BridgeTelemetry>, clock: Clock) -> Self {
        let state = RegistryState {
            aliases,
            apps: HashMap::new(),
            links: HashMap::new(),
            links_of: HashMap::new(),
            peer_states: HashMap::new(),
            next_link: 0,
            dials,
            shared: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            to_write: Notify::new(),
            peer_state: PeerState::default(),
            events,
            moves: AliasMoves::default(),
            telemetry,
            clock,
        }
    }

    /// Replaces the policy for aliases and the time after which they expire.
    pub(super) fn set_policy(&self, policy: AliasPolicy, expiry: Duration) {
        self.lock().aliases.set_policy(policy, expiry);
    }

    fn lock(&self) -> MutexGuard<'_, RegistryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a registration from this address; returns true if it differs from the previous one.
    pub(super) fn register(&self, entry: AliasEntry, address: SocketAddr) -> Result<bool, AliasUnavailable> {
        let now = entry.renewed;
        // In a cluster another bridge may have held the alias.
        let (change, notifications, count, is_shared) = {
            let mut state = self.lock();
            state.check_shared(&entry, now)?;
            let change = state.aliases.register(entry.clone())?;
            let notifications = state.consequences(&entry, address, &change);
            state.publish_registration(&entry, address, &change, now);
            (change, notifications, state.count(now), state.shared.is_some())
        };
        self.to_write.notify_one();
        self.count(count);
        if change.replaced.is_some() {
            self.telemetry.bridge_takeovers_total.inc();
        }
        self.notify(notifications);
        if change.updated || !change.dropped.is_empty() || is_shared {
            self.changed.notify_one();
        }
        Ok(change.updated)
    }

    /// Adds the aliases of the last run with a new expiry, because no proxy could register in between.
    pub(super) fn restore(&self, entries: Vec<AliasEntry>) {
        let count = {
            let mut state = self.lock();
            for entry in entries {
                let alias = entry.alias.clone();
                if let Err(why) = state.aliases.restore(entry) {
                    tracing::warn!("skipped a target of the last run: {alias}: {why}");
                }
            }
            state.count(Instant::now())
        };
        self.count(count);
    }

    /// Updates the gauges of aliases. Entries expire between two calls of [`ProxyRegistry::expire`].
    pub(super) fn recount(&self) {
        self.recount_at(Instant::now());
    }

    fn recount_at(&self, now: Instant) {
        let (count, disconnected) = {
            let state = self.lock();
            (state.count(now), state.disconnected(now))
        };
        self.count(count);
        let disconnected = i64::try_from(disconnected).unwrap_or(i64::MAX);
        self.telemetry.bridge_disconnected_aliases.set(disconnected);
    }

    fn count(&self, aliases: usize) {
        self.telemetry.bridge_aliases.set(i64::try_from(aliases).unwrap_or(i64::MAX));
    }

    /// Emits events and forwards them to the proxies concerned. Must be called without the lock on the state.
    fn notify(&self, notifications: Vec<Notification>) {
        for Notification { event, to } in notifications {
            for (link, message) in to {
                link.send_control(message);
            }
            self.moves.record(&event, std::time::Instant::now());
            self.events.emit(event);
        }
    }

    /// Returns the number for a new link.
    pub(super) fn next_link(&self) -> LinkId {
        let mut state = self.lock();
        state.next_link += 1;
        state.next_link
    }

    /// Returns the delivery state of a proxy, which outlives its link.
    pub(super) fn peer_state(&self, key: PublicKey) -> PeerState {
        let scrape_ids = self.peer_state.scrape_ids.clone();
        let mut state = self.lock();
        let peer_state = state.peer_states.entry(key).or_default();
        PeerState {
            scrape_ids,
            unreported: peer_state.unreported.clone(),
        }
    }

    /// Adds a link that has registered. Returns the other open links with the same key.
    pub(super) fn link_up(&self, id: LinkId, key: PublicKey, (address, alias): (SocketAddr, &str), link: Link) -> Vec<SharedKeyLink> {
        let mut state = self.lock();
        let others = state.links_of.entry(key).or_default().clone();
        state.links_of.entry(key).or_default().push(id);
        if others.len() >= MAX_LINKS_OF_KEY
            && let Some(oldest) = others.first().and_then(|oldest| state.links.get(oldest))
        {
            // The service of the link removes it from the table once the connection has ended.
            oldest
                .link
                .close("replaced by a new connection of the same key: at most 8 are kept");
        }
        let alias = alias.to_owned();
        let registered = Alias::new(&alias);
        state.links.insert(id, ConnectedLink { key, address, alias, link });
        if let Ok(alias) = registered {
            // Now the other bridges of a cluster may send their scrapes here.
            state.publish(&alias, Instant::now());
            self.to_write.notify_one();
        }
        self.telemetry.bridge_connected.add(1);
        let sharing_link = |id: LinkId| {
            let received = state.links.get(&id)?.link.received();
            Some(SharedKeyLink { id, received })
        };
        others.into_iter().filter_map(sharing_link).collect()
    }

    /// Records that a link has registered another alias.
    pub(super) fn link_renamed(&self, id: LinkId, alias: &str) {
        if let Some(connected) = self.lock().links.get_mut(&id) {
            alias.clone_into(&mut connected.alias);
        }
    }

    /// Removes a link. Its alias goes to another proxy that registered it and is reachable; without one, scrapes of it fail.
    pub(super) fn link_down(&self, id: LinkId) {
        let notifications = {
            let mut state = self.lock();
            let Some(connected) = state.links.remove(&id) else { return };
            if let Some(links) = state.links_of.get_mut(&connected.key) {
                links.retain(|other| *other != id);
                if links.is_empty() {
                    state.links_of.remove(&connected.key);
                }
            }
            let now = Instant::now();
            let restored = state.aliases.link_ended(id, now);
            if let Ok(alias) = Alias::new(&connected.alias) {
                state.publish(&alias, now);
            }
            restored.map(|entry| state.restored(&entry))
        };
        self.to_write.notify_one();
        self.telemetry.bridge_connected.add(-1);
        if notifications.is_some() {
            self.changed.notify_one();
        }
        self.notify(notifications.into_iter().collect());
    }

    /// Warns both ends of each other link with the same key that has received datagrams since it was found: two proxies share the key.
    /// Without datagrams it is the previous link of the same proxy, which has not timed out yet.
    pub(super) fn warn_of_shared_key(&self, id: LinkId, sharing: &[SharedKeyLink]) {
        let notifications = {
            let state = self.lock();
            let Some(this) = state.links.get(&id) else { return };
            let alive = |sharing_link: &SharedKeyLink| {
                state
                    .links
                    .get(&sharing_link.id)
                    .filter(|other| other.link.received() > sharing_link.received)
            };
            sharing.iter().filter_map(alive).map(|other| shared_key(other, this)).collect()
        };
        self.notify(notifications);
    }

    /// Returns the route to the proxy that holds the alias.
    pub(super) fn find(&self, alias: &str) -> Result<Route, UnknownAlias> {
        let state = self.lock();
        Ok(match state.holder(alias, Instant::now()).ok_or(UnknownAlias)? {
            Holder::Local(entry) => state.route(entry),
            Holder::Remote(claim) => match state.bridge_of(claim) {
                Some(bridge) => Route::Bridge(bridge.clone()),
                None if state.is_dialed(claim.claim.transport) => Route::Key(claim.claim.key),
                None => Route::Disconnected,
            },
        })
    }

    /// Returns the route to a proxy that has registered the alias with this bridge, for a scrape that another bridge has forwarded.
    pub(super) fn find_here(&self, alias: &str) -> Result<Route, UnknownAlias> {
        let state = self.lock();
        let entry = state.aliases.get(alias, Instant::now()).ok_or(UnknownAlias)?;
        Ok(state.route(entry))
    }

    /// Returns all aliases that have not expired, sorted.
    pub(super) fn list(&self) -> Vec<AliasListing> {
        let (now, clock) = (Instant::now(), (self.clock)());
        let state = self.lock();
        let list = state.holders(now).into_iter().map(|holder| {
            let entry = holder.entry().into_owned();
            let registered = before(clock, now.saturating_duration_since(entry.renewed));
            AliasListing {
                registered,
                expires: registered.plus(state.aliases.expires(&entry).saturating_duration_since(entry.renewed)),
                link: state.link(&entry),
                apps: state.apps.get(entry.alias.as_str()).cloned().unwrap_or_default(),
                bridge: match holder {
                    Holder::Local(_) => None,
                    Holder::Remote(claim) => state.bridge_of(claim).cloned(),
                },
                entry,
            }
        });
        list.collect()
    }

    /// Stores the names of a proxy's apps.
    pub(super) fn set_apps(&self, alias: &str, apps: Arc<[String]>, now: Instant) {
        let mut state = self.lock();
        if state.holder(alias, now).is_some() {
            state.apps.insert(alias.to_owned(), (Some(now), apps));
        }
    }

    /// Handles a failed dial over HyperDHT of the key that holds an alias. Returns the link of another proxy that holds the alias again.
    pub(super) fn unreachable(&self, alias: &str, key: PublicKey) -> Option<Link> {
        let (notifications, link) = {
            let mut state = self.lock();
            let now = Instant::now();
            let restored = state.aliases.unreachable(alias, key, now)?;
            state.publish(&restored.alias, now);
            (state.restored(&restored), state.link(&restored))
        };
        self.to_write.notify_one();
        self.changed.notify_one();
        self.notify(vec![notifications]);
        link
    }

    /// Removes an alias; false if it is unknown. Another proxy that registered it and is reachable holds it again.
    pub(super) fn forget(&self, alias: &str) -> bool {
        let now = Instant::now();
        let (notifications, count) = {
            let mut state = self.lock();
            let (here, elsewhere) = (state.aliases.forget(alias, now), state.forget_remote(alias));
            if here.is_none() && !elsewhere {
                return false;
            }
            state.apps.remove(alias);
            let (gone, restored) = here.unzip();
            let peer = gone.as_ref().map(|gone| tracing::field::display(gone.key));
            tracing::info!(alias, peer, "forgotten by request");
            if let Some(gone) = gone {
                state.publish(&gone.alias, now);
            }
            let notifications = restored.flatten().map(|entry| state.restored(&entry));
            (notifications, state.count(now))
        };
        self.to_write.notify_one();
        self.count(count);
        self.changed.notify_one();
        self.notify(notifications.into_iter().collect());
        true
    }

    /// Removes expired entries.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        let (gone, elsewhere, count) = {
            let mut state = self.lock();
            let gone = state.aliases.expire(now);
            let elsewhere = state.expire_shared(&gone, now);
            let holders = state.holders(now).into_iter().map(Holder::entry);
            let (aliases, keys): (HashSet<String>, HashSet<PublicKey>) = holders.map(|entry| (entry.alias.to_string(), entry.key)).unzip();
            let RegistryState {
                apps,
                peer_states,
                links_of,
                ..
            } = &mut *state;
            apps.retain(|alias, _| aliases.contains(alias));
            peer_states.retain(|key, _| keys.contains(key) || links_of.contains_key(key));
            (gone, elsewhere, aliases.len())
        };
        self.count(count);
        for entry in &gone {
            self.telemetry.bridge_expired_total.inc();
            tracing::info!(alias = %entry.alias, peer = %entry.key, "forgotten: no registration within bridge.entry_expiry");
        }
        if elsewhere || !gone.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Resolves when the targets file may be out of date.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns the current text of the targets file.
    pub(super) fn targets(&self) -> String {
        let state = self.lock();
        let holders = state.holders(Instant::now());
        let entries: Vec<Cow<'_, AliasEntry>> = holders.into_iter().map(Holder::entry).collect();
        super::targets_file::render(entries.iter().map(AsRef::as_ref))
    }
}

/// An event, and the messages that forward it to proxies.
struct Notification {
    event: LinkEvent,
    to: Vec<(Link, LinkMessage)>,
}

impl Notification {
    /// True if another key has taken an alias.
    fn is_takeover(&self) -> bool {
        matches!(self.event, LinkEvent::Replaced { .. })
    }
}

impl RegistryState {
    /// Returns the route to a proxy that has registered with this bridge.
    fn route(&self, entry: &AliasEntry) -> Route {
        match self.link(entry) {
            Some(link) => Route::Link(link),
            None if self.is_dialed(entry.transport) => Route::Key(entry.key),
            None => Route::Disconnected,
        }
    }

    /// Returns true if a proxy that has registered over this transport is dialed by its key where it has no open link.
    fn is_dialed(&self, transport: Transport) -> bool {
        self.dials && transport != Transport::Quic
    }

    /// Returns true if scrapes of a proxy that has registered with this bridge fail for want of a link.
    fn is_disconnected(&self, entry: &AliasEntry) -> bool {
        let has_link = entry.link.is_some_and(|link| self.links.contains_key(&link));
        !has_link && !self.is_dialed(entry.transport)
    }

    fn link(&self, entry: &AliasEntry) -> Option<Link> {
        Some(self.links.get(&entry.link?)?.link.clone())
    }

    /// Returns the notifications that a registration causes.
    fn consequences(&mut self, entry: &AliasEntry, address: SocketAddr, change: &AliasChange) -> Vec<Notification> {
        let alias = entry.alias.to_string();
        if change.replaced.is_some() {
            self.apps.remove(&alias);
        }
        let mut notifications: Vec<Notification> = change.replaced.iter().map(|owner| self.replaced(owner, entry, address)).collect();
        for dropped in &change.dropped {
            self.apps.remove(dropped.alias.as_str());
            notifications.push(Notification {
                event: LinkEvent::Renamed {
                    peer: entry.key,
                    address,
                    alias: alias.clone(),
                    dropped: dropped.alias.to_string(),
                },
                to: Vec::new(),
            });
        }
        notifications.extend(change.restored.iter().map(|restored| self.restored(restored)));
        // A dial by key reaches one proxy, so a link with the same key and another alias belongs to another proxy.
        if entry.link.is_none() {
            let links = self.links_of.get(&entry.key).into_iter().flatten();
            let others = links.filter_map(|id| self.links.get(id)).filter(|other| other.alias != alias);
            notifications.extend(others.map(|other| shared_by_key(other, &alias, address)));
        }
        notifications
    }

    /// Notification that another key has taken an alias.
    fn replaced(&self, owner: &AliasEntry, by: &AliasEntry, address: SocketAddr) -> Notification {
        let alias = owner.alias.to_string();
        let message = LinkMessage::AliasLost(AliasLost {
            alias: alias.clone(),
            key: *by.key.as_bytes(),
            address: address.to_string(),
        });
        Notification {
            event: LinkEvent::Replaced {
                peer: owner.key,
                alias,
                by: by.key,
                address,
            },
            to: self.link(owner).map(|link| (link, message)).into_iter().collect(),
        }
    }

    /// Notification that a proxy holds its alias again.
    fn restored(&mut self, owner: &AliasEntry) -> Notification {
        let alias = owner.alias.to_string();
        self.apps.remove(&alias);
        let message = LinkMessage::AliasReturned(alias.clone());
        Notification {
            event: LinkEvent::Restored { peer: owner.key, alias },
            to: self.link(owner).map(|link| (link, message)).into_iter().collect(),
        }
    }
}

/// Notification to both ends that two links use one key.
fn shared_key(earlier: &ConnectedLink, later: &ConnectedLink) -> Notification {
    let to = |one: &ConnectedLink, other: &ConnectedLink| {
        let message = LinkMessage::SharedKey(SharedKey {
            alias: one.alias.clone(),
            address: one.address.to_string(),
            other_alias: other.alias.clone(),
            other_address: other.address.to_string(),
        });
        (one.link.clone(), message)
    };
    Notification {
        event: LinkEvent::KeyShared {
            peer: later.key,
            aliases: [earlier.alias.clone(), later.alias.clone()],
            addresses: [earlier.address, later.address].map(|address| address.to_string()),
        },
        to: vec![to(earlier, later), to(later, earlier)],
    }
}

/// Notification that a proxy on HyperDHT has registered with the key of a link. Only the link receives a message; HyperDHT has none.
fn shared_by_key(link: &ConnectedLink, alias: &str, address: SocketAddr) -> Notification {
    let message = LinkMessage::SharedKey(SharedKey {
        alias: link.alias.clone(),
        address: link.address.to_string(),
        other_alias: alias.to_owned(),
        other_address: address.to_string(),
    });
    Notification {
        event: LinkEvent::KeyShared {
            peer: link.key,
            aliases: [link.alias.clone(), alias.to_owned()],
            addresses: [link.address, address].map(|address| address.to_string()),
        },
        to: vec![(link.link.clone(), message)],
    }
}

/// Returns the wall clock time of an earlier moment.
fn before(clock: Timestamp, ago: Duration) -> Timestamp {
    Timestamp::from_millis(clock.as_millis().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)))
}

/// The route for scrapes of a proxy.
pub(super) enum Route {
    /// Over the link that registered its alias.
    Link(Link),
    /// By dialing the key over HyperDHT.
    Key(PublicKey),
    /// Over another bridge of the cluster.
    Bridge(BridgeMember),
    /// Over a link, which is not open.
    Disconnected,
}

/// The error for an alias without an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownAlias;

#[cfg(test)]
mod tests;
