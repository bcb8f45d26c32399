//! The scraping end's books: what became of an answer at its reader, told to whoever gave it.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ring::rand::{SecureRandom as _, SystemRandom};

use super::link_event::ScrapeId;
use super::stream::LinkStream;
use crate::model::Client;

/// Deliveries that are remembered for the next request: the scrapes of as many readers between two of them.
const MAX_UNREPORTED: usize = 256;

/// Numbers for scrapes, none given twice in a run, and hardly ever in two runs.
#[derive(Debug)]
pub(crate) struct ScrapeIds(AtomicU64);

impl Default for ScrapeIds {
    fn default() -> Self {
        let mut start = [0; 8];
        // Without randomness numbers begin at 0, and a restart could confirm an answer of the run before.
        let _ = SystemRandom::new().fill(&mut start);
        Self(AtomicU64::new(u64::from_ne_bytes(start)))
    }
}

impl ScrapeIds {
    pub(super) fn next(&self) -> ScrapeId {
        ScrapeId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Deliveries that one scraped end has not surely been told of. They outlive its link.
#[derive(Debug, Default)]
pub(crate) struct UnreportedDeliveries(Mutex<VecDeque<ScrapeId>>);

impl UnreportedDeliveries {
    fn with<T>(&self, change: impl FnOnce(&mut VecDeque<ScrapeId>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, scrape: ScrapeId) {
        self.with(|list| {
            if list.len() >= MAX_UNREPORTED {
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
    pub(super) fn mark_reported(&self, reported: &[ScrapeId]) {
        self.with(|list| list.retain(|scrape| !reported.contains(scrape)));
    }
}

/// What is to be done with an answer: say whether it has reached its reader.
///
/// Until then its stream is kept, so that the scraped end keeps waiting. A receipt that is dropped says nothing, which counts as no.
#[derive(Clone)]
pub struct DeliveryReceipt(Arc<ReceiptState>);

pub(super) struct ReceiptState {
    scrape: ScrapeId,
    deliver: Box<dyn Fn(ScrapeId) + Send + Sync>,
    state: Mutex<ReceiptPhase>,
    whole: AtomicBool,
}

#[derive(Debug)]
enum ReceiptPhase {
    /// The body is still coming.
    Receiving,
    /// The body has come whole, and its stream waits.
    Complete(LinkStream),
    /// All has been said.
    Reported,
}

impl std::fmt::Debug for ReceiptState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceiptState({})", self.scrape)
    }
}

impl DeliveryReceipt {
    pub(super) fn new(scrape: ScrapeId, deliver: impl Fn(ScrapeId) + Send + Sync + 'static) -> Self {
        Self(Arc::new(ReceiptState {
            scrape,
            deliver: Box::new(deliver),
            state: Mutex::new(ReceiptPhase::Receiving),
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
    pub fn is_complete(&self) -> bool {
        self.0.whole.load(Ordering::Acquire)
    }

    /// The body has come whole.
    pub(super) fn complete(&self, stream: LinkStream) {
        self.0.whole.store(true, Ordering::Release);
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, ReceiptPhase::Receiving) {
            *state = ReceiptPhase::Complete(stream);
        }
    }

    fn is_reported(&self) -> bool {
        matches!(
            &*self.0.state.lock().unwrap_or_else(PoisonError::into_inner),
            ReceiptPhase::Reported
        )
    }

    /// Whether the body has come whole, and its stream waits for word from the reader.
    fn awaits_outcome(&self) -> bool {
        matches!(
            &*self.0.state.lock().unwrap_or_else(PoisonError::into_inner),
            ReceiptPhase::Complete(_)
        )
    }

    fn take_phase(&self) -> ReceiptPhase {
        mem::replace(
            &mut *self.0.state.lock().unwrap_or_else(PoisonError::into_inner),
            ReceiptPhase::Reported,
        )
    }

    /// The answer has reached its reader, whole.
    pub fn acked(&self) {
        if let ReceiptPhase::Complete(stream) = self.take_phase() {
            (self.0.deliver)(self.0.scrape);
            drop(stream);
        }
    }

    /// It may not have.
    pub fn unacked(&self) {
        if let ReceiptPhase::Complete(stream) = self.take_phase() {
            stream.reset();
        }
    }
}

/// The receipts of one link that are not settled, the oldest first.
///
/// A reader that has an answer and does not ask again keeps a stream of the link, and readers of one address could keep all of them.
#[derive(Debug, Default)]
pub(super) struct PendingReceipts(Mutex<Vec<(Client, Weak<ReceiptState>)>>);

impl PendingReceipts {
    /// Notes an answer for this client. Where `most` wait already, the oldest answer of the client that has most of them is given back:
    /// its reader may have it, but does not say so in time.
    pub(super) fn add(&self, client: &Client, receipt: &DeliveryReceipt, most: usize) {
        let unacked = {
            let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|(_, state)| state.upgrade().is_some_and(|state| !DeliveryReceipt(state).is_reported()));
            let unacked = (open.len() >= most).then(|| Self::oldest_of_largest(&open)).flatten();
            open.push((client.network(), Arc::downgrade(&receipt.0)));
            unacked
        };
        if let Some(receipt) = unacked {
            receipt.unacked();
        }
    }

    fn oldest_of_largest(open: &[(Client, Weak<ReceiptState>)]) -> Option<DeliveryReceipt> {
        let waiting: Vec<_> = open
            .iter()
            .filter_map(|(client, state)| Some((client, DeliveryReceipt(state.upgrade()?))))
            .filter(|(_, receipt)| receipt.awaits_outcome())
            .collect();
        let mut counts: HashMap<&Client, usize> = HashMap::new();
        waiting.iter().for_each(|(client, _)| *counts.entry(client).or_default() += 1);
        let most = counts.values().copied().max()?;
        let oldest = waiting.iter().find(|(client, _)| counts.get(client) == Some(&most));
        oldest.map(|(_, receipt)| receipt.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untold_deliveries_are_bounded_and_go_once_heard() {
        let unreported = UnreportedDeliveries::default();
        for n in 0..300 {
            unreported.add(ScrapeId(n));
        }
        let reported = unreported.list();
        assert_eq!((reported.len(), reported[0]), (MAX_UNREPORTED, ScrapeId(44)));
        unreported.add(ScrapeId(1_000));
        unreported.mark_reported(&reported);
        assert_eq!(unreported.list(), [ScrapeId(1_000)]);
    }

    #[test]
    fn numbers_differ() {
        let ids = ScrapeIds::default();
        assert_ne!(ids.next(), ids.next());
    }
}
