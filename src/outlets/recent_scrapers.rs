//! The clients that scrape, and what they ask for, for the status page.

use std::cmp::Reverse;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::exposition::negotiate::{ContentEncoding, Format};
use crate::model::{Client, cut};

/// Scrapers that are kept; a proxy has a few.
const MAX_SCRAPERS: usize = 100;
/// Bytes of a `User-Agent` and of a request that are kept: those of scrapers are shorter.
const MAX_TEXT: usize = 200;

/// One client and one of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scraper {
    pub(super) client: Client,
    /// Its `User-Agent`.
    pub(super) agent: Box<str>,
    /// The path and the query.
    pub(super) request: Box<str>,
    /// The format and the encoding of the last response, and its length in bytes; `None` if it is written while it is sent.
    pub(super) format: Format,
    pub(super) encoding: ContentEncoding,
    pub(super) bytes: Option<u64>,
    /// The time until the head of the last response.
    pub(super) took: Duration,
    /// The time of the last scrape, and the one before it.
    pub(super) last: Instant,
    pub(super) interval: Option<Duration>,
    /// The number of scrapes.
    pub(super) count: u64,
}

/// A response to a scrape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scraped<'a> {
    pub(super) agent: &'a str,
    pub(super) request: &'a str,
    pub(super) format: Format,
    pub(super) encoding: ContentEncoding,
    pub(super) bytes: Option<u64>,
    pub(super) began: Instant,
    pub(super) now: Instant,
}

/// The latest scrapers. When there are too many, one that came once gives way before one that comes regularly, so that a client that invents
/// names does not hide the others.
#[derive(Debug, Default)]
pub(super) struct RecentScrapers(Mutex<Vec<Scraper>>);

impl RecentScrapers {
    fn all(&self) -> MutexGuard<'_, Vec<Scraper>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a scrape.
    pub(super) fn record(&self, client: Client, scraped: Scraped<'_>) {
        let (agent, request) = (cut(scraped.agent, MAX_TEXT), cut(scraped.request, MAX_TEXT));
        let Scraped {
            format,
            encoding,
            bytes,
            began,
            now,
            ..
        } = scraped;
        let mut all = self.all();
        let same = |known: &&mut Scraper| known.client == client && *known.agent == *agent && *known.request == *request;
        if let Some(known) = all.iter_mut().find(same) {
            known.interval = Some(now.saturating_duration_since(known.last));
            (known.format, known.encoding, known.bytes) = (format, encoding, bytes);
            (known.took, known.last, known.count) = (now.saturating_duration_since(began), now, known.count + 1);
            return;
        }
        if all.len() >= MAX_SCRAPERS
            && let Some((oldest, _)) = all
                .iter()
                .enumerate()
                .max_by_key(|(_, known)| (known.count == 1, Reverse(known.last)))
        {
            all.swap_remove(oldest);
        }
        all.push(Scraper {
            client,
            agent: agent.into(),
            request: request.into(),
            format,
            encoding,
            bytes,
            took: now.saturating_duration_since(began),
            last: now,
            interval: None,
            count: 1,
        });
    }

    /// Returns them, the latest first.
    pub(super) fn list(&self) -> Vec<Scraper> {
        let mut list = self.all().clone();
        list.sort_by_key(|scraper| Reverse(scraper.last));
        list
    }
}

#[cfg(test)]
mod tests;
