//! The claims of the other bridges of a cluster on aliases. Pure: time is a monotonic argument.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::alias_table::{AliasEntry, MAX_ALIASES};
use super::relay::ForwardKey;
use super::shared_claim::{ClaimOrder, SharedClaim};
use crate::model::AppName;
use crate::peer::{Alias, PublicKey};

/// Limit on the claims of all other bridges: as many as two bridges with a full table have.
const MAX_CLAIMS: usize = 2 * MAX_ALIASES;

/// A bridge of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeMember {
    /// Its id, another one for each run.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// The address of its HTTP port, if it has one.
    pub http: Option<SocketAddr>,
    /// True if that port is encrypted.
    pub tls: bool,
    /// The key by which other bridges prove to it that they may forward scrapes.
    pub key: ForwardKey,
}

/// A claim of another bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteClaim {
    pub(super) name: AppName,
    pub(super) claim: SharedClaim,
    pub(super) since: ClaimOrder,
    pub(super) registered: ClaimOrder,
    /// The order of its record.
    pub(super) written: ClaimOrder,
    /// The time of the last registration, by the clock of this process.
    pub(super) renewed: Instant,
}

/// A claim that is to be removed from the engine, as it was when it was forgotten here.
#[derive(Debug, Clone, Copy)]
struct Revocation {
    key: PublicKey,
    registered: ClaimOrder,
    /// The order of its record, as it was read last.
    written: ClaimOrder,
    renewed: Instant,
}

impl RemoteClaim {
    /// The claim as an entry of the table, without a link.
    pub(super) fn entry(&self) -> AliasEntry {
        AliasEntry {
            alias: self.claim.alias.clone(),
            key: self.claim.key,
            hostname: self.claim.hostname.clone(),
            service: self.claim.service.clone(),
            transport: self.claim.transport,
            link: None,
            renewed: self.renewed,
        }
    }
}

/// The table of the claims of other bridges.
#[derive(Debug, Default)]
pub(super) struct RemoteClaims {
    /// Bounded by [`MAX_CLAIMS`].
    claims: HashMap<AppName, RemoteClaim>,
    by_alias: BTreeMap<Alias, Vec<AppName>>,
    by_key: HashMap<PublicKey, Vec<AppName>>,
    /// The claims to remove from the engine, until it has removed them. Bounded by [`MAX_CLAIMS`].
    revoked: HashMap<AppName, Revocation>,
    /// The bridges that were there at the last heartbeat, without this one; `None` before the first one.
    members: Option<HashMap<String, BridgeMember>>,
}

impl RemoteClaims {
    /// Adds a claim, or replaces the earlier one of the same bridge. False if the table is full.
    pub(super) fn put(&mut self, claim: RemoteClaim) -> bool {
        if self.claims.len() >= MAX_CLAIMS && !self.claims.contains_key(&claim.name) {
            return false;
        }
        self.remove(&claim.name);
        self.by_alias.entry(claim.claim.alias.clone()).or_default().push(claim.name.clone());
        self.by_key.entry(claim.claim.key).or_default().push(claim.name.clone());
        self.claims.insert(claim.name.clone(), claim);
        true
    }

    /// Returns the claim of a name.
    pub(super) fn get(&self, name: &AppName) -> Option<&RemoteClaim> {
        self.claims.get(name)
    }

    /// Removes the claim of a name, and returns it.
    pub(super) fn remove(&mut self, name: &AppName) -> Option<RemoteClaim> {
        let gone = self.claims.remove(name)?;
        if let Some(names) = self.by_alias.get_mut(gone.claim.alias.as_str()) {
            names.retain(|other| other != name);
            if names.is_empty() {
                self.by_alias.remove(gone.claim.alias.as_str());
            }
        }
        if let Some(names) = self.by_key.get_mut(&gone.claim.key) {
            names.retain(|other| other != name);
            if names.is_empty() {
                self.by_key.remove(&gone.claim.key);
            }
        }
        Some(gone)
    }

