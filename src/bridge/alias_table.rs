//! The alias table: the key that holds each alias, its transport and its expiry. Pure: time is a monotonic argument.
//!
//! An alias keeps the claims of all proxies that registered it and are still reachable. The newest claim holds the alias. When it is
//! removed, the next older claim holds the alias again, without a new registration.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::peer::{Alias, PublicKey};

/// Limit on aliases. Their entries take less than 100 MB, and Prometheus still reads a targets file of this size.
pub(super) const MAX_ALIASES: usize = 100_000;

/// Limit on claims of one alias. More than two mean a misconfiguration; beyond the limit the oldest claim is dropped.
const MAX_CLAIMS: usize = 8;

/// Decides whether another key can take an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AliasPolicy {
    /// The newest registration holds the alias.
    #[default]
    Replace,
    /// The alias stays with its key until the entry expires.
    First,
}

/// The number of a link, unique within a run.
pub(super) type LinkId = u64;

/// The transport of a registration, which is also the transport of its scrapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// QUIC: scraped over the link that registered.
    Quic,
    /// HyperDHT: scraped by dialing the key.
    Hyperdht,
    /// Unknown, because the targets file of the last run does not contain it: scraped by dialing the key until the proxy registers.
    Unknown,
}

/// The registration of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AliasEntry {
    pub(super) alias: Alias,
    pub(super) key: PublicKey,
    pub(super) hostname: String,
    pub(super) service: String,
    pub(super) transport: Transport,
    /// The link that registered the alias, while it is open. The alias is served over no other link.
    pub(super) link: Option<LinkId>,
    /// The time of the last registration, or of reading the targets file.
    pub(super) renewed: Instant,
}

impl AliasEntry {
    /// Returns true if a registration differs from an earlier one.
    fn differs(&self, before: &Self) -> bool {
        (&self.key, &self.hostname, &self.service) != (&before.key, &before.hostname, &before.service)
    }
}

/// The reason for refusing a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AliasUnavailable {
    /// Another key holds the alias, and the policy is [`AliasPolicy::First`].
    #[error("the alias is taken by the key {0} until its entry expires (bridge.alias_policy)")]
    Owned(PublicKey),
    /// The table has [`MAX_ALIASES`] aliases.
    #[error("the bridge has reached its limit of {MAX_ALIASES} aliases")]
    Full,
}

/// The effects of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AliasChange {
    /// True if the registration differs from the previous one.
    pub(super) updated: bool,
    /// The entry of another key that held the alias until now.
    pub(super) replaced: Option<AliasEntry>,
    /// The earlier aliases of the same proxy, now dropped.
    pub(super) dropped: Vec<AliasEntry>,
    /// The entries that hold their alias again because another entry was dropped.
    pub(super) restored: Vec<AliasEntry>,
}

/// The alias table.
#[derive(Debug)]
pub(super) struct AliasTable {
    /// The claims of each alias, between one and [`MAX_CLAIMS`], ordered by renewal. The last one holds the alias. All others are
    /// reachable, over a link or by key.
    claims: BTreeMap<Alias, Vec<AliasEntry>>,
    /// The aliases of each key.
    by_key: HashMap<PublicKey, Vec<Alias>>,
    /// The alias of each link.
    by_link: HashMap<LinkId, Alias>,
    /// Aliases dropped in favor of another alias of the same key over HyperDHT, and the end of their reservation. [`AliasPolicy::First`]
    /// keeps them for the key, because a registration over HyperDHT does not prove the key.
    reserved: BTreeMap<Alias, (PublicKey, Instant)>,
    policy: AliasPolicy,
    expiry: Duration,
    /// The end of the time in which an entry of the targets file holds its alias under [`AliasPolicy::First`] without a registration.
    file_grace_until: Instant,
}

