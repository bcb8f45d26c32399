//! Delays of retries and limits on links, for both transports.

mod backoff;
mod failure_limiter;
mod scraper_links;

pub(super) use backoff::{Backoff, REFUSAL_DELAYS};
pub(crate) use failure_limiter::FailureLimiter;
#[cfg(feature = "hyperdht")]
pub(super) use scraper_links::MAX_LINKS_OF_KEY;
pub(super) use scraper_links::{LinkPermit, MAX_LINKS, ScraperLinks};
