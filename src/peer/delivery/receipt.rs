//! Delivery receipts at the scraping end: report to the scraped end whether a response has reached its reader.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ring::rand::{SecureRandom as _, SystemRandom};

use super::stream::LinkStream;
use crate::model::Client;
use crate::peer::link_event::ScrapeId;

/// Limit on deliveries kept for the next request: the scrapes of as many readers between two requests.
const MAX_UNREPORTED: usize = 256;

/// Generator of scrape numbers: unique within a run, and almost certainly between runs.
#[derive(Debug)]
pub(crate) struct ScrapeIds(AtomicU64);

impl Default for ScrapeIds {
    fn default() -> Self {
        let mut start = [0; 8];
        // Without randomness the numbers start at 0, so after a restart a report could ack a response of the previous run.
        let _ = SystemRandom::new().fill(&mut start);
        Self(AtomicU64::new(u64::from_ne_bytes(start)))
    }
}

impl ScrapeIds {
    pub(crate) fn next(&self) -> ScrapeId {
        ScrapeId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Deliveries that the scraped end may not have received a report of. They outlive the link.
#[derive(Debug, Default)]
pub(crate) struct UnreportedDeliveries(Mutex<VecDeque<ScrapeId>>);

impl UnreportedDeliveries {
    fn with<T>(&self, change: impl FnOnce(&mut VecDeque<ScrapeId>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add(&self, scrape: ScrapeId) {
        self.with(|list| {
            if list.len() >= MAX_UNREPORTED {
                list.pop_front();
            }
            list.push_back(scrape);
        });
    }

    /// Returns all of them, for the header of a request.
    pub(crate) fn list(&self) -> Vec<ScrapeId> {
        self.with(|list| list.iter().copied().collect())
    }

    /// Removes deliveries after their report has arrived: the request that contained them was answered.
    pub(crate) fn mark_reported(&self, reported: &[ScrapeId]) {
        self.with(|list| list.retain(|scrape| !reported.contains(scrape)));
    }
}

/// The receipt of a response, for reporting whether it has reached its reader.
///
/// Until then its stream stays open, so that the scraped end keeps waiting. Dropping all clones of a receipt without a report counts as
/// unacked.
#[derive(Clone)]
pub struct DeliveryReceipt(Arc<ReceiptState>);

pub(crate) struct ReceiptState {
    scrape: ScrapeId,
    deliver: Box<dyn Fn(ScrapeId) + Send + Sync>,
    state: Mutex<ReceiptPhase>,
    whole: AtomicBool,
}

#[derive(Debug)]
enum ReceiptPhase {
    /// The body is being received.
    Receiving,
    /// The body is complete; its stream stays open until the report.
    Complete(LinkStream),
    /// The outcome was reported.
    Reported,
}

impl std::fmt::Debug for ReceiptState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceiptState({})", self.scrape)
    }
}

impl DeliveryReceipt {
    pub(crate) fn new(scrape: ScrapeId, deliver: impl Fn(ScrapeId) + Send + Sync + 'static) -> Self {
        Self(Arc::new(ReceiptState {
            scrape,
            deliver: Box::new(deliver),
            state: Mutex::new(ReceiptPhase::Receiving),
            whole: AtomicBool::new(false),
        }))
    }

    /// Returns the number of the scrape, the same at both ends.
    #[must_use]
    pub fn scrape(&self) -> ScrapeId {
        self.0.scrape
    }

    /// Returns true if the body was received completely.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.0.whole.load(Ordering::Acquire)
    }

    /// Marks the body as complete.
    pub(crate) fn complete(&self, stream: LinkStream) {
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

    /// Returns true if the body is complete and its outcome was not reported.
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

    /// Reports that the complete response has reached its reader.
    pub fn acked(&self) {
        if let ReceiptPhase::Complete(stream) = self.take_phase() {
            (self.0.deliver)(self.0.scrape);
            drop(stream);
        }
    }

    /// Reports that the response may not have reached its reader.
    pub fn unacked(&self) {
        if let ReceiptPhase::Complete(stream) = self.take_phase() {
            stream.reset();
        }
    }
}

/// The receipts of one link that were not reported, the oldest first.
///
/// A reader that has received a response and sends no further request occupies a stream of the link. Without a limit, the readers of one
/// address could occupy all streams.
#[derive(Debug, Default)]
pub(crate) struct PendingReceipts(Mutex<Vec<(Client, Weak<ReceiptState>)>>);

impl PendingReceipts {
    /// Adds the receipt of a client. If `most` receipts are pending already, reports the oldest one of the client with the most as
    /// unacked: its reader may have the response, but does not confirm it in time.
    pub(crate) fn add(&self, client: &Client, receipt: &DeliveryReceipt, most: usize) {
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
mod tests;
