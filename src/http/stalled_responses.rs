//! Memory that stalled responses keep although nothing else does, and its bound.
//!
//! A response shares its parts with what is kept for the next one. Once that is replaced, a client that stopped reading keeps its own
//! version in memory. Such clients are many where the version changes with each update, so all of them together have one bound.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::shared_body::ResponseMemory;

/// Most bytes that stalled responses may keep beyond what is current: some versions of the largest usual response.
pub const MAX_STALLED_BYTES: u64 = 256 << 20;

/// A write that has waited for so long counts as stalled. A reader on a usual network takes less for what a socket buffers.
pub(super) const STALLED_AFTER: Duration = Duration::from_millis(250);

/// Shortest time between two looks through all parts for what has been replaced meanwhile. A look takes some microseconds for a thousand
/// parts.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The part of the limit, as a divisor, that is free once responses were closed: so much has to be added before the next look that no time
/// waits for. Without it each response that stalls at the limit costs a look.
const SPARE: u64 = 16;

/// The stalled responses of all connections that share it.
#[derive(Debug)]
pub struct StalledResponses {
    limit: u64,
    table: Mutex<Table>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    /// Bounded by the connections.
    stalled: HashMap<u64, Stalled>,
    /// The parts that stalled responses had at their beginning, by address. An address stays taken while the weak handle is here.
    rows: HashMap<usize, HeldSlices>,
    /// Bytes of all parts.
    bytes: u64,
    /// Bytes that were kept at the last look, and of the parts that were added since.
    kept_at_most: u64,
    next_look: Option<Instant>,
}

#[derive(Debug)]
struct Stalled {
    /// The last time at which the client read something.
    since: Instant,
    rows: Vec<Held>,
    /// Bytes that no other response shares, without those of the frame in work.
    unshared: Arc<AtomicU64>,
    /// Has the bytes of that frame.
    memory: ResponseMemory,
    /// Of the task that is to close the connection.
    waker: Waker,
    closing: bool,
}

impl Stalled {
    /// Bytes that no other response shares.
    fn unshared(&self) -> u64 {
        self.unshared.load(Ordering::Relaxed) + self.memory.frame()
    }
}

/// A part of one response.
#[derive(Debug, Clone, Copy)]
struct Held {
    address: usize,
    /// True if the response has not sent it yet.
    is_ahead: bool,
}

#[derive(Debug)]
struct HeldSlices {
    row: Weak<Vec<Bytes>>,
    bytes: u64,
    /// Stalled responses that have it or had it, without those that are being closed.
    responses: usize,
    /// Those that are being closed.
    closing: usize,
    /// Stalled responses that still have to send it, those that are being closed as well.
    ahead: usize,
}

impl HeldSlices {
    /// Returns true if it is current: not only stalled responses hold it.
    fn is_current(&self) -> bool {
        self.row.strong_count() > self.ahead
    }

    /// Bytes that it adds to what is kept. A part that was sent counts, too: a slice that is still to be sent may be one of the same text.
    fn kept(&self) -> u64 {
        if self.responses > 0 && !self.is_current() { self.bytes } else { 0 }
    }
}

impl Default for StalledResponses {
    fn default() -> Self {
        Self::new(MAX_STALLED_BYTES)
    }
}

