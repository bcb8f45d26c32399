//! The handle of a cluster to the registry: records to write, and those of other bridges.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::{ClaimRead, IncomingClaim, OutgoingClaim, SharedState, earlier};
use crate::bridge::alias_table::Transport;
use crate::bridge::proxy_registry::{Notification, ProxyRegistry};
use crate::bridge::remote_claims::{BridgeMember, RemoteClaim, RemoteClaims};
use crate::bridge::shared_claim::{ClaimOrder, SharedClaim, bridge_of, record_name};
use crate::model::AppName;

/// The registry of a bridge for the cluster that it belongs to.
#[derive(Clone)]
pub struct SharedRegistry(Arc<ProxyRegistry>);

impl std::fmt::Debug for SharedRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedRegistry").finish_non_exhaustive()
    }
}

impl SharedRegistry {
    /// Makes a registry that of a bridge of a cluster, with the id of its records, which must be another one in each run.
    pub(in crate::bridge) fn new(registry: Arc<ProxyRegistry>, id: &str) -> Self {
        registry.lock().shared = Some(SharedState {
            id: id.into(),
            remote: RemoteClaims::default(),
            own: HashMap::new(),
            names: HashMap::new(),
            unwritten: HashSet::new(),
            in_flight: HashSet::new(),
            overflowed: false,
        });
        Self(registry)
    }

    fn with<T>(&self, read: impl FnOnce(&mut SharedState) -> T) -> Option<T> {
        self.0.lock().shared.as_mut().map(read)
    }

    /// The number of aliases of all bridges.
    #[must_use]
    pub fn aliases(&self) -> usize {
        self.0.lock().count(Instant::now())
    }

