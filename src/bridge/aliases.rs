//! Who is registered under which alias, and until when. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::Timestamp;
use crate::peer::{Alias, PublicKey};

/// The most aliases: their entries stay below 100 MB, and a targets file of them is still read by Prometheus.
pub(super) const MAX_ALIASES: usize = 100_000;

/// Who may take an alias that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AliasPolicy {
    /// Whoever registers last.
    #[default]
    Replace,
    /// Nobody, until the entry has expired.
    First,
}

/// How a proxy has registered, and so how it is scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Over QUIC: over the link that it keeps.
    Quic,
    /// Over HyperDHT: by dialling its key.
    Hyperdht,
    /// The targets file of the last run does not say it: over a link if there is one, else by its key.
    Unknown,
}

/// A point in time: the time of day to be shown, and the monotonic time by which entries expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) time: Timestamp,
    pub(super) instant: Instant,
}

/// What was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) alias: Alias,
    pub(super) key: PublicKey,
    pub(super) hostname: String,
    pub(super) service: String,
    pub(super) over: Over,
    /// When it was registered last, or read from the targets file.
    pub(super) renewed: Now,
}

/// Why a registration is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Taken {
    /// The policy is [`AliasPolicy::First`].
    #[error("the alias belongs to {0} until its entry expires")]
    By(PublicKey),
    /// There are [`MAX_ALIASES`].
    #[error("there are {MAX_ALIASES} aliases already")]
    Full,
}

/// The table of aliases.
#[derive(Debug)]
pub(super) struct Aliases {
    entries: BTreeMap<Alias, Entry>,
    policy: AliasPolicy,
    expiry: Duration,
}

impl Aliases {
    pub(super) fn new(policy: AliasPolicy, expiry: Duration) -> Self {
        Self {
            entries: BTreeMap::new(),
            policy,
            expiry,
        }
    }

    fn is_live(&self, entry: &Entry, now: Now) -> bool {
        now.instant.saturating_duration_since(entry.renewed.instant) < self.expiry
    }

    /// Takes a registration and says whether it brought anything new.
    pub(super) fn register(&mut self, entry: Entry) -> Result<bool, Taken> {
        let now = entry.renewed;
        match self.entries.get(&entry.alias) {
            Some(before) if before.key != entry.key && self.policy == AliasPolicy::First && self.is_live(before, now) => {
                return Err(Taken::By(before.key));
            }
            None if self.entries.len() >= MAX_ALIASES => return Err(Taken::Full),
            _ => {}
        }
        let alias = entry.alias.clone();
        let what = |e: &Entry| (e.key, e.hostname.clone(), e.service.clone());
        let new = what(&entry);
        let before = self.entries.insert(alias, entry).filter(|before| self.is_live(before, now));
        Ok(before.is_none_or(|before| what(&before) != new))
    }

    /// The entry of an alias, unless it has expired.
    pub(super) fn get(&self, alias: &str, now: Now) -> Option<&Entry> {
        self.entries.get(alias).filter(|entry| self.is_live(entry, now))
    }