impl StalledResponses {
    /// Creates a table with this limit in bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            table: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Bytes that stalled responses keep beyond what is current.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.table().kept()
    }

    /// Counts a response that has stalled since then. The longest-stalled responses are closed if all together hold too much: between two
    /// looks only what is replaced meanwhile adds to what is kept, which is one version of each part at most.
    pub(super) fn add(self: &Arc<Self>, memory: &ResponseMemory, since: Instant, waker: &Waker) -> Ticket {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut table = self.table();
        table.add(number, memory, since, waker.clone());
        if table.kept_at_most + table.unshared() > self.limit {
            table.enforce(self.limit);
        }
        drop(table);
        Ticket {
            number,
            stalled_responses: Arc::clone(self),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one response until it is dropped, because it goes on or ends.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    stalled_responses: Arc<StalledResponses>,
}

impl Ticket {
    /// Looks whether all responses keep too much, and says whether this one is to be closed for that. `waker` is woken when it is.
    pub(super) fn must_close(&self, now: Instant, waker: &Waker) -> bool {
        let mut table = self.stalled_responses.table();
        table.look(self.stalled_responses.limit, now);
        let Some(stalled) = table.stalled.get_mut(&self.number) else {
            return false;
        };
        stalled.waker.clone_from(waker);
        stalled.closing
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.stalled_responses.table().remove(self.number);
    }
}

impl Table {
    fn add(&mut self, number: u64, memory: &ResponseMemory, since: Instant, waker: Waker) {
        let mut rows = Vec::new();
        memory.each(|row, is_ahead| {
            let address = row.as_ptr().addr();
            let part = self.rows.entry(address).or_insert_with(|| {
                // A part that is gone has no size any more, and keeps nothing by itself.
                let bytes = row.upgrade().map_or(0, |row| row.iter().map(|slice| slice.len() as u64).sum());
                self.bytes += bytes;
                self.kept_at_most += bytes;
                HeldSlices {
                    row: row.clone(),
                    bytes,
                    responses: 0,
                    closing: 0,
                    ahead: 0,
                }
            });
            part.responses += 1;
            part.ahead += usize::from(is_ahead);
            rows.push(Held { address, is_ahead });
        });
        let stalled = Stalled {
            since,
            rows,
            unshared: memory.unshared(),
            memory: memory.clone(),
            waker,
            closing: false,
        };
        self.stalled.insert(number, stalled);
    }

    fn remove(&mut self, number: u64) {
        let Some(stalled) = self.stalled.remove(&number) else { return };
        for Held { address, is_ahead } in stalled.rows {
            let Some(part) = self.rows.get_mut(&address) else { continue };
            part.ahead -= usize::from(is_ahead);
            if stalled.closing {
                part.closing -= 1;
            } else {
                part.responses -= 1;
            }
            if part.responses + part.closing == 0 {
                self.bytes -= part.bytes;
                self.rows.remove(&address);
            }
        }
    }

    fn kept(&self) -> u64 {
        self.rows.values().map(HeldSlices::kept).sum::<u64>() + self.unshared()
    }

    fn unshared(&self) -> u64 {
        let staying = self.stalled.values().filter(|stalled| !stalled.closing);
        staying.map(Stalled::unshared).sum()
    }

    /// Looks from time to time whether what is kept has passed the limit.
    fn look(&mut self, limit: u64, now: Instant) {
        if self.next_look.is_some_and(|at| now < at) {
            return;
        }
        self.next_look = Some(now + LOOK_EVERY);
        // What is kept is not more than this, which is found faster.
        if self.bytes + self.unshared() > limit {
            self.enforce(limit);
        }
    }

    /// Closes the longest-stalled responses where more than the limit is kept, until the others leave some room below it.
    fn enforce(&mut self, limit: u64) {
        let mut kept = self.kept();
        if kept > limit {
            kept = self.close_down_to(limit - limit / SPARE, kept);
        }
        self.kept_at_most = kept.saturating_sub(self.unshared());
    }

    /// Closes the longest-stalled responses until the others keep no more than this, and returns what they keep.
    fn close_down_to(&mut self, limit: u64, mut kept: u64) -> u64 {
        let mut by_age: Vec<_> = self.stalled.values_mut().filter(|stalled| !stalled.closing).collect();
        by_age.sort_by_key(|stalled| stalled.since);
        for stalled in by_age {
            if kept <= limit {
                break;
            }
            stalled.closing = true;
            kept = kept.saturating_sub(stalled.unshared());
            for Held { address, .. } in &stalled.rows {
                let Some(part) = self.rows.get_mut(address) else { continue };
                let before = part.kept();
                part.responses -= 1;
                part.closing += 1;
                kept = kept.saturating_sub(before - part.kept());
            }
            stalled.waker.wake_by_ref();
        }
        kept
    }
}

#[cfg(test)]
mod tests;
