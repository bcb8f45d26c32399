//! Limits on the links of scrapers at a proxy, over both transports.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::peer::identity::PublicKey;

/// Limit on links of scrapers: each is a bridge or an operator.
pub(crate) const MAX_LINKS: usize = 64;

/// Limit on links of one key, so that one admitted scraper that dials too often cannot take the links of all others. A scraper needs one,
/// and a second one while the first is lost but has not timed out.
pub(crate) const MAX_LINKS_OF_KEY: usize = 16;

/// The number of open links of each key. A clone is a handle to the same numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScraperLinks(Arc<Mutex<HashMap<PublicKey, usize>>>);

impl ScraperLinks {
    /// Counts a link of a key until the permit is dropped; `None` if a limit is reached.
    pub(crate) fn admit(&self, key: PublicKey) -> Option<LinkPermit> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = links.values().sum();
        let of_key = links.get(&key).copied().unwrap_or_default();
        if all >= MAX_LINKS || of_key >= MAX_LINKS_OF_KEY {
            return None;
        }
        links.insert(key, of_key + 1);
        Some(LinkPermit { links: self.clone(), key })
    }
}

/// The permit of an open link.
#[derive(Debug)]
pub(crate) struct LinkPermit {
    links: ScraperLinks,
    key: PublicKey,
}

impl Drop for LinkPermit {
    fn drop(&mut self) {
        let mut links = self.links.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = links.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                links.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