    /// All entries that have not expired, sorted by alias.
    pub(super) fn live(&self, now: Now) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| self.is_live(entry, now))
    }

    /// Forgets what has expired, and gives it back.
    pub(super) fn expire(&mut self, now: Now) -> Vec<Entry> {
        let gone: Vec<Entry> = self.entries.values().filter(|entry| !self.is_live(entry, now)).cloned().collect();
        for entry in &gone {
            self.entries.remove(&entry.alias);
        }
        gone
    }

    /// The time of day at which an entry expires.
    pub(super) fn expires(&self, entry: &Entry, now: Now) -> Timestamp {
        let age = now.instant.saturating_duration_since(entry.renewed.instant);
        now.time.plus(self.expiry.saturating_sub(age))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::LazyLock;

    use super::*;

    const EXPIRY: Duration = Duration::from_secs(100);

    fn entry(alias: &str, key: u8, at: u64) -> Entry {
        Entry {
            alias: Alias::new(alias).unwrap(),
            key: PublicKey::new([key; 32]),
            hostname: "h".into(),
            service: "s".into(),
            over: Over::Quic,
            renewed: self::at(at),
        }
    }

    fn at(seconds: u64) -> Now {
        set_to(seconds, seconds)
    }

    /// So long after the start, with a time of day that may be another.
    fn set_to(seconds: u64, time: u64) -> Now {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Now {
            time: Timestamp::default().plus(Duration::from_secs(time)),
            instant: *START + Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_clock_that_is_set_expires_nothing() {
        let mut aliases = Aliases::new(AliasPolicy::First, EXPIRY);
        aliases.register(entry("a", 1, 1_000)).unwrap();
        for time in [1_000 + 4 * 3_600, 0] {
            let now = set_to(1_099, time);
            assert!(aliases.get("a", now).is_some());
            assert_eq!((aliases.live(now).count(), aliases.expire(now).len()), (1, 0));
            assert_eq!(aliases.expires(aliases.get("a", now).unwrap(), now), set_to(0, time + 1).time);
            let mut other = entry("a", 2, 0);
            other.renewed = now;
            assert_eq!(aliases.register(other), Err(Taken::By(PublicKey::new([1; 32]))));
        }
        assert_eq!(aliases.get("a", set_to(1_100, 0)), None);
    }

    #[test]
    fn what_is_new_is_told_apart_from_what_is_renewed() {
        let mut aliases = Aliases::new(AliasPolicy::Replace, EXPIRY);
        assert_eq!(aliases.register(entry("a", 1, 0)), Ok(true));
        assert_eq!(aliases.register(entry("a", 1, 50)), Ok(false));
        let mut moved = entry("a", 1, 60);
        moved.hostname = "elsewhere".into();
        assert_eq!(aliases.register(moved.clone()), Ok(true));
        moved.service = "other".into();
        assert_eq!(aliases.register(moved), Ok(true));
        assert_eq!(aliases.register(entry("a", 2, 70)), Ok(true));
        assert_eq!(aliases.get("a", at(169)).unwrap().key, PublicKey::new([2; 32]));
        assert_eq!(aliases.get("a", at(170)), None, "expired, although nobody has looked yet");
        assert_eq!(aliases.register(entry("a", 2, 170)), Ok(true));
    }

    #[test]
    fn the_first_keeps_its_alias_until_it_expires() {
        let mut aliases = Aliases::new(AliasPolicy::First, EXPIRY);
        assert_eq!(aliases.register(entry("a", 1, 0)), Ok(true));
        assert_eq!(aliases.register(entry("a", 2, 99)), Err(Taken::By(PublicKey::new([1; 32]))));
        assert_eq!(aliases.register(entry("a", 1, 99)), Ok(false));
        assert_eq!(aliases.register(entry("a", 2, 198)), Err(Taken::By(PublicKey::new([1; 32]))));
        assert_eq!(aliases.register(entry("a", 2, 199)), Ok(true));
    }

    #[test]
    fn expired_entries_go_and_the_rest_stays() {
        let mut aliases = Aliases::new(AliasPolicy::Replace, EXPIRY);
        aliases.register(entry("b", 1, 0)).unwrap();
        aliases.register(entry("a", 1, 50)).unwrap();
        assert_eq!(aliases.live(at(60)).count(), 2);
        let gone = aliases.expire(at(120));
        assert_eq!(gone.iter().map(|e| e.alias.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(aliases.live(at(120)).map(|e| e.alias.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(aliases.expires(aliases.get("a", at(120)).unwrap(), at(120)), at(150).time);
    }

    #[test]
    fn there_is_an_end_to_them() {
        let mut aliases = Aliases::new(AliasPolicy::Replace, EXPIRY);
        for n in 0..MAX_ALIASES {
            aliases.register(entry(&format!("a{n}"), 1, 0)).unwrap();
        }
        assert_eq!(aliases.register(entry("b", 1, 0)), Err(Taken::Full));
        assert_eq!(aliases.register(entry("a7", 1, 0)), Ok(false));
    }
}
