//! What a bridge knows: the table of aliases, and who of them is connected.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::aliases::{Aliases, Entry, Now, Over, Taken};
use crate::model::{Clock, Timestamp};
use crate::peer::{Events, Link, Memory, PublicKey};
use crate::telemetry::BridgeTelemetry;

/// The names of a proxy's apps, and when they were asked for; none where they never were.
pub(super) type Apps = (Option<Instant>, Arc<[String]>);

/// One proxy, by its key.
#[derive(Default)]
struct Known {
    /// Outlives links, so that a new link can still tell what became of answers on the last one.
    memory: Memory,
    link: Option<(u64, Link)>,
    apps: Apps,
}

struct State {
    aliases: Aliases,
    /// Bounded by the number of aliases and of links: whoever has neither is forgotten.
    known: HashMap<PublicKey, Known>,
    next_link: u64,
}

/// What all parts of a bridge share.
pub(super) struct Roster {
    // Never held across an await.
    state: Mutex<State>,
    /// Rung when the targets file may be out of date.
    changed: Notify,
    memory: Memory,
    pub(super) events: Arc<Events>,
    pub(super) telemetry: Arc<BridgeTelemetry>,
    clock: Clock,
}

/// An alias as it is at a moment.
#[derive(Clone)]
pub(super) struct Listed {
    pub(super) entry: Entry,
    pub(super) expires: Timestamp,
    pub(super) link: Option<Link>,
    pub(super) apps: Apps,
}

