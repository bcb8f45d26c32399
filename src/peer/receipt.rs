//! The scraping end's books: what became of an answer at its reader, told to whoever gave it.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ring::rand::{SecureRandom as _, SystemRandom};

use super::event::ScrapeId;
use super::stream::LinkStream;
use crate::model::Client;

/// Deliveries that are remembered for the next request: the scrapes of as many readers between two of them.
const MAX_UNTOLD: usize = 256;

/// Numbers for scrapes, none given twice in a run, and hardly ever in two runs.
#[derive(Debug)]
pub(crate) struct Numbers(AtomicU64);

impl Default for Numbers {
    fn default() -> Self {
        let mut start = [0; 8];
        // Without randomness numbers begin at 0, and a restart could confirm an answer of the run before.
        let _ = SystemRandom::new().fill(&mut start);
        Self(AtomicU64::new(u64::from_ne_bytes(start)))
    }
}

impl Numbers {
    pub(super) fn next(&self) -> ScrapeId {
        ScrapeId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Deliveries that one scraped end has not surely been told of. They outlive its link.
#[derive(Debug, Default)]
pub(crate) struct Untold(Mutex<VecDeque<ScrapeId>>);

impl Untold {
    fn with<T>(&self, change: impl FnOnce(&mut VecDeque<ScrapeId>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, scrape: ScrapeId) {
        self.with(|list| {
            if list.len() >= MAX_UNTOLD {
                list.pop_front();
            }
            list.push_back(scrape);
        });
    }

    /// All of them, for the head of a request.
    pub(super) fn list(&self) -> Vec<ScrapeId> {
        self.with(|list| list.iter().copied().collect())
    }

    /// The request with these was answered, so they have been heard.
    pub(super) fn heard(&self, told: &[ScrapeId]) {
        self.with(|list| list.retain(|scrape| !told.contains(scrape)));
    }
}

/// What is to be done with an answer: say whether it has reached its reader.
///
/// Until then its stream is kept, so that the scraped end keeps waiting. A receipt that is dropped says nothing, which counts as no.
#[derive(Clone)]
pub struct Receipt(Arc<Slip>);

pub(super) struct Slip {
    scrape: ScrapeId,
    deliver: Box<dyn Fn(ScrapeId) + Send + Sync>,
    state: Mutex<State>,
    whole: AtomicBool,
}

#[derive(Debug)]
enum State {
    /// The body is still coming.
    Open,
    /// The body has come whole, and its stream waits.
    Kept(LinkStream),
    /// All has been said.
    Settled,
}

impl std::fmt::Debug for Slip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slip({})", self.scrape)
    }
}

impl Receipt {
    pub(super) fn new(scrape: ScrapeId, deliver: impl Fn(ScrapeId) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Slip {
            scrape,
            deliver: Box::new(deliver),
            state: Mutex::new(State::Open),
            whole: AtomicBool::new(false),
        }))
    }

    /// The number of the scrape, the same at both ends.
    #[must_use]
    pub fn scrape(&self) -> ScrapeId {
        self.0.scrape
    }

    /// Whether all of the answer has come.
    #[must_use]
    pub fn was_whole(&self) -> bool {
        self.0.whole.load(Ordering::Acquire)
    }

    /// The body has come whole.
    pub(super) fn keep(&self, stream: LinkStream) {
        self.0.whole.store(true, Ordering::Release);
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Open) {
            *state = State::Kept(stream);
        }
    }

    fn is_settled(&self) -> bool {
        matches!(&*self.0.state.lock().unwrap_or_else(PoisonError::into_inner), State::Settled)
    }

    /// Whether the body has come whole, and its stream waits for word from the reader.
    fn is_kept(&self) -> bool {
        matches!(&*self.0.state.lock().unwrap_or_else(PoisonError::into_inner), State::Kept(_))
    }

    fn settle(&self) -> State {
        mem::replace(&mut *self.0.state.lock().unwrap_or_else(PoisonError::into_inner), State::Settled)
    }

    /// The answer has reached its reader, whole.
    pub fn delivered(&self) {
        if let State::Kept(stream) = self.settle() {
            (self.0.deliver)(self.0.scrape);
            drop(stream);
        }
    }

    /// It may not have.
    pub fn returned(&self) {
        if let State::Kept(stream) = self.settle() {
            stream.abandon();
        }
    }
}

/// The receipts of one link that are not settled, the oldest first.
///
/// A reader that has an answer and does not ask again keeps a stream of the link, and readers of one address could keep all of them.
#[derive(Debug, Default)]
pub(super) struct OpenReceipts(Mutex<Vec<(Client, Weak<Slip>)>>);

impl OpenReceipts {
    /// Notes an answer for this client. Where `most` wait already, the oldest answer of the client that has most of them is given back:
    /// its reader may have it, but does not say so in time.
    pub(super) fn add(&self, client: &Client, receipt: &Receipt, most: usize) {
        let returned = {
            let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|(_, slip)| slip.upgrade().is_some_and(|slip| !Receipt(slip).is_settled()));
            let returned = (open.len() >= most).then(|| Self::oldest_of_largest(&open)).flatten();
            open.push((client.network(), Arc::downgrade(&receipt.0)));
            returned
        };
        if let Some(receipt) = returned {
            receipt.returned();
        }
    }

    fn oldest_of_largest(open: &[(Client, Weak<Slip>)]) -> Option<Receipt> {
        let kept: Vec<_> = open
            .iter()
            .filter_map(|(client, slip)| Some((client, Receipt(slip.upgrade()?))))
            .filter(|(_, receipt)| receipt.is_kept())
            .collect();
        let mut counts: HashMap<&Client, usize> = HashMap::new();
        kept.iter().for_each(|(client, _)| *counts.entry(client).or_default() += 1);
        let most = counts.values().copied().max()?;
        let oldest = kept.iter().find(|(client, _)| counts.get(client) == Some(&most));
        oldest.map(|(_, receipt)| receipt.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untold_deliveries_are_bounded_and_go_once_heard() {
        let untold = Untold::default();
        for n in 0..300 {
            untold.add(ScrapeId(n));
        }
        let told = untold.list();
        assert_eq!((told.len(), told[0]), (MAX_UNTOLD, ScrapeId(44)));
        untold.add(ScrapeId(1_000));
        untold.heard(&told);
        assert_eq!(untold.list(), [ScrapeId(1_000)]);
    }

    #[test]
    fn numbers_differ() {
        let numbers = Numbers::default();
        assert_ne!(numbers.next(), numbers.next());
    }
}