impl AliasTable {
    /// Creates an empty table. Entries of the targets file count as held for `file_grace`, the time in which proxies reconnect.
    pub(super) fn new(policy: AliasPolicy, expiry: Duration, now: Instant, file_grace: Duration) -> Self {
        Self {
            claims: BTreeMap::new(),
            by_key: HashMap::new(),
            by_link: HashMap::new(),
            reserved: BTreeMap::new(),
            policy,
            expiry,
            file_grace_until: now + file_grace,
        }
    }

    /// Replaces the policy and the time after which entries expire. Claims and reservations stay.
    pub(super) fn set_policy(&mut self, policy: AliasPolicy, expiry: Duration) {
        self.policy = policy;
        self.expiry = expiry;
    }

    /// Returns the policy.
    pub(super) fn policy(&self) -> AliasPolicy {
        self.policy
    }

    /// Returns the time after the last registration at which an entry expires.
    pub(super) fn expiry(&self) -> Duration {
        self.expiry
    }

    fn is_live(&self, entry: &AliasEntry, now: Instant) -> bool {
        now.saturating_duration_since(entry.renewed) < self.expiry
    }

    /// Returns the entry that holds an alias, unless it has expired.
    pub(super) fn get(&self, alias: &str, now: Instant) -> Option<&AliasEntry> {
        self.claims.get(alias)?.last().filter(|entry| self.is_live(entry, now))
    }

    /// Returns all aliases that have not expired, sorted.
    pub(super) fn live(&self, now: Instant) -> impl Iterator<Item = &AliasEntry> {
        self.claims
            .values()
            .filter_map(|claims| claims.last())
            .filter(move |entry| self.is_live(entry, now))
    }

    /// Returns the time at which an entry expires.
    pub(super) fn expires(&self, entry: &AliasEntry) -> Instant {
        entry.renewed + self.expiry
    }

    /// Adds a registration.
    ///
    /// # Errors
    ///
    /// If another key holds the alias under [`AliasPolicy::First`], or the table is full.
    pub(super) fn register(&mut self, entry: AliasEntry) -> Result<AliasChange, AliasUnavailable> {
        let now = entry.renewed;
        self.check(&entry, now)?;
        let (dropped, restored) = self.drop_earlier(&entry);
        let before = self.get(entry.alias.as_str(), now).cloned();
        let updated = before.as_ref().is_none_or(|before| entry.differs(before));
        let replaced = before.filter(|before| before.key != entry.key);
        self.reserved.remove(entry.alias.as_str());
        self.claim(entry);
        Ok(AliasChange {
            updated,
            replaced,
            dropped,
            restored,
        })
    }

    /// Checks a registration against the policy and the limit.
    fn check(&self, entry: &AliasEntry, now: Instant) -> Result<(), AliasUnavailable> {
        if self.policy == AliasPolicy::First {
            // The targets file names the last holder of the alias, which may not be its holder now.
            let counts = |held: &&AliasEntry| held.transport != Transport::Unknown || now < self.file_grace_until;
            if let Some(held) = self.get(entry.alias.as_str(), now).filter(counts)
                && held.key != entry.key
            {
                return Err(AliasUnavailable::Owned(held.key));
            }
            if let Some((key, until)) = self.reserved.get(entry.alias.as_str())
                && *key != entry.key
                && now < *until
            {
                return Err(AliasUnavailable::Owned(*key));
            }
        }
        let is_new = !self.claims.contains_key(entry.alias.as_str());
        if is_new && self.claims.len() + self.reserved.len() >= MAX_ALIASES {
            return Err(AliasUnavailable::Full);
        }
        Ok(())
    }

