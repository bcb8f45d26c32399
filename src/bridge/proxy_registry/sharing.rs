//! The registry as one bridge of a cluster: its own claims for the others, and theirs beside its table.
//!
//! Each bridge writes a record for each alias that a proxy of its own holds, and no other record, so that records never conflict. The
//! holder of an alias follows from all claims, at each bridge in the same way, by the order of the engine.

mod shared_registry;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Notification, RegistryState};
use crate::bridge::alias_table::{AliasChange, AliasEntry, AliasPolicy, AliasUnavailable, MAX_ALIASES, Transport};
use crate::bridge::remote_claims::{BridgeMember, RemoteClaim, RemoteClaims};
use crate::bridge::shared_claim::{ClaimOrder, SharedClaim, bridge_of, record_name};
use crate::model::AppName;
use crate::peer::{Alias, PublicKey};

pub use shared_registry::SharedRegistry;

/// Limit on the records that wait to be written, while the engine is away: the aliases of this bridge, and as many that it had.
const MAX_UNWRITTEN: usize = 2 * MAX_ALIASES;

/// The address in a notification about a claim without one.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// A record to write: the claim of this bridge on an alias, or the removal of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingClaim {
    /// The name of the record.
    pub name: AppName,
    /// The record; `None` removes it.
    pub record: Option<Bytes>,
    /// The age of the registration.
    pub age: Duration,
    /// The time after which the claim expires.
    pub ttl: Duration,
    /// At the removal of another bridge's record: the order of the record that is removed. Another one is a later one, and stays.
    pub replaces: Option<ClaimOrder>,
    /// The registration that the record is about.
    version: Option<(PublicKey, Instant)>,
}

/// A record as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingClaim {
    /// The name of the record.
    pub name: AppName,
    /// Its place in the order of the engine.
    pub order: ClaimOrder,
    /// The age of the registration when the record was written.
    pub age_when_written: Duration,
    /// The age of the registration now.
    pub age: Duration,
    /// The record; `None` for one that was removed.
    pub record: Option<Bytes>,
}

/// The outcome of reading a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimRead {
    /// The table has it now.
    Applied,
    /// It changes nothing.
    Skipped,
    /// It cannot be read, or the table is full.
    Refused,
}

/// The claim of this bridge on an alias.
#[derive(Debug)]
struct OwnClaim {
    key: PublicKey,
    renewed: Instant,
    address: Option<SocketAddr>,
    /// The orders as the engine has them; `None` before the record is written.
    since: Option<ClaimOrder>,
    registered: Option<ClaimOrder>,
    written: Option<ClaimOrder>,
    /// The order of a removal by another bridge that was read while a record was being written: it counts if it is the later one.
    removed: Option<ClaimOrder>,
}

/// The state that a bridge of a cluster has beside its table.
#[derive(Debug)]
pub(super) struct SharedState {
    id: Arc<str>,
    remote: RemoteClaims,
    /// Bounded by the aliases of the table.
    own: HashMap<Alias, OwnClaim>,
    /// The aliases in `own` by the names of their records.
    names: HashMap<AppName, Alias>,
    /// The names of the records to write. Bounded by [`MAX_UNWRITTEN`].
    unwritten: HashSet<AppName>,
    /// The names of the records that were taken to be written. The engine may have them or not. Bounded by the records that are written at a
    /// time.
    in_flight: HashSet<AppName>,
    /// True if a name was left out of `unwritten`: the engine has to be compared again.
    overflowed: bool,
}

impl SharedState {
    fn mark(&mut self, name: AppName) {
        if self.unwritten.len() < MAX_UNWRITTEN || self.unwritten.contains(&name) {
            self.unwritten.insert(name);
        } else {
            self.overflowed = true;
        }
    }

    /// Forgets a claim of another bridge, and has its record removed as it is known here.
    fn revoke(&mut self, name: AppName) {
        if self.remote.revoke(&name) {
            self.mark(name);
        } else {
            self.overflowed = true;
        }
    }