    /// The number of records to write.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.with(|shared| shared.unwritten.len()).unwrap_or_default()
    }

    /// Resolves when there may be records to write.
    pub async fn arrived(&self) {
        self.0.to_write.notified().await;
    }

    /// Takes records to write, no more than `most`. Those that are not [written](Self::written), because the connection or the caller ended
    /// before, are taken again after the next [`SharedRegistry::reconcile`].
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<OutgoingClaim> {
        let now = Instant::now();
        let mut state = self.0.lock();
        loop {
            let Some(shared) = &mut state.shared else { return Vec::new() };
            let names: Vec<AppName> = shared.unwritten.iter().take(most).cloned().collect();
            for name in &names {
                shared.unwritten.remove(name);
            }
            let is_last = names.is_empty();
            let claims: Vec<OutgoingClaim> = names.into_iter().filter_map(|name| state.outgoing(name, now)).collect();
            // None of them may be left to write, with others behind them.
            if is_last || !claims.is_empty() {
                if let Some(shared) = &mut state.shared {
                    shared.in_flight.extend(claims.iter().map(|claim| claim.name.clone()));
                }
                return claims;
            }
        }
    }

    /// Notes that the engine has a record, with its place in the order.
    pub fn written(&self, claim: &OutgoingClaim, order: ClaimOrder) {
        let now = Instant::now();
        let notifications = {
            let mut state = self.0.lock();
            let alias = state.shared.as_ref().and_then(|shared| shared.names.get(&claim.name).cloned());
            let mut is_removed = false;
            let mut notifications = state.transition(alias.as_slice(), now, |state| is_removed = state.note_written(claim, order));
            if let Some(alias) = alias.filter(|_| is_removed) {
                notifications.extend(state.forget_own(&alias, now));
            }
            notifications
        };
        self.0.after(notifications);
    }

    /// Notes that the engine has another record than the one that was to be removed. That record is among the changes to
    /// [apply](Self::apply), which decides about it.
    pub fn superseded(&self, claim: &OutgoingClaim) {
        self.with(|shared| shared.in_flight.remove(&claim.name));
    }

    /// True if more records have changed than are kept: all have to be compared with the engine again.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.with(|shared| shared.overflowed).unwrap_or_default()
    }

    /// Compares the records of this bridge with those that the engine has, after all of them were read: writes those that it lacks or has
    /// as others, and removes those without a claim. Those with a write that has not ended are written again, because the engine may have an
    /// earlier record of the same claim.
    pub fn reconcile(&self, there: &HashMap<AppName, ClaimOrder>) {
        self.with(|shared| {
            shared.overflowed = false;
            let lacking: Vec<AppName> = shared
                .names
                .iter()
                .filter(|(name, alias)| {
                    let written = shared.own.get(alias.as_str()).and_then(|own| own.written);
                    written.is_none() || there.get(*name) != written.as_ref()
                })
                .map(|(name, _)| name.clone())
                .collect();
            let left = there
                .keys()
                .filter(|name| bridge_of(name) == &*shared.id && !shared.names.contains_key(*name))
                .cloned();
            let left: Vec<AppName> = left.collect();
            let in_flight = std::mem::take(&mut shared.in_flight);
            lacking.into_iter().chain(left).chain(in_flight).for_each(|name| shared.mark(name));
        });
        self.0.to_write.notify_one();
    }

    /// Takes a record as the engine has it. `is_followed` is true for one that was just written.
    pub fn apply(&self, incoming: &IncomingClaim, is_followed: bool) -> ClaimRead {
        let now = Instant::now();
        let mut state = self.0.lock();
        let Some(shared) = &state.shared else { return ClaimRead::Skipped };
        if bridge_of(&incoming.name) == &*shared.id {
            drop(state);
            return self.forgotten(incoming, is_followed, now);
        }
        let expiry = state.aliases.expiry();
        let known = shared.remote.get(&incoming.name).map(|known| known.claim.alias.clone());
        let claim = match &incoming.record {
            None => None,
            Some(record) => {
                let decoded =
                    SharedClaim::decode(record).filter(|claim| record_name(&claim.bridge, &claim.alias).as_ref() == Some(&incoming.name));
                let Some(claim) = decoded else { return ClaimRead::Refused };
                let remote = RemoteClaim {
                    name: incoming.name.clone(),
                    since: claim.since.unwrap_or(incoming.order),
                    registered: claim
                        .registered
                        .unwrap_or_else(|| earlier(incoming.order, incoming.age_when_written)),
                    written: incoming.order,
                    renewed: now.checked_sub(incoming.age).unwrap_or(now),
                    claim,
                };
                Some(remote).filter(|_| incoming.age < expiry)
            }
        };
        if let Some(shared) = &mut state.shared {
            match &claim {
                None => shared.remote.removed(&incoming.name, incoming.order),
                Some(claim) if shared.remote.is_revoked(claim) => {
                    shared.mark(incoming.name.clone());
                    drop(state);
                    self.0.to_write.notify_one();
                    return ClaimRead::Skipped;
                }
                Some(_) => {}
            }
        }
        let alias = claim.as_ref().map(|claim| claim.claim.alias.clone()).or(known);
        let Some(alias) = alias else { return ClaimRead::Skipped };
        let here = state.aliases.get(alias.as_str(), now);
        if here.is_some_and(|entry| entry.transport == Transport::Unknown) {
            // The record says more than the targets file of the last run, and later.
            state.aliases.forget(alias.as_str(), now);
        }
        let moved = claim
            .as_ref()
            .filter(|claim| is_followed && claim.claim.connected)
            .map(RemoteClaim::entry);
        let is_removal = claim.is_none();
        let mut is_stored = false;
        let mut notifications = state.transition(&[alias], now, |state| is_stored = state.put_remote(claim, &incoming.name));
        if let Some(entry) = moved.filter(|_| is_stored) {
            // The proxy has registered another alias there; what is left here without a link is its earlier one.
            let (dropped, restored) = state.aliases.moved_away(&entry);
            dropped.iter().chain(&restored).for_each(|other| state.publish(&other.alias, now));
            notifications.extend(restored.iter().map(|restored| state.restored(restored)));
        }
        drop(state);
        self.0.after(notifications);
        match (is_stored, is_removal) {
            (true, _) => ClaimRead::Applied,
            (false, true) => ClaimRead::Skipped,
            (false, false) => ClaimRead::Refused,
        }
    }

    /// Takes the removal of a record of this bridge by another one, at which the alias was forgotten.
    fn forgotten(&self, incoming: &IncomingClaim, is_followed: bool, now: Instant) -> ClaimRead {
        let mut state = self.0.lock();
        let Some(shared) = &mut state.shared else {
            return ClaimRead::Skipped;
        };
        let Some(alias) = shared.names.get(&incoming.name).cloned() else {
            return ClaimRead::Skipped;
        };
        let Some(own) = shared.own.get_mut(&alias).filter(|_| incoming.record.is_none()) else {
            return ClaimRead::Skipped;
        };
        if own.registered.is_none() {
            // A registration that the engine does not have yet comes after the removal. The order of one that is being written is known in a
            // moment; one that the last session did not get written is written again.
            own.removed = Some(incoming.order).filter(|_| is_followed && shared.in_flight.contains(&incoming.name));
            return ClaimRead::Skipped;
        }
        if own.written.is_none_or(|written| written >= incoming.order) {
            return ClaimRead::Skipped;
        }
        let notification = state.forget_own(&alias, now);
        drop(state);
        self.0.after(notification.into_iter().collect());
        ClaimRead::Applied
    }

    /// Takes the list of the bridges that are there.
    pub fn set_members(&self, members: impl IntoIterator<Item = BridgeMember>) {
        let now = Instant::now();
        let notifications = {
            let mut state = self.0.lock();
            let Some(shared) = &state.shared else { return };
            let others = members.into_iter().filter(|member| member.id != *shared.id);
            let members: HashMap<String, BridgeMember> = others.map(|member| (member.id.clone(), member)).collect();
            let concerned = shared.remote.concerned(&members);
            state.transition(&concerned, now, |state| {
                if let Some(shared) = &mut state.shared {
                    shared.remote.set_members(members);
                }
            })
        };
        self.0.after(notifications);
    }
}

impl ProxyRegistry {
    /// Emits what a change by another bridge causes, and has the targets file looked after.
    fn after(&self, notifications: Vec<Notification>) {
        let takeovers = notifications.iter().filter(|notification| notification.is_takeover()).count();
        self.telemetry.bridge_takeovers_total.add(takeovers as u64);
        self.notify(notifications);
        self.changed.notify_one();
        self.to_write.notify_one();
    }
}