    /// Drops the earlier aliases of the registering proxy. An alias registered by another link with the same key belongs to another
    /// proxy.
    fn drop_earlier(&mut self, entry: &AliasEntry) -> (Vec<AliasEntry>, Vec<AliasEntry>) {
        let (mut dropped, mut restored) = (Vec::new(), Vec::new());
        let others: Vec<Alias> = self.by_key.get(&entry.key).into_iter().flatten().cloned().collect();
        for alias in others.into_iter().filter(|alias| *alias != entry.alias) {
            let Some(claims) = self.claims.get_mut(&alias) else { continue };
            let held = claims.last().cloned();
            for claim in claims
                .iter_mut()
                .filter(|claim| claim.key == entry.key && claim.transport == Transport::Hyperdht)
            {
                if claim.link.is_some() && entry.link.is_none() {
                    // A dial by key reaches the proxy under the new alias only; the link keeps its alias.
                    claim.transport = Transport::Quic;
                }
            }
            let is_earlier = |claim: &AliasEntry| claim.key == entry.key && (claim.link.is_none() || claim.link == entry.link);
            if !claims.iter().any(is_earlier) {
                continue;
            }
            claims.retain(|claim| !is_earlier(claim));
            let holder = claims.last().cloned();
            // The new claim of this link is added after this.
            self.remove_unused(&alias, &entry.key);
            let Some(held) = held.filter(is_earlier) else { continue };
            if self.policy == AliasPolicy::First && entry.transport == Transport::Hyperdht {
                let until = self.expires(&held);
                self.reserved.insert(alias, (held.key, until));
            }
            dropped.push(held);
            restored.extend(holder);
        }
        (dropped, restored)
    }

    /// Drops the earlier aliases of a proxy that has registered this entry with another bridge. Returns them, and the entries that hold
    /// their alias again because of it.
    pub(super) fn moved_away(&mut self, entry: &AliasEntry) -> (Vec<AliasEntry>, Vec<AliasEntry>) {
        self.drop_earlier(entry)
    }

    /// Adds an alias from the targets file of the last run.
    ///
    /// # Errors
    ///
    /// If the file names the alias twice, or the table is full.
    pub(super) fn restore(&mut self, entry: AliasEntry) -> Result<(), AliasUnavailable> {
        if let Some(before) = self.claims.get(entry.alias.as_str()).and_then(|claims| claims.last()) {
            return Err(AliasUnavailable::Owned(before.key));
        }
        if self.claims.len() >= MAX_ALIASES {
            return Err(AliasUnavailable::Full);
        }
        self.claim(entry);
        Ok(())
    }

    /// Adds a claim as the holder of its alias, replacing the earlier claim of the same proxy.
    fn claim(&mut self, mut entry: AliasEntry) {
        let (alias, key) = (entry.alias.clone(), entry.key);
        let claims = self.claims.entry(alias.clone()).or_default();
        if entry.link.is_none() {
            // A proxy that registers over both transports keeps its link.
            entry.link = claims.iter().rev().filter(|claim| claim.key == key).find_map(|claim| claim.link);
        }
        let link = entry.link;
        // Two links with one key have a claim each. A claim without a link is of the same proxy as any of them: were it alone replaced,
        // a link could have a second claim.
        let is_same = |claim: &mut AliasEntry| claim.key == key && (claim.link == link || claim.link.is_none());
        let mut left_out: Vec<AliasEntry> = claims.extract_if(.., is_same).collect();
        // A claim that is unreachable now could not serve the alias later.
        left_out.extend(claims.extract_if(.., |claim| claim.link.is_none() && claim.transport != Transport::Hyperdht));
        if claims.len() >= MAX_CLAIMS {
            left_out.push(claims.remove(0));
        }
        claims.push(entry);
        for claim in left_out {
            if let Some(link) = claim.link {
                self.by_link.remove(&link);
            }
            self.remove_unused(&alias, &claim.key);
        }
        if let Some(link) = link {
            self.by_link.insert(link, alias.clone());
        }
        let aliases = self.by_key.entry(key).or_default();
        if !aliases.contains(&alias) {
            aliases.push(alias);
        }
    }