    /// Forgets the claim of this bridge on an alias. Returns the name of its record, if it has one.
    fn disown(&mut self, alias: &Alias) -> Option<AppName> {
        self.own.remove(alias)?;
        let name = record_name(&self.id, alias)?;
        self.names.remove(&name);
        Some(name)
    }
}

/// The claim that holds an alias.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder<'s> {
    /// A proxy that has registered with this bridge.
    Local(&'s AliasEntry),
    /// One that has registered with another bridge.
    Remote(&'s RemoteClaim),
}

impl<'s> Holder<'s> {
    /// The entry of the holder.
    pub(super) fn entry(self) -> Cow<'s, AliasEntry> {
        match self {
            Self::Local(entry) => Cow::Borrowed(entry),
            Self::Remote(claim) => Cow::Owned(claim.entry()),
        }
    }

    fn key(self) -> PublicKey {
        match self {
            Self::Local(entry) => entry.key,
            Self::Remote(claim) => claim.claim.key,
        }
    }
}

/// A claim in the choice of the holder.
#[derive(Clone, Copy)]
struct Candidate<'s> {
    holder: Holder<'s>,
    since: ClaimOrder,
    /// Reachable claims come first, then those that were registered later.
    rank: (bool, ClaimOrder),
}

/// The holder of an alias before or after a change.
struct HolderState {
    is_local: bool,
    entry: AliasEntry,
    address: Option<SocketAddr>,
}

