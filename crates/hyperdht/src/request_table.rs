//! Requests without a reply: their retries and timeouts, and a limit on how many are sent at the same time.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// Limit on requests, sent or queued; several times those of all concurrent dials, announcements and queries.
const MAX_REQUESTS: usize = 4_096;
/// Limit on sent requests without a reply, so that neither our network nor a NAT in front of it is flooded. Further ones are queued.
const MAX_UNANSWERED: usize = 128;

/// The retries and the timeout of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempts {
    /// Timeout of each attempt.
    pub(crate) timeout: Duration,
    /// Number of attempts after the first.
    pub(crate) retries: u32,
}

impl Default for Attempts {
    /// Those of HyperDHT.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            retries: 3,
        }
    }
}

#[derive(Debug)]
struct Pending<T> {
    to: SocketAddrV4,
    datagram: Vec<u8>,
    attempts: Attempts,
    /// The end of the current attempt; `None` if the request is queued.
    due: Option<Instant>,
    /// True if it was sent more than once.
    late: bool,
    purpose: T,
}

/// A request that has ended, by its reply or its last timeout.
#[derive(Debug)]
pub(crate) struct Ended<T> {
    /// The node.
    pub(crate) to: SocketAddrV4,
    /// True if it was sent more than once.
    pub(crate) late: bool,
    /// The purpose of the request.
    pub(crate) purpose: T,
}

/// The requests by their numbers. `T` is the purpose of a request.
#[derive(Debug)]
pub(crate) struct RequestTable<T> {
    pending: HashMap<u16, Pending<T>>,
    due: BTreeSet<(Instant, u16)>,
    /// The numbers of queued requests, the oldest first. It may contain those of requests that have ended.
    queue: VecDeque<u16>,
}

impl<T> Default for RequestTable<T> {
    fn default() -> Self {
        Self {
            pending: HashMap::new(),
            due: BTreeSet::new(),
            queue: VecDeque::new(),
        }
    }
}

impl<T> RequestTable<T> {
    /// Returns true if a request with this number can be added.
    pub(crate) fn has_room_for(&self, tid: u16) -> bool {
        self.pending.len() < MAX_REQUESTS && self.queue.len() < MAX_REQUESTS && !self.pending.contains_key(&tid)
    }

    /// Returns true if few requests are without a reply, so that there is room for those that are not urgent.
    pub(crate) fn is_quiet(&self) -> bool {
        self.pending.len() <= 2
    }

    /// Adds a request. The caller has checked that there is room.
    pub(crate) fn add(&mut self, tid: u16, to: SocketAddrV4, datagram: Vec<u8>, attempts: Attempts, purpose: T) {
        let pending = Pending {
            to,
            datagram,
            attempts,
            due: None,
            late: false,
            purpose,
        };
        self.pending.insert(tid, pending);
        self.queue.push_back(tid);
    }

    /// Returns the next datagram to send now.
    pub(crate) fn transmit(&mut self, now: Instant) -> Option<(SocketAddrV4, Vec<u8>)> {
        while self.due.len() < MAX_UNANSWERED {
            let tid = self.queue.pop_front()?;
            // It may have ended while it was queued.
            if let Some(pending) = self.pending.get_mut(&tid).filter(|pending| pending.due.is_none()) {
                let due = now + pending.attempts.timeout;
                pending.due = Some(due);
                self.due.insert((due, tid));
                return Some((pending.to, pending.datagram.clone()));
            }
        }
        None
    }

    /// Ends the request that a node replies to; `None` if it has no such request.
    pub(crate) fn on_reply(&mut self, tid: u16, from: SocketAddrV4) -> Option<Ended<T>> {
        self.pending
            .get(&tid)
            .filter(|pending| pending.to == from && pending.due.is_some())?;
        self.remove(tid)
    }

    fn remove(&mut self, tid: u16) -> Option<Ended<T>> {
        let Pending {
            to, due, late, purpose, ..
        } = self.pending.remove(&tid)?;
        if let Some(due) = due {
            self.due.remove(&(due, tid));
        }
        Some(Ended { to, late, purpose })
    }

    /// Returns the end of the next attempt.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Ends attempts that are over by now, and queues retries. `wanted` returns false for a request without a use; `on_late` is called
    /// before a first retry. Returns the requests that have ended.
    pub(crate) fn advance(&mut self, now: Instant, wanted: impl Fn(&T) -> bool, mut on_late: impl FnMut(&T)) -> Vec<Ended<T>> {
        let mut ended = Vec::new();
        while let Some((due, tid)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, tid));
            let Some(pending) = self.pending.get_mut(&tid) else { continue };
            pending.due = None;
            if pending.attempts.retries == 0 || !wanted(&pending.purpose) {
                ended.extend(self.remove(tid));
                continue;
            }
            pending.attempts.retries -= 1;
            if !pending.late {
                pending.late = true;
                on_late(&pending.purpose);
            }
            self.queue.push_back(tid);
        }
        ended
    }
}

#[cfg(test)]
mod tests;