    /// Handles the end of a link. Its claim is removed if another claim holds the alias or can take it over; otherwise it stays,
    /// unreachable, until it expires. Returns the entry that holds the alias again.
    pub(super) fn link_ended(&mut self, link: LinkId, now: Instant) -> Option<AliasEntry> {
        let alias = self.by_link.remove(&link)?;
        let expiry = self.expiry;
        let claims = self.claims.get_mut(&alias)?;
        let at = claims.iter().position(|claim| claim.link == Some(link))?;
        claims[at].link = None;
        if claims[at].transport == Transport::Hyperdht {
            return None;
        }
        let is_holder = at + 1 == claims.len();
        let before = at.checked_sub(1).and_then(|before| claims.get(before));
        let heir = before
            .filter(|before| now.saturating_duration_since(before.renewed) < expiry)
            .cloned();
        if is_holder && heir.is_none() {
            return None;
        }
        let key = claims.remove(at).key;
        self.remove_unused(&alias, &key);
        heir.filter(|_| is_holder)
    }

    /// Handles a failed dial of the key that holds an alias. If another proxy with an open link has a claim, it holds the alias again and
    /// is returned.
    pub(super) fn unreachable(&mut self, alias: &str, key: PublicKey, now: Instant) -> Option<AliasEntry> {
        let expiry = self.expiry;
        let claims = self.claims.get_mut(alias)?;
        let [.., before, held] = claims.as_slice() else { return None };
        let can_hold = before.link.is_some() && now.saturating_duration_since(before.renewed) < expiry;
        if held.key != key || held.link.is_some() || !can_hold {
            return None;
        }
        let heir = before.clone();
        claims.pop();
        self.remove_unused(&heir.alias, &key);
        Some(heir)
    }

    /// Removes the entry that holds an alias. Returns it together with the entry that holds the alias again, if any; `None` if the alias
    /// is unknown.
    pub(super) fn forget(&mut self, alias: &str, now: Instant) -> Option<(AliasEntry, Option<AliasEntry>)> {
        let gone = self.get(alias, now)?.clone();
        let claims = self.claims.get_mut(alias)?;
        claims.pop();
        if let Some(link) = gone.link {
            self.by_link.remove(&link);
        }
        self.reserved.remove(alias);
        self.remove_unused(&gone.alias, &gone.key);
        let restored = self.get(alias, now).cloned();
        Some((gone, restored))
    }

    /// Removes expired entries and returns those of aliases that are free now.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<AliasEntry> {
        self.reserved.retain(|_, (_, until)| now < *until);
        let expiry = self.expiry;
        let is_live = |entry: &AliasEntry| now.saturating_duration_since(entry.renewed) < expiry;
        // The first claim of an alias is the oldest.
        let is_old = |claims: &Vec<AliasEntry>| claims.first().is_some_and(|entry| !is_live(entry));
        let old: Vec<Alias> = self
            .claims
            .iter()
            .filter(|(_, claims)| is_old(claims))
            .map(|(alias, _)| alias.clone())
            .collect();
        let mut gone = Vec::new();
        for alias in old {
            let Some(claims) = self.claims.get_mut(&alias) else { continue };
            let expired: Vec<AliasEntry> = claims.extract_if(.., |claim| !is_live(claim)).collect();
            let is_free = claims.is_empty();
            for entry in &expired {
                if let Some(link) = entry.link {
                    self.by_link.remove(&link);
                }
                self.remove_unused(&alias, &entry.key);
            }
            gone.extend(expired.into_iter().last().filter(|_| is_free));
        }
        gone
    }

    /// Removes an alias without claims, and removes the alias from the list of a key that has no claim on it.
    fn remove_unused(&mut self, alias: &Alias, key: &PublicKey) {
        let claims = self.claims.get(alias).map_or(&[][..], |claims| claims);
        let has_claim = claims.iter().any(|claim| claim.key == *key);
        if claims.is_empty() {
            self.claims.remove(alias);
        }
        if !has_claim && let Some(aliases) = self.by_key.get_mut(key) {
            aliases.retain(|other| other != alias);
            if aliases.is_empty() {
                self.by_key.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