    /// Removes the claim of a name, which is to be removed from the engine as well. Returns false if too many of them wait for that.
    pub(super) fn revoke(&mut self, name: &AppName) -> bool {
        let Some(gone) = self.remove(name) else { return true };
        if self.revoked.len() >= MAX_CLAIMS && !self.revoked.contains_key(name) {
            return false;
        }
        let revocation = Revocation {
            key: gone.claim.key,
            registered: gone.registered,
            written: gone.written,
            renewed: gone.renewed,
        };
        self.revoked.insert(gone.name, revocation);
        true
    }

    /// Returns the order of the record that is to be removed from the engine, if there is one.
    pub(super) fn revoked(&self, name: &AppName) -> Option<ClaimOrder> {
        self.revoked.get(name).map(|revocation| revocation.written)
    }

    /// Compares a claim that was read with the one of its name that is to be removed. Returns true if they are the same registration, which its
    /// bridge has only written again: this record is to be removed then. Another registration came after the removal, and stays.
    pub(super) fn is_revoked(&mut self, claim: &RemoteClaim) -> bool {
        let Some(revocation) = self.revoked.get_mut(&claim.name) else {
            return false;
        };
        let is_same = (revocation.key, revocation.registered) == (claim.claim.key, claim.registered);
        if is_same {
            revocation.written = claim.written;
        } else {
            self.revoked.remove(&claim.name);
        }
        is_same
    }

    /// Notes that the engine has removed the record of a name, with this order.
    pub(super) fn removed(&mut self, name: &AppName, order: ClaimOrder) {
        if self.revoked(name).is_some_and(|written| written < order) {
            self.revoked.remove(name);
        }
    }

    /// Returns the claims on an alias.
    pub(super) fn of<'s>(&'s self, alias: &str) -> impl Iterator<Item = &'s RemoteClaim> + use<'s> {
        self.by_alias
            .get(alias)
            .into_iter()
            .flatten()
            .filter_map(|name| self.claims.get(name))
    }

    /// Returns the claims of a key.
    pub(super) fn of_key(&self, key: &PublicKey) -> impl Iterator<Item = &RemoteClaim> {
        self.by_key.get(key).into_iter().flatten().filter_map(|name| self.claims.get(name))
    }

    /// Returns all aliases with claims, sorted.
    pub(super) fn aliases(&self) -> impl Iterator<Item = &Alias> {
        self.by_alias.keys()
    }

    /// Removes the claims that were not renewed within `expiry`, and returns their aliases.
    pub(super) fn expire(&mut self, expiry: Duration, now: Instant) -> Vec<Alias> {
        self.revoked
            .retain(|_, revocation| now.saturating_duration_since(revocation.renewed) < expiry);
        let is_old = |claim: &&RemoteClaim| now.saturating_duration_since(claim.renewed) >= expiry;
        let old: Vec<AppName> = self.claims.values().filter(is_old).map(|claim| claim.name.clone()).collect();
        let gone = old.iter().filter_map(|name| self.remove(name));
        gone.map(|claim| claim.claim.alias).collect()
    }

    /// Replaces the list of bridges that are there.
    pub(super) fn set_members(&mut self, members: HashMap<String, BridgeMember>) {
        self.members = Some(members);
    }

    /// Returns a bridge that is there.
    pub(super) fn member(&self, id: &str) -> Option<&BridgeMember> {
        self.members.as_ref()?.get(id)
    }

    /// Returns the aliases with claims of bridges that have come or gone in comparison with this list.
    pub(super) fn concerned(&self, members: &HashMap<String, BridgeMember>) -> Vec<Alias> {
        let differs = |claim: &&RemoteClaim| self.member(&claim.claim.bridge).is_some() != members.contains_key(&claim.claim.bridge);
        self.claims
            .values()
            .filter(differs)
            .map(|claim| claim.claim.alias.clone())
            .collect()
    }

    /// Returns true if the bridge of a claim has certainly ended.
    pub(super) fn is_orphan(&self, claim: &RemoteClaim) -> bool {
        self.members
            .as_ref()
            .is_some_and(|members| !members.contains_key(&claim.claim.bridge))
    }

    /// Returns true if the bridge of a claim is there and reaches the proxy.
    pub(super) fn is_reachable(&self, claim: &RemoteClaim) -> bool {
        claim.claim.connected && self.member(&claim.claim.bridge).is_some()
    }
}

#[cfg(test)]
mod tests;
