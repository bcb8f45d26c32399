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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    const EXPIRY: Duration = Duration::from_secs(100);
    const FILE_GRACE: Duration = Duration::from_secs(20);

    struct TestTable {
        aliases: AliasTable,
        start: Instant,
    }

    /// A registration as alias, key and link.
    type Short<'a> = (&'a str, u8, Option<LinkId>);

    fn short(entry: &AliasEntry) -> Short<'_> {
        (entry.alias.as_str(), entry.key.as_bytes()[0], entry.link)
    }

    impl TestTable {
        fn new(policy: AliasPolicy) -> Self {
            let start = Instant::now();
            let aliases = AliasTable::new(policy, EXPIRY, start, FILE_GRACE);
            Self { aliases, start }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn entry(&self, alias: &str, key: u8, transport: Transport, link: Option<LinkId>, at: u64) -> AliasEntry {
            AliasEntry {
                alias: Alias::new(alias).unwrap(),
                key: PublicKey::new([key; 32]),
                hostname: "h".into(),
                service: "s".into(),
                transport,
                link,
                renewed: self.at(at),
            }
        }

        /// Registers over a link.
        fn link(&mut self, (alias, key, link): (&str, u8, LinkId), at: u64) -> Result<AliasChange, AliasUnavailable> {
            let entry = self.entry(alias, key, Transport::Quic, Some(link), at);
            let change = self.aliases.register(entry);
            self.aliases.check_invariants();
            change
        }

        /// Registers over HyperDHT.
        fn key(&mut self, (alias, key): (&str, u8), at: u64) -> Result<AliasChange, AliasUnavailable> {
            let change = self.aliases.register(self.entry(alias, key, Transport::Hyperdht, None, at));
            self.aliases.check_invariants();
            change
        }

        fn restore(&mut self, alias: &str, key: u8) {
            self.aliases.restore(self.entry(alias, key, Transport::Unknown, None, 0)).unwrap();
            self.aliases.check_invariants();
        }

        fn ended(&mut self, link: LinkId, at: u64) -> Option<(String, u8)> {
            let restored = self.aliases.link_ended(link, self.at(at));
            self.aliases.check_invariants();
            restored.map(|entry| (entry.alias.to_string(), entry.key.as_bytes()[0]))
        }

        /// Returns the holder of each alias.
        fn live(&self, at: u64) -> Vec<Short<'_>> {
            self.aliases.live(self.at(at)).map(short).collect()
        }
    }

    impl AliasTable {
        fn check_invariants(&self) {
            let all = || {
                self.claims
                    .iter()
                    .flat_map(|(alias, claims)| claims.iter().map(move |claim| (alias, claim)))
            };
            assert!(self.claims.values().all(|claims| (1..=MAX_CLAIMS).contains(&claims.len())));
            for claims in self.claims.values() {
                assert!(claims.is_sorted_by_key(|claim| claim.renewed));
                let (_, others) = claims.split_last().unwrap();
                assert!(
                    others
                        .iter()
                        .all(|claim| claim.link.is_some() || claim.transport == Transport::Hyperdht)
                );
            }
            for (alias, claim) in all() {
                assert_eq!(*alias, claim.alias);
                assert!(self.by_key[&claim.key].contains(alias));
                if let Some(link) = claim.link {
                    assert_eq!(self.by_link[&link], *alias);
                }
            }
            for (key, aliases) in &self.by_key {
                assert!(!aliases.is_empty());
                assert!(aliases.iter().all(|alias| self.claims[alias].iter().any(|claim| claim.key == *key)));
            }
            for (link, alias) in &self.by_link {
                assert_eq!(all().filter(|(_, claim)| claim.link == Some(*link)).count(), 1);
                assert!(self.claims[alias].iter().any(|claim| claim.link == Some(*link)));
            }
        }
    }

    #[test]
    fn an_update_is_distinguished_from_a_renewal() {
        let mut table = TestTable::new(AliasPolicy::Replace);
        assert!(table.link(("a", 1, 1), 0).unwrap().updated);
        assert!(!table.link(("a", 1, 1), 50).unwrap().updated);
        let mut moved = table.entry("a", 1, Transport::Quic, Some(1), 60);
        moved.hostname = "elsewhere".into();
        assert!(table.aliases.register(moved.clone()).unwrap().updated);
        moved.service = "other".into();
        assert!(table.aliases.register(moved).unwrap().updated);
        assert!(table.link(("a", 2, 2), 70).unwrap().updated);
        assert_eq!(table.live(169), [("a", 2, Some(2))]);
        assert_eq!(table.live(170), [], "expired, although nothing was swept yet");
        assert!(table.link(("a", 2, 2), 170).unwrap().updated);
    }

    #[test]
    fn an_alias_is_served_over_the_link_that_registered_it_and_no_other() {
        let mut table = TestTable::new(AliasPolicy::Replace);
        table.link(("n1", 1, 1), 0).unwrap();
        let second = table.link(("n2", 1, 2), 1).unwrap();
        assert_eq!((second.dropped.len(), second.replaced), (0, None), "two proxies with one key");
        assert_eq!(table.live(1), [("n1", 1, Some(1)), ("n2", 1, Some(2))]);
        assert_eq!(table.ended(1, 2), None);
        assert_eq!(table.live(2), [("n1", 1, None), ("n2", 1, Some(2))]);
    }

    #[test]
    fn a_link_that_registers_another_alias_drops_its_earlier_one() {
        let mut table = TestTable::new(AliasPolicy::Replace);
        table.link(("old", 1, 1), 0).unwrap();
        let change = table.link(("new", 1, 1), 1).unwrap();
        assert_eq!(change.dropped.iter().map(short).collect::<Vec<_>>(), [("old", 1, Some(1))]);
        assert_eq!(table.live(1), [("new", 1, Some(1))]);
        // A new link, after a restart of the proxy, of the bridge, or of both.
        table.ended(1, 2);
        assert_eq!(table.link(("newer", 1, 2), 3).unwrap().dropped.len(), 1);
        table.restore("file", 2);
        assert_eq!(table.link(("x", 2, 3), 4).unwrap().dropped.len(), 1);
        assert_eq!(table.live(4), [("newer", 1, Some(2)), ("x", 2, Some(3))]);
    }

    #[test]
    fn a_link_whose_key_registered_over_hyperdht_too_has_one_claim() {
        let mut table = TestTable::new(AliasPolicy::Replace);
        table.link(("a", 1, 1), 0).unwrap();
        table.link(("a", 1, 3), 1).unwrap();
        // Joins the claim of link 3, and stays without a link when link 3 ends.
        table.key(("a", 1), 2).unwrap();
        assert_eq!(table.ended(3, 3), None);
        table.link(("a", 1, 1), 4).unwrap();
        assert_eq!(table.aliases.claims["a"].iter().map(short).collect::<Vec<_>>(), [("a", 1, Some(1))]);
        // No claim of the closed link keeps the alias from another proxy.
        table.link(("a", 2, 2), 5).unwrap();
        table.ended(1, 6);
        assert_eq!(table.ended(2, 7), None);
        assert_eq!(table.live(7), [("a", 2, None)]);
    }

    #[test]
    fn over_hyperdht_one_key_has_one_alias_and_a_link_keeps_its_own() {
        let mut table = TestTable::new(AliasPolicy::Replace);
        table.key(("a", 1), 0).unwrap();
        let change = table.key(("b", 1), 1).unwrap();
        assert_eq!(change.dropped.iter().map(short).collect::<Vec<_>>(), [("a", 1, None)]);
        assert_eq!(table.live(1), [("b", 1, None)]);
        // Registered over both transports: served over the link while it is open, then by key.
        table.link(("b", 1, 1), 2).unwrap();
        assert!(!table.key(("b", 1), 3).unwrap().updated);
        assert_eq!(table.live(3), [("b", 1, Some(1))]);
        assert_eq!(table.key(("c", 1), 4).unwrap().dropped, []);
        assert_eq!(table.live(4), [("b", 1, Some(1)), ("c", 1, None)]);
        table.ended(1, 5);
        assert_eq!(
            table.aliases.get("b", table.at(5)).unwrap().transport,
            Transport::Quic,
            "not by key any more"
        );
    }

    #[test]
    fn a_replaced_claim_holds_its_alias_again_when_the_other_is_removed() {
        let mut table = TestTable::new(AliasPolicy::Replace);
        table.link(("a", 1, 1), 0).unwrap();
        let change = table.link(("a", 2, 2), 1).unwrap();
        assert_eq!(change.replaced.as_ref().map(short), Some(("a", 1, Some(1))));
        assert_eq!(table.live(1), [("a", 2, Some(2))]);
        assert_eq!(table.ended(2, 2), Some(("a".to_owned(), 1)));
        assert_eq!(table.live(2), [("a", 1, Some(1))]);
        // Released by registering another alias.
        table.link(("a", 3, 3), 3).unwrap();
        let renamed = table.link(("c", 3, 3), 4).unwrap();
        assert_eq!(renamed.restored.iter().map(short).collect::<Vec<_>>(), [("a", 1, Some(1))]);
        // Released by DELETE.
        table.link(("a", 4, 4), 5).unwrap();
        let (gone, restored) = table.aliases.forget("a", table.at(5)).unwrap();
        assert_eq!(
            (short(&gone), restored.as_ref().map(short)),
            (("a", 4, Some(4)), Some(("a", 1, Some(1))))
        );
        table.aliases.check_invariants();
        // A claim over HyperDHT remains until it expires; a claim without an open link does not.
        table.key(("a", 5), 6).unwrap();
        table.link(("a", 6, 6), 7).unwrap();
        assert_eq!(table.ended(1, 8), None);
        assert_eq!(table.ended(6, 9), Some(("a".to_owned(), 5)));
        assert_eq!(table.aliases.forget("a", table.at(9)).unwrap().1, None);
        assert_eq!(table.aliases.forget("a", table.at(9)), None);
        assert_eq!(table.live(9), [("c", 3, Some(3))]);
    }

    #[test]
    fn a_key_that_cannot_be_dialed_leaves_its_alias_to_an_open_link() {
        let mut table = TestTable::new(AliasPolicy::Replace);
        let key = |key| PublicKey::new([key; 32]);
        table.link(("a", 1, 1), 0).unwrap();
        table.key(("a", 2), 1).unwrap();
        let now = table.at(2);
        assert_eq!(table.aliases.unreachable("a", key(3), now), None);
        assert_eq!(
            table.aliases.unreachable("a", key(2), now).as_ref().map(short),
            Some(("a", 1, Some(1)))
        );
        table.aliases.check_invariants();
        assert_eq!(table.aliases.unreachable("a", key(1), now), None);
        table.key(("b", 2), 3).unwrap();
        table.key(("b", 3), 4).unwrap();
        assert_eq!(table.aliases.unreachable("b", key(3), now), None, "the other is no better known");
        assert_eq!(table.live(4), [("a", 1, Some(1)), ("b", 3, None)]);
    }

    #[test]
    fn what_has_expired_goes_and_the_rest_stays() {
        let mut table = TestTable::new(AliasPolicy::Replace);
        table.key(("b", 3), 0).unwrap();
        table.key(("a", 2), 61).unwrap();
        table.link(("a", 1, 1), 120).unwrap();
        assert_eq!(table.aliases.expire(table.at(99)), []);
        let gone = table.aliases.expire(table.at(170));
        assert_eq!(
            gone.iter().map(short).collect::<Vec<_>>(),
            [("b", 3, None)],
            "a claim behind another one is no alias"
        );
        assert_eq!(table.live(170), [("a", 1, Some(1))]);
        assert_eq!(table.aliases.expires(table.aliases.get("a", table.at(170)).unwrap()), table.at(220));
        table.aliases.check_invariants();
        assert_eq!(table.aliases.expire(table.at(1_000)).len(), 1);
        assert!(table.aliases.by_key.is_empty() && table.aliases.by_link.is_empty() && table.aliases.claims.is_empty());
    }

    #[test]
    fn the_first_keeps_its_alias_until_it_expires() {
        let mut table = TestTable::new(AliasPolicy::First);
        let by_first = Err(AliasUnavailable::Owned(PublicKey::new([1; 32])));
        table.link(("a", 1, 1), 0).unwrap();
        assert_eq!(table.link(("a", 2, 2), 99), by_first);
        assert!(!table.link(("a", 1, 1), 99).unwrap().updated);
        table.ended(1, 100);
        assert_eq!(table.link(("a", 2, 2), 198), by_first);
        assert!(table.link(("a", 2, 2), 199).is_ok());
        // A registration over HyperDHT does not prove the key, so it cannot drop the alias of the key's owner.
        let mut table = TestTable::new(AliasPolicy::First);
        table.key(("a", 1), 0).unwrap();
        assert_eq!(table.key(("other", 1), 1).unwrap().dropped.len(), 1);
        assert_eq!(table.key(("a", 2), 2), by_first);
        assert!(table.key(("a", 1), 3).is_ok());
        assert!(table.key(("other", 2), 101).is_ok());
    }

    #[test]
    fn the_targets_file_reserves_an_alias_while_proxies_reconnect() {
        let mut table = TestTable::new(AliasPolicy::First);
        table.restore("a", 1);
        table.restore("b", 2);
        assert_eq!(table.link(("a", 9, 9), 19), Err(AliasUnavailable::Owned(PublicKey::new([1; 32]))));
        table.link(("a", 1, 1), 19).unwrap();
        assert_eq!(
            table.link(("a", 9, 9), 21),
            Err(AliasUnavailable::Owned(PublicKey::new([1; 32]))),
            "it has come back"
        );
        assert_eq!(table.live(21), [("a", 1, Some(1)), ("b", 2, None)], "it stays listed");
        assert!(table.link(("b", 9, 9), 21).is_ok(), "it has not");
        assert_eq!(table.live(21)[1], ("b", 9, Some(9)));
        let twice = table.entry("b", 3, Transport::Unknown, None, 0);
        assert!(table.aliases.restore(twice).is_err());
    }

    #[test]
    fn there_is_an_end_to_them() {
        let mut table = TestTable::new(AliasPolicy::Replace);
        for n in 0..MAX_ALIASES {
            let mut entry = table.entry(&format!("a{n}"), 1, Transport::Hyperdht, None, 0);
            entry.key = PublicKey::new(std::array::from_fn(|at| n.to_le_bytes().get(at).copied().unwrap_or_default()));
            table.aliases.register(entry).unwrap();
        }
        let more = |alias, key| table.entry(alias, key, Transport::Hyperdht, None, 0);
        let (full, again) = (more("b", 255), more("a7", 255));
        assert_eq!(table.aliases.register(full), Err(AliasUnavailable::Full));
        assert!(table.aliases.register(again).is_ok());
        for key in 0..100 {
            table.link(("a8", key, LinkId::from(key)), 1).unwrap();
        }
        assert_eq!(table.aliases.claims["a8"].len(), MAX_CLAIMS);
    }

    proptest! {
        #[test]
        fn whatever_happens_the_tables_agree(
            first: bool,
            steps in prop::collection::vec((0_u8..6, 0_u8..3, 1_u8..4, 1_u64..5, 0_u64..150), 1..60),
        ) {
            let mut table = TestTable::new(if first { AliasPolicy::First } else { AliasPolicy::Replace });
            table.restore("0", 1);
            let (mut now, mut links) = (0, HashMap::new());
            for (step, alias, key, link, passed) in steps {
                now += passed / 10;
                let alias = alias.to_string();
                match step {
                    0 | 1 => {
                        // A link has one key.
                        let key = *links.entry(link).or_insert(key);
                        let _ = table.link((&alias, key, link), now);
                    }
                    2 => drop(table.key((&alias, key), now)),
                    3 => {
                        links.remove(&link);
                        table.ended(link, now);
                    }
                    4 => drop(table.aliases.forget(&alias, table.at(now))),
                    _ => drop(table.aliases.expire(table.at(now))),
                }
                table.aliases.check_invariants();
                let served: Vec<LinkId> = table.live(now).iter().filter_map(|(.., link)| *link).collect();
                let mut once = served.clone();
                once.sort_unstable();
                once.dedup();
                prop_assert_eq!(once.len(), served.len(), "no link serves two aliases");
            }
        }
    }
}
