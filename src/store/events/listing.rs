//! The overview of events and scrapers for the `/events` page.

use std::sync::Arc;

use super::StoredEvent;
use super::state::Events;
use crate::model::{Client, EventId, ScraperId, Timestamp};

/// The most events listed, the newest, and the most pending ones listed for each scraper, the oldest: a page to read, not an archive.
const LISTED: usize = 100;

/// One scraper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScraperOverview {
    /// Its id.
    pub scraper: ScraperId,
    /// Events it has not got yet, those on their way included.
    pub pending: u64,
    /// The first of them.
    pub pending_ids: Vec<EventId>,
    /// The number of leased events in an unsettled scrape.
    pub in_flight: usize,
    /// The number of events it lost because it was too far behind.
    pub lost: u64,
    /// The time of its last scrape, unless that was before the program started.
    pub last_scrape: Option<Timestamp>,
    /// True if it is declared in the configuration.
    pub declared: bool,
}

impl ScraperOverview {
    /// True if the event is pending for the scraper. Beyond the listed ids it is only known that some are pending.
    #[must_use]
    pub fn is_waiting_for(&self, id: EventId) -> bool {
        let listed = self.pending_ids.last().is_some_and(|last| id <= *last);
        if listed {
            self.pending_ids.binary_search(&id).is_ok()
        } else {
            self.pending > self.pending_ids.len() as u64
        }
    }
}

/// The events that one scraper has not got yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEvents {
    /// The scraper.
    pub scraper: ScraperId,
    /// The client that it scraped from last; unknown before its first scrape since the start.
    pub from: Option<Client>,
    /// The number of events.
    pub events: u64,
}

/// Events and scrapers at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct EventsOverview {
    /// Events accepted so far.
    pub accepted: u64,
    /// All scrapers, by name.
    pub scrapers: Vec<ScraperOverview>,
    /// The newest events, the oldest of them first.
    pub recent: Vec<Arc<StoredEvent>>,
}

impl Events {
    /// Events accepted so far.
    pub(in crate::store) fn accepted_so_far(&self) -> u64 {
        self.log.end() - 1
    }

    /// Events that are kept.
    pub(in crate::store) fn kept(&self) -> usize {
        self.log.len()
    }

    /// The most events that are kept.
    pub(in crate::store) const fn most_kept(&self) -> usize {
        self.options.max_pending
    }

    /// The number of pending events of each scraper, by name, without scrapers that came once.
    pub(in crate::store) fn pending(&self) -> Vec<PendingEvents> {
        let most = self.log.len() as u64;
        let regular = self.scrapers.iter().filter(|(_, scraper)| scraper.regular);
        let pending = regular.map(|(who, scraper)| PendingEvents {
            scraper: who.clone(),
            from: scraper.from.clone(),
            events: scraper.cursor.pending(&self.log).min(most),
        });
        let mut all: Vec<_> = pending.collect();
        all.sort_unstable_by(|a, b| a.scraper.cmp(&b.scraper));
        all
    }

    /// The overview, within bounds.
    pub(in crate::store) fn overview(&self) -> EventsOverview {
        let mut scrapers: Vec<_> = self.scrapers.keys().filter_map(|who| self.scraper(who)).collect();
        scrapers.sort_unstable_by(|a, b| a.scraper.cmp(&b.scraper));
        let from = self.log.end().saturating_sub(LISTED as u64);
        EventsOverview {
            accepted: self.accepted_so_far(),
            scrapers,
            recent: self.log.range(from..self.log.end()).cloned().collect(),
        }
    }

    fn scraper(&self, who: &ScraperId) -> Option<ScraperOverview> {
        let scraper = self.scrapers.get(who)?;
        let mut cursor = scraper.cursor.clone();
        let lost = cursor.skip_lost(&self.log);
        Some(ScraperOverview {
            scraper: who.clone(),
            pending: cursor.pending(&self.log),
            pending_ids: cursor.first_pending(&self.log, LISTED),
            in_flight: scraper.lease.as_ref().map_or(0, |lease| lease.count),
            lost: scraper.lost + lost,
            last_scrape: scraper.scraped,
            declared: scraper.declared,
        })
    }
}