impl Roster {
    pub(super) fn new(aliases: Aliases, events: Arc<Events>, telemetry: Arc<BridgeTelemetry>, clock: Clock) -> Self {
        let state = State {
            aliases,
            known: HashMap::new(),
            next_link: 0,
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            memory: Memory::default(),
            events,
            telemetry,
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of day, and the time by which entries expire.
    pub(super) fn now(&self) -> Now {
        Now {
            time: (self.clock)(),
            instant: Instant::now(),
        }
    }

    /// Takes a registration and says whether it brought anything new.
    pub(super) fn register(&self, entry: Entry) -> Result<bool, Taken> {
        let now = entry.renewed;
        let (outcome, count) = {
            let mut state = self.lock();
            let outcome = state.aliases.register(entry);
            (outcome, state.aliases.live(now).count())
        };
        self.count(count);
        if outcome == Ok(true) {
            self.changed.notify_one();
        }
        outcome
    }

    /// What was registered before the last restart: with a fresh expiry, since nobody could register meanwhile.
    pub(super) fn restore(&self, entries: Vec<Entry>) {
        for entry in entries {
            if let Err(why) = self.register(entry) {
                tracing::warn!("a target of the last run is left out: {why}");
            }
        }
    }

    /// Updates the count of aliases: entries expire between two runs of [`Roster::expire`].
    pub(super) fn recount(&self) {
        self.recount_at(self.now());
    }

    fn recount_at(&self, now: Now) {
        let count = self.lock().aliases.live(now).count();
        self.count(count);
    }

    fn count(&self, aliases: usize) {
        self.telemetry.bridge_aliases.set(i64::try_from(aliases).unwrap_or(i64::MAX));
    }

    /// What is remembered of a proxy beyond its link.
    pub(super) fn memory(&self, key: PublicKey) -> Memory {
        let numbers = self.memory.numbers.clone();
        let mut state = self.lock();
        let known = state.known.entry(key).or_default();
        Memory {
            numbers,
            untold: known.memory.untold.clone(),
        }
    }

    /// A proxy is connected; an earlier link of it is closed. Gives back what to name when the link is gone.
    pub(super) fn arrived(&self, key: PublicKey, link: Link) -> u64 {
        let (number, before) = {
            let mut state = self.lock();
            state.next_link += 1;
            let number = state.next_link;
            let known = state.known.entry(key).or_default();
            (number, known.link.replace((number, link)))
        };
        match before {
            Some((_, before)) => before.close("the same key has connected anew"),
            None => self.telemetry.bridge_connected.add(1),
        }
        number
    }

    /// A link is gone, unless a newer one has taken its place.
    pub(super) fn left(&self, key: PublicKey, number: u64) {
        let mut state = self.lock();
        if let Some(known) = state.known.get_mut(&key)
            && known.link.as_ref().is_some_and(|(current, _)| *current == number)
        {
            known.link = None;
            self.telemetry.bridge_connected.add(-1);
        }
    }

    /// Whether a key has a link at this moment.
    pub(super) fn is_here(&self, key: PublicKey) -> bool {
        self.lock().known.get(&key).is_some_and(|known| known.link.is_some())
    }

    /// How whoever has the alias is scraped.
    pub(super) fn find(&self, alias: &str) -> Result<Way, Unknown> {
        let state = self.lock();
        let entry = state.aliases.get(alias, self.now()).ok_or(Unknown)?;
        let known = state.known.get(&entry.key);
        Ok(match known.and_then(|known| known.link.as_ref()) {
            Some((_, link)) => Way::Link(link.clone()),
            None if entry.over == Over::Quic => Way::Gone,
            None => Way::Key(entry.key),
        })
    }

    /// All aliases that have not expired, sorted.
    pub(super) fn list(&self) -> Vec<Listed> {
        let (state, now) = (self.lock(), self.now());
        let list = state.aliases.live(now).map(|entry| {
            let known = state.known.get(&entry.key);
            Listed {
                entry: entry.clone(),
                expires: state.aliases.expires(entry, now),
                link: known.and_then(|known| known.link.as_ref()).map(|(_, link)| link.clone()),
                apps: known.map(|known| known.apps.clone()).unwrap_or_default(),
            }
        });
        list.collect()
    }

    /// The names of a proxy's apps are known anew.
    pub(super) fn has_apps(&self, key: PublicKey, apps: Arc<[String]>, now: Instant) {
        if let Some(known) = self.lock().known.get_mut(&key) {
            known.apps = (Some(now), apps);
        }
    }

    /// Forgets what has expired.
    pub(super) fn expire(&self) {
        let now = self.now();
        let (gone, count) = {
            let mut state = self.lock();
            let gone = state.aliases.expire(now);
            let kept: std::collections::HashSet<PublicKey> = state.aliases.live(now).map(|entry| entry.key).collect();
            state.known.retain(|key, known| known.link.is_some() || kept.contains(key));
            (gone, state.aliases.live(now).count())
        };
        self.count(count);
        for entry in &gone {
            self.telemetry.bridge_expired_total.inc();
            tracing::info!(alias = %entry.alias, peer = %entry.key, "forgotten: no registration within bridge.entry_expiry");
        }
        if !gone.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Resolves once the targets file may be out of date.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The text of the targets file at this moment.
    pub(super) fn targets(&self) -> String {
        let state = self.lock();
        super::targets_file::render(state.aliases.live(self.now()))
    }
}

/// How a proxy is scraped.
pub(super) enum Way {
    /// Over the link that it keeps.
    Link(Link),
    /// By dialling its key over HyperDHT.
    Key(PublicKey),
    /// It keeps links, but has none now.
    Gone,
}

/// Nobody has the alias, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;
    use crate::bridge::aliases::AliasPolicy;
    use crate::peer::Alias;

    #[test]
    fn aliases_that_have_expired_are_not_counted_even_before_they_are_forgotten() {
        let telemetry = Arc::new(BridgeTelemetry::default());
        let aliases = Aliases::new(AliasPolicy::Replace, Duration::from_secs(100));
        let roster = Roster::new(aliases, Arc::new(Events::new(|_| {})), telemetry.clone(), Timestamp::default);
        let start = Instant::now();
        let at = |seconds| Now {
            time: Timestamp::default(),
            instant: start + Duration::from_secs(seconds),
        };
        for (alias, registered) in [("a", 0), ("b", 50)] {
            let entry = Entry {
                alias: Alias::new(alias).unwrap(),
                key: PublicKey::new([1; 32]),
                hostname: "h".into(),
                service: "s".into(),
                over: Over::Quic,
                renewed: at(registered),
            };
            roster.register(entry).unwrap();
        }
        for (seconds, count) in [(99, 2), (120, 1), (150, 0)] {
            roster.recount_at(at(seconds));
            assert_eq!(telemetry.bridge_aliases.get(), count, "after {seconds} s");
        }
    }
}
