//! Options of the events: bounds, scrapers, timestamps.

use std::time::Duration;

use super::OriginId;
use crate::model::ScraperId;

/// The most scrapers known, the declared ones not counted: far more than read one proxy, and few enough that invented names fill no memory.
/// Beyond it a new scraper gets no events until another one has expired.
pub const MAX_SCRAPERS: usize = 1_000;

/// Options of the events. The bounds hold whatever producers and scrapers do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOptions {
    /// The most events kept; a scraper further behind loses the oldest.
    pub max_pending: usize,
    /// The most events that go with one scrape; the rest comes with the next one.
    pub max_per_scrape: usize,
    /// The most scrapers known that scrape from one address, the declared ones not counted.
    pub max_scrapers_per_address: usize,
    /// The time without a scrape after which a scraper is forgotten, and what it had pending is lost.
    pub scraper_timeout: Duration,
    /// The age up to which a scraper gets events with its first scrape.
    pub newcomer_window: Duration,
    /// True if samples have the time of the event, so that several of one series can share a scrape.
    pub explicit_timestamps: bool,
    /// Scrapers that are known before they come, and never forgotten. At most [`MAX_SCRAPERS`] of them count.
    pub scrapers: Vec<ScraperId>,
    /// At a replica of a cluster: the id for a directory of events that has none yet. `None` without a cluster.
    pub replica: Option<OriginId>,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            max_pending: 10_000,
            max_per_scrape: 5_000,
            max_scrapers_per_address: 64,
            scraper_timeout: Duration::from_secs(600),
            newcomer_window: Duration::from_secs(60),
            explicit_timestamps: false,
            scrapers: Vec::new(),
            replica: None,
        }
    }
}
