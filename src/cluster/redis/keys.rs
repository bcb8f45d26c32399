//! The names of the keys.

use ring::rand::{SecureRandom as _, SystemRandom};

use super::super::engine::EngineError;
use crate::model::{AppName, ScraperId};

/// The version of the format of keys and values. Replicas of two versions do not see each other's data.
const VERSION: u32 = 1;

/// The keys of one prefix.
#[derive(Debug)]
pub(super) struct Keys {
    start: String,
    /// The stream of the names of written apps.
    pub(super) changes: String,
    /// The sorted set of the names of all apps, by the time at which the engine forgets them.
    pub(super) index: String,
    /// The sorted set of the ids of replicas, by the time at which they count as gone.
    pub(super) members: String,
    /// The hash of what is shown of the replicas.
    pub(super) about: String,
    /// The id of the replica with the lease.
    pub(super) lease: String,
    /// The id of the engine's data.
    pub(super) epoch: String,
    /// The stream of events.
    pub(super) events: String,
    /// The hash of the last number of each origin of events.
    pub(super) event_tails: String,
    /// The hash of the states of scrapers.
    pub(super) scrapers: String,
    /// The hash of the versions of these states.
    pub(super) scraper_versions: String,
    /// The number of the last version of any state.
    pub(super) last_version: String,
    /// The stream of their changes.
    pub(super) moves: String,
    /// The id of the events in the engine.
    pub(super) event_epoch: String,
    /// The run of the server in which events were exchanged last.
    pub(super) event_run: String,
    /// There while no leases of scrapers are granted.
    pub(super) hold: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let start = format!("{prefix}:{VERSION}:");
        let key = |name: &str| format!("{start}{name}");
        Self {
            changes: key("changes"),
            index: key("index"),
            members: key("members"),
            about: key("about"),
            lease: key("lease"),
            epoch: key("epoch"),
            events: key("events"),
            event_tails: key("event-tails"),
            scrapers: key("scrapers"),
            scraper_versions: key("scraper-versions"),
            last_version: key("last-version"),
            moves: key("moves"),
            event_epoch: key("event-epoch"),
            event_run: key("event-run"),
            hold: key("hold"),
            start,
        }
    }

    /// The key of an app.
    pub(super) fn app(&self, app: &AppName) -> String {
        format!("{}app:{app}", self.start)
    }

    /// The key of the lease on the events of a scraper.
    pub(super) fn scraper_lease(&self, scraper: &ScraperId) -> String {
        format!("{}scraper-lease:{scraper}", self.start)
    }

    /// The start of the keys that remember idempotency keys.
    pub(super) fn idempotency(&self) -> String {
        format!("{}idempotency:", self.start)
    }

    /// A new key for the chunks of a record.
    pub(super) fn chunks(&self) -> Result<String, EngineError> {
        Ok(format!("{}chunks:{}", self.start, random_id()?))
    }
}

/// A random id: 128 bits as hex.
pub(in crate::cluster) fn random_id() -> Result<String, EngineError> {
    Ok(random_bytes::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Random bytes.
pub(in crate::cluster) fn random_bytes<const N: usize>() -> Result<[u8; N], EngineError> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| EngineError("the system has no random numbers".to_owned()))?;
    Ok(bytes)
}