impl RegistryState {
    /// Returns the claim that holds an alias.
    pub(super) fn holder(&self, alias: &str, now: Instant) -> Option<Holder<'_>> {
        let local = self.aliases.get(alias, now);
        let Some(shared) = &self.shared else {
            return local.map(Holder::Local);
        };
        let expiry = self.aliases.expiry();
        let remote = shared
            .remote
            .of(alias)
            .filter(|claim| now.saturating_duration_since(claim.renewed) < expiry)
            .map(|claim| Candidate {
                holder: Holder::Remote(claim),
                since: claim.since,
                rank: (shared.remote.is_reachable(claim), claim.registered),
            });
        let local = local.map(|entry| self.local_candidate(entry, shared));
        let mut candidates: Vec<Candidate<'_>> = local.into_iter().chain(remote).collect();
        if self.aliases.policy() == AliasPolicy::First {
            let first = candidates.iter().min_by_key(|candidate| candidate.since)?.holder.key();
            candidates.retain(|candidate| candidate.holder.key() == first);
        }
        let best = *candidates.iter().max_by_key(|candidate| candidate.rank)?;
        // A link of this bridge to the same proxy saves the way over another bridge.
        let is_same =
            |other: &&Candidate<'_>| matches!(other.holder, Holder::Local(_)) && other.holder.key() == best.holder.key() && other.rank.0;
        Some(candidates.iter().find(is_same).unwrap_or(&best).holder)
    }

    fn local_candidate<'s>(&self, entry: &'s AliasEntry, shared: &SharedState) -> Candidate<'s> {
        let own = shared.own.get(entry.alias.as_str()).filter(|own| own.key == entry.key);
        let is_reachable = match entry.transport {
            Transport::Hyperdht => true,
            Transport::Quic => self.link(entry).is_some(),
            Transport::Unknown => false,
        };
        let (since, registered) = match (own, entry.transport) {
            // The targets file names the last holder, which may not be the holder now.
            (_, Transport::Unknown) => (ClaimOrder::LAST, ClaimOrder::default()),
            // Until the engine has the record its order is not known: the alias stays with this bridge, and the answer to the write decides.
            (own, _) => (
                own.and_then(|own| own.since).unwrap_or_default(),
                own.and_then(|own| own.registered).unwrap_or(ClaimOrder::LAST),
            ),
        };
        Candidate {
            holder: Holder::Local(entry),
            since,
            rank: (is_reachable, registered),
        }
    }

    /// Returns the holders of all aliases that have not expired, sorted by alias.
    pub(super) fn holders(&self, now: Instant) -> Vec<Holder<'_>> {
        match &self.shared {
            None => self.aliases.live(now).map(Holder::Local).collect(),
            Some(shared) => {
                let local = self.aliases.live(now).map(|entry| entry.alias.as_str());
                let all: BTreeSet<&str> = local.chain(shared.remote.aliases().map(Alias::as_str)).collect();
                all.into_iter().filter_map(|alias| self.holder(alias, now)).collect()
            }
        }
    }

    /// Returns the number of aliases that have not expired.
    pub(super) fn count(&self, now: Instant) -> usize {
        match &self.shared {
            None => self.aliases.live(now).count(),
            Some(shared) => {
                let expiry = self.aliases.expiry();
                let is_live = |claim: &RemoteClaim| now.saturating_duration_since(claim.renewed) < expiry;
                let others = shared.remote.aliases().map(Alias::as_str);
                let others = others.filter(|alias| self.aliases.get(alias, now).is_none() && shared.remote.of(alias).any(&is_live));
                self.aliases.live(now).count() + others.count()
            }
        }
    }

    /// Returns the number of aliases that have not expired and have no link, so that scrapes fail. In a cluster each is counted by the
    /// bridge that its proxy has registered with, and by all others once that bridge has ended.
    pub(super) fn disconnected(&self, now: Instant) -> usize {
        let here = self.aliases.live(now).filter(|entry| self.is_disconnected(entry));
        let Some(shared) = &self.shared else { return here.count() };
        let is_held_here = |entry: &&AliasEntry| matches!(self.holder(entry.alias.as_str(), now), Some(Holder::Local(_)));
        let is_lost = |claim: &RemoteClaim| shared.remote.is_orphan(claim) && !self.is_dialed(claim.claim.transport);
        let is_held_by_lost = |alias: &&str| matches!(self.holder(alias, now), Some(Holder::Remote(claim)) if is_lost(claim));
        let elsewhere = shared.remote.aliases().map(Alias::as_str);
        // Few have such a claim, and the holder is found among all claims.
        let elsewhere = elsewhere.filter(|alias| shared.remote.of(alias).any(is_lost));
        here.filter(is_held_here).count() + elsewhere.filter(is_held_by_lost).count()
    }

    /// Returns the bridge over which a claim of another bridge is scraped, if it is there and reaches the proxy.
    pub(super) fn bridge_of(&self, claim: &RemoteClaim) -> Option<&BridgeMember> {
        let remote = &self.shared.as_ref()?.remote;
        remote.member(&claim.claim.bridge).filter(|_| remote.is_reachable(claim))
    }

    /// Checks a registration against the claims of other bridges.
    pub(super) fn check_shared(&self, entry: &AliasEntry, now: Instant) -> Result<(), AliasUnavailable> {
        if self.shared.is_none() || self.aliases.policy() != AliasPolicy::First {
            return Ok(());
        }
        match self.holder(entry.alias.as_str(), now) {
            Some(Holder::Remote(claim)) if claim.claim.key != entry.key => Err(AliasUnavailable::Owned(claim.claim.key)),
            _ => Ok(()),
        }
    }

    /// Has the claim of this bridge on an alias written, as it is now.
    pub(super) fn publish(&mut self, alias: &Alias, now: Instant) {
        self.publish_from(alias, None, now);
    }

    /// Has a registration and its effects written. Records that an ended bridge has left about the same proxy are removed.
    pub(super) fn publish_registration(&mut self, entry: &AliasEntry, address: SocketAddr, change: &AliasChange, now: Instant) {
        for other in change.dropped.iter().chain(&change.restored) {
            self.publish(&other.alias, now);
        }
        self.publish_from(&entry.alias, Some(address), now);
        let Some(shared) = &mut self.shared else { return };
        let is_orphan = |claim: &&RemoteClaim| shared.remote.is_orphan(claim);
        let orphans: Vec<AppName> = shared
            .remote
            .of_key(&entry.key)
            .filter(is_orphan)
            .map(|claim| claim.name.clone())
            .collect();
        orphans.into_iter().for_each(|name| shared.revoke(name));
    }

    fn publish_from(&mut self, alias: &Alias, address: Option<SocketAddr>, now: Instant) {
        let Some(shared) = &mut self.shared else { return };
        let held = self.aliases.get(alias.as_str(), now);
        let Some(entry) = held.filter(|entry| entry.transport != Transport::Unknown) else {
            if let Some(name) = shared.disown(alias) {
                shared.mark(name);
            }
            return;
        };
        let Some(name) = record_name(&shared.id, alias) else { return };
        let unwritten = OwnClaim {
            key: entry.key,
            renewed: entry.renewed,
            address,
            since: None,
            registered: None,
            written: None,
            removed: None,
        };
        match shared.own.get_mut(alias) {
            Some(own) if own.key == entry.key => {
                if own.renewed != entry.renewed {
                    (own.renewed, own.registered) = (entry.renewed, None);
                }
                own.address = address.or(own.address);
            }
            Some(own) => {
                *own = OwnClaim {
                    written: own.written,
                    ..unwritten
                };
            }
            None => {
                shared.own.insert(alias.clone(), unwritten);
                shared.names.insert(name.clone(), alias.clone());
            }
        }
        shared.mark(name);
    }

    /// Forgets the claims of other bridges on an alias, and has their records removed. Returns true if there were any.
    pub(super) fn forget_remote(&mut self, alias: &str) -> bool {
        let Some(shared) = &mut self.shared else { return false };
        let names: Vec<AppName> = shared.remote.of(alias).map(|claim| claim.name.clone()).collect();
        let is_known = !names.is_empty();
        names.into_iter().for_each(|name| shared.revoke(name));
        is_known
    }

    /// Forgets the claims that have expired here, as all bridges do. Returns true if there were any of other bridges.
    pub(super) fn expire_shared(&mut self, gone: &[AliasEntry], now: Instant) -> bool {
        let expiry = self.aliases.expiry();
        let Some(shared) = &mut self.shared else { return false };
        for entry in gone {
            if self.aliases.get(entry.alias.as_str(), now).is_none() {
                shared.disown(&entry.alias);
            }
        }
        !shared.remote.expire(expiry, now).is_empty()
    }

    fn holder_state(&self, alias: &Alias, now: Instant) -> Option<HolderState> {
        let holder = self.holder(alias.as_str(), now)?;
        Some(HolderState {
            is_local: matches!(holder, Holder::Local(_)),
            entry: holder.entry().into_owned(),
            address: match holder {
                Holder::Local(_) => None,
                Holder::Remote(claim) => claim.claim.address,
            },
        })
    }

    /// Makes a change that concerns the claims of other bridges, and returns the notifications for the proxies of this one.
    fn transition(&mut self, aliases: &[Alias], now: Instant, change: impl FnOnce(&mut Self)) -> Vec<Notification> {
        let before: Vec<_> = aliases.iter().map(|alias| self.holder_state(alias, now)).collect();
        change(self);
        let mut notifications = Vec::new();
        for (alias, before) in aliases.iter().zip(before) {
            let (Some(before), Some(after)) = (before, self.holder_state(alias, now)) else {
                continue;
            };
            if before.entry.key == after.entry.key {
                continue;
            }
            if before.is_local && !after.is_local && before.entry.transport != Transport::Unknown {
                self.apps.remove(alias.as_str());
                notifications.push(self.replaced(&before.entry, &after.entry, after.address.unwrap_or(NO_ADDRESS)));
                if self.aliases.policy() == AliasPolicy::First {
                    // Two bridges have taken the alias at the same time, and the other one was first: its key keeps it.
                    self.aliases.forget(alias.as_str(), now);
                    self.publish(alias, now);
                }
            } else if !before.is_local && after.is_local {
                notifications.push(self.restored(&after.entry));
            }
        }
        notifications
    }

    /// The record of an alias, as it is to be written; `None` for one of another bridge that is not to be removed any more.
    fn outgoing(&self, name: AppName, now: Instant) -> Option<OutgoingClaim> {
        let shared = self.shared.as_ref()?;
        let removal = |name, replaces| OutgoingClaim {
            name,
            record: None,
            age: Duration::ZERO,
            ttl: Duration::ZERO,
            replaces,
            version: None,
        };
        if bridge_of(&name) != &*shared.id {
            let seen = shared.remote.revoked(&name)?;
            return Some(removal(name, Some(seen)));
        }
        let found = shared
            .names
            .get(&name)
            .and_then(|alias| Some((self.aliases.get(alias.as_str(), now)?, shared.own.get(alias)?)));
        let Some((entry, own)) = found.filter(|(entry, own)| entry.key == own.key) else {
            return Some(removal(name, None));
        };
        let claim = SharedClaim {
            alias: entry.alias.clone(),
            key: entry.key,
            hostname: entry.hostname.clone(),
            service: entry.service.clone(),
            transport: entry.transport,
            connected: entry.transport == Transport::Hyperdht || self.link(entry).is_some(),
            address: own.address,
            bridge: shared.id.to_string(),
            since: own.since,
            registered: own.registered,
        };
        Some(OutgoingClaim {
            name,
            record: Some(claim.encode()),
            age: now.saturating_duration_since(entry.renewed),
            ttl: self.aliases.expires(entry).saturating_duration_since(now),
            replaces: None,
            version: Some((entry.key, entry.renewed)),
        })
    }

    /// Notes that the engine has a record. Returns true if another bridge has removed it since.
    fn note_written(&mut self, claim: &OutgoingClaim, order: ClaimOrder) -> bool {
        let Some(shared) = &mut self.shared else { return false };
        shared.in_flight.remove(&claim.name);
        shared.remote.removed(&claim.name, order);
        let Some(own) = shared.names.get(&claim.name).and_then(|alias| shared.own.get_mut(alias)) else {
            return false;
        };
        own.written = Some(order);
        let removed = own.removed.take();
        let Some((key, renewed)) = claim.version else { return false };
        if own.key == key {
            own.since.get_or_insert(order);
        }
        if (own.key, own.renewed) == (key, renewed) {
            own.registered.get_or_insert(earlier(order, claim.age));
        }
        own.registered.is_some() && removed.is_some_and(|removed| removed > order)
    }

    /// Forgets the claim of this bridge on an alias, of which another bridge has removed the record. Returns the notification of the proxy that
    /// holds it again.
    fn forget_own(&mut self, alias: &Alias, now: Instant) -> Option<Notification> {
        let shared = self.shared.as_mut()?;
        let name = shared.disown(alias)?;
        if shared.in_flight.contains(&name) {
            // The record that is being written now goes as well.
            shared.mark(name);
        }
        tracing::info!(%alias, "forgotten by request at another bridge");
        self.apps.remove(alias.as_str());
        let (_, restored) = self.aliases.forget(alias.as_str(), now)?;
        let restored = restored?;
        self.publish(alias, now);
        Some(self.restored(&restored))
    }

    /// Takes a record of another bridge, or a removal.
    fn put_remote(&mut self, claim: Option<RemoteClaim>, name: &AppName) -> bool {
        let Some(shared) = &mut self.shared else { return false };
        match claim {
            Some(claim) => shared.remote.put(claim),
            None => shared.remote.remove(name).is_some(),
        }
    }
}

/// The order of a moment before a record was written.
fn earlier(order: ClaimOrder, ago: Duration) -> ClaimOrder {
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    ClaimOrder {
        millis: order.millis.saturating_sub(ago),
        ..order
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
