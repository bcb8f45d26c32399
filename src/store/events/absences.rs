//! The scrapers that a replica of a cluster has forgotten because they did not come.
//!
//! The engine and other replicas may have the state of such a scraper for a while, and write it again because its events were dropped. That is
//! no scrape: each scrape that is reported makes the time of the last one grow, so a state with the time that was known here is of the same
//! absence. The times of two clocks are compared for equality only, so the clocks need not agree.

use std::collections::HashMap;
use std::time::Duration;

use super::MAX_SCRAPERS;
use super::monotonic::MonotonicTime;
use crate::model::{ScraperId, Timestamp};

/// The absence of a scraper.
#[derive(Debug, Clone, Copy)]
struct Absence {
    /// The reported time of the last scrape.
    seen: Timestamp,
    /// The time at which the scraper was forgotten.
    forgotten: MonotonicTime,
}

/// The scrapers that were forgotten, for as long as other replicas may know them.
#[derive(Debug, Default)]
pub(super) struct Absences {
    /// Bounded by [`MAX_SCRAPERS`], as those that are known. A further one is known again, for another timeout, if its state is written again.
    scrapers: HashMap<ScraperId, Absence, foldhash::fast::RandomState>,
}

impl Absences {
    /// Notes that a scraper is forgotten, with the reported time of its last scrape.
    pub(super) fn begin(&mut self, who: &ScraperId, seen: Timestamp, now: MonotonicTime) {
        if self.scrapers.len() < MAX_SCRAPERS || self.scrapers.contains_key(who) {
            self.scrapers.insert(who.clone(), Absence { seen, forgotten: now });
        }
    }

    /// Notes that a scraper has come again. Returns the reported time of the last scrape before, if it was forgotten.
    pub(super) fn end(&mut self, who: &ScraperId) -> Option<Timestamp> {
        self.scrapers.remove(who).map(|absence| absence.seen)
    }

    /// True if a state with this time of the last scrape is of the absence for which the scraper was forgotten.
    pub(super) fn lasts(&self, who: &ScraperId, seen: Timestamp) -> bool {
        self.scrapers.get(who).is_some_and(|absence| absence.seen == seen)
    }

    /// Forgets the absences that began this long ago.
    pub(super) fn expire(&mut self, now: MonotonicTime, after: Duration) {
        self.scrapers.retain(|_, absence| now.since(absence.forgotten) < after);
    }
}
