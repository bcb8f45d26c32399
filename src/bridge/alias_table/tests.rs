//! Unit tests of `alias_table.rs`.

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
