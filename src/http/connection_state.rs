//! The state of one connection: its phase and the delivery outcome of each response. No I/O; time is an argument.

use std::mem;
use std::sync::Arc;

use tokio::time::Instant;

use super::Timers;
use super::delivery::{DeliveryOutcome, TrackedResponse};
use crate::supervise::Pace;

/// Limit on responses of one connection with an open outcome. Only a client that pipelines requests has more than one, and its requests
/// ack nothing anyway.
const MAX_OPEN: usize = 64;

/// A body may take this many times the span in which a byte of it must arrive.
const BODY_TOTAL: u32 = 5;

/// Phase of the current request and response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing of a request has arrived since the last response was written.
    Idle { since: Instant },
    /// A part of a request's head has arrived.
    Head { since: Instant },
    /// A request is being answered; `body_left` bytes of its body have not arrived yet.
    Response { body_left: u64 },
}

/// Progress of the current response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseProgress {
    /// Parts of it are still to come.
    Sending,
    /// All of it has been handed down.
    Complete,
    /// It ended early.
    Truncated,
}

/// A wait for the client that has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// For the first byte of a request.
    Idle,
    /// For the rest of a request's head.
    Head,
    /// For more of a request's body.
    Body,
}

/// A change that the connection slot has to learn of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotNews {
    /// A request has begun.
    Busy,
    /// Its rest is waited for.
    Incomplete,
    /// It is complete.
    Requested,
}

/// A response with an open delivery outcome.
struct OpenResponse {
    tracked: Arc<TrackedResponse>,
    /// True once the transport has accepted the last byte of the response.
    written: bool,
}

/// Responses and their outcomes, reported once no lock is held.
pub(super) type Outcomes = Vec<(Arc<TrackedResponse>, DeliveryOutcome)>;

pub(super) struct ConnectionState {
    phase: Phase,
    progress: ResponseProgress,
    scan: HeadScan,
    /// Bytes that have arrived after the end of the head.
    beyond_head: u64,
    /// Since when the reader has been waiting for a piece of the body, and since when for any of it.
    body_wait: Option<Instant>,
    body_since: Option<Instant>,
    /// Bytes of a request may have come before the response to the one before it had been written, so a new request proves nothing here.
    pipelines: bool,
    /// Bytes of a request certainly came before that: the client asks ahead, and what its kernel has it may never read.
    asks_ahead: bool,
    /// The beginning of a request that is not complete, or of the connection without its first one.
    request_since: Instant,
    /// The pace of the body.
    pace: Pace,
    /// The state that the connection slot has: idle, and counted as one without a complete request.
    slot_idle: bool,
    slot_incomplete: bool,
    eof: bool,
    failed: bool,
    over: bool,
    open: Vec<OpenResponse>,
}

impl ConnectionState {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Idle { since: now },
            progress: ResponseProgress::Sending,
            scan: HeadScan::default(),
            beyond_head: 0,
            body_wait: None,
            body_since: None,
            pipelines: false,
            asks_ahead: false,
            request_since: now,
            pace: Pace::for_slot(now),
            slot_idle: true,
            slot_incomplete: true,
            eof: false,
            failed: false,
            over: false,
            open: Vec::new(),
        }
    }

    /// Returns true if there is no request: the connection can be closed without loss.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle { .. })
    }

    /// Since when nothing has been in work, if nothing is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle { since } => Some(since),
            Phase::Head { .. } | Phase::Response { .. } => None,
        }
    }

    /// Returns true if only a part of a request's head has arrived.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.phase, Phase::Head { .. })
    }

    /// Returns true if a part of a request has not arrived, or may not have.
    pub(super) fn is_incomplete(&self) -> bool {
        self.is_in_head() || self.awaits_body()
    }

    /// The beginning of the request that is not complete; of a connection without any, its own.
    pub(super) fn request_since(&self) -> Instant {
        self.request_since
    }

    /// Returns true if the rest of a request is waited for, of which little has come lately.
    pub(super) fn is_slow(&self, now: Instant) -> bool {
        self.slow_from().is_some_and(|from| now >= from)
    }

    /// The time from which on little has come lately, if nothing more comes; `None` while nothing is waited for.
    pub(super) fn slow_from(&self) -> Option<Instant> {
        let waits = match self.phase {
            Phase::Idle { .. } | Phase::Response { body_left: 0 } => false,
            Phase::Head { .. } => true,
            Phase::Response { .. } => self.body_wait.is_some() && self.progress == ResponseProgress::Sending,
        };
        waits.then(|| self.pace.slow_from())
    }

    /// The change that the connection slot has to learn of; `waits` if nothing more of the client is there to be read.
    pub(super) fn slot_news(&mut self, waits: bool) -> Option<SlotNews> {
        let news = match self.phase {
            Phase::Idle { .. } => return None,
            Phase::Response { body_left: 0 } if self.slot_incomplete => SlotNews::Requested,
            Phase::Head { .. } | Phase::Response { body_left: 1.. } if waits && !self.slot_incomplete => SlotNews::Incomplete,
            _ if self.slot_idle => SlotNews::Busy,
            _ => return None,
        };
        self.slot_idle = false;
        match news {
            SlotNews::Busy => {}
            SlotNews::Incomplete => self.slot_incomplete = true,
            SlotNews::Requested => self.slot_incomplete = false,
        }
        Some(news)
    }

    /// Returns true if a request is being answered.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.phase, Phase::Response { .. })
    }

    /// Returns true if a request is being answered and a part of its body has not arrived, or may not have.
    pub(super) fn awaits_body(&self) -> bool {
        matches!(self.phase, Phase::Response { body_left: 1.. })
    }

    /// Returns true if the outcome of a response is open.
    pub(super) fn has_open_responses(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn has_ended(&self) -> bool {
        self.eof
    }

    /// Bytes from the client have been read.
    pub(super) fn read(&mut self, bytes: &[u8], now: Instant) -> Outcomes {
        self.body_wait = None;
        let mut outcomes = Vec::new();
        match &mut self.phase {
            Phase::Response { body_left } => {
                let count = bytes.len() as u64;
                let is_beyond = count > *body_left;
                self.pipelines |= is_beyond;
                self.asks_ahead |= is_beyond && self.progress == ResponseProgress::Sending;
                *body_left = body_left.saturating_sub(count);
                self.pace.add(count, now);
                return outcomes;
            }
            Phase::Idle { .. } => {
                self.phase = Phase::Head { since: now };
                if !self.slot_incomplete {
                    self.request_since = now;
                }
                if !self.pipelines {
                    outcomes = self.take_written(DeliveryOutcome::Acked);
                }
            }
            Phase::Head { .. } => {}
        }
        let beyond = self.scan.feed(bytes) as u64;
        self.beyond_head += beyond;
        self.pace.add(beyond, now);
        outcomes
    }

    /// A byte has come while a response is being written: unless it belongs to the request's body, the client pipelines.
    pub(super) fn read_ahead(&mut self) {
        let is_beyond = !matches!(self.phase, Phase::Response { body_left: 1.. });
        self.pipelines |= is_beyond;
        self.asks_ahead |= is_beyond;
    }

    /// Marks the head of a request as complete; `body` is the length of its body, if it is known.
    pub(super) fn begin(&mut self, body: Option<u64>) {
        let is_beyond = !self.scan.complete || body.is_none_or(|body| self.beyond_head > body);
        self.pipelines |= is_beyond;
        self.asks_ahead |= is_beyond;
        let body_left = body.map_or(u64::MAX, |body| body.saturating_sub(self.beyond_head));
        self.phase = Phase::Response { body_left };
        self.progress = ResponseProgress::Sending;
        self.scan = HeadScan::default();
        self.beyond_head = 0;
        self.body_wait = None;
        self.body_since = None;
    }

    /// The body of the response in work has been handed down to its end, or was dropped before that.
    pub(super) fn answered(&mut self, whole: bool) {
        self.progress = if whole {
            ResponseProgress::Complete
        } else {
            ResponseProgress::Truncated
        };
    }

    /// `Some` if a flush would end the current response; true if its outcome is open.
    pub(super) fn may_end(&self) -> Option<bool> {
        let ends = self.is_answering() && self.progress != ResponseProgress::Sending;
        ends.then(|| self.open.iter().any(|open| !open.written))
    }

    /// The transport has taken all that was handed down; `quiet` says that nothing of the client waits unread in it.
    pub(super) fn flushed(&mut self, quiet: bool, now: Instant) -> Outcomes {
        let Phase::Response { body_left } = self.phase else {
            return Vec::new();
        };
        let outcomes = match self.progress {
            ResponseProgress::Sending => return Vec::new(),
            ResponseProgress::Complete => {
                let mut open = self.open.iter_mut().filter(|open| !open.written).peekable();
                self.pipelines |= open.peek().is_some() && !quiet;
                open.for_each(|open| open.written = true);
                Vec::new()
            }
            ResponseProgress::Truncated => self.take_unwritten(),
        };
        self.pipelines |= body_left > 0;
        self.asks_ahead |= body_left > 0;
        self.phase = Phase::Idle { since: now };
        (self.slot_idle, self.slot_incomplete) = (true, false);
        outcomes
    }

    /// Returns what was leased to the response in work, because another response is sent in its place.
    pub(super) fn unack_unwritten(&mut self) -> Outcomes {
        self.take_unwritten()
    }

    /// The client has sent its end of file.
    pub(super) fn ended(&mut self) {
        self.eof = true;
    }

    /// The transport has failed, or a limit was broken: nothing that is open was received for certain. Where an acknowledgement is enough, and
    /// `had_all` says that the client's kernel had acknowledged everything, what was written whole counts as received.
    pub(super) fn fail(&mut self, had_all: bool) -> Outcomes {
        self.failed = true;
        let is_received = |open: &OpenResponse| had_all && open.written && open.tracked.may_be_reset();
        let (received, open) = mem::take(&mut self.open).into_iter().partition(is_received);
        let mut all = outcomes(received, DeliveryOutcome::Acked);
        all.extend(outcomes(open, DeliveryOutcome::Unacked));
        all
    }

    /// The conversation is over; responses that were not written whole are lost.
    pub(super) fn close(&mut self) -> Outcomes {
        self.over = true;
        self.take_unwritten()
    }

    /// True while a response with an open outcome is being written.
    pub(super) fn is_writing_open(&self) -> bool {
        self.is_answering() && self.open.iter().any(|open| !open.written)
    }

    /// The client asks for the same again, and has acknowledged all that was written whole: it has received it, unless it asks ahead.
    pub(super) fn confirm_asked_again(&mut self) -> Outcomes {
        match self.asks_ahead {
            true => Vec::new(),
            false => self.take_written(DeliveryOutcome::Acked),
        }
    }

    /// All that was written whole has been received: its end of file came after it was acknowledged.
    pub(super) fn confirm_written(&mut self) -> Outcomes {
        self.take_written(DeliveryOutcome::Acked)
    }

    /// The last word on all that is still open.
    pub(super) fn settle_all(&mut self, outcome: DeliveryOutcome) -> Outcomes {
        self.take_all(outcome)
    }

    /// Follows the response in work; returns a verdict at once where there is none.
    pub(super) fn track(&mut self, tracked: Arc<TrackedResponse>) -> Outcomes {
        if self.over || self.failed || self.progress != ResponseProgress::Sending || !matches!(self.phase, Phase::Response { .. }) {
            return vec![(tracked, DeliveryOutcome::Unacked)];
        }
        self.open.push(OpenResponse { tracked, written: false });
        if self.open.len() > MAX_OPEN {
            return outcomes(vec![self.open.remove(0)], DeliveryOutcome::Unacked);
        }
        Vec::new()
    }

    /// `None` while a response is being written, otherwise true if it was written completely. An incomplete one counts as lost once the
    /// client has sent its end of file: it may still be read, but when in doubt its events are sent again.
    pub(super) fn is_written(&self, tracked: &Arc<TrackedResponse>) -> Option<bool> {
        match self.open.iter().find(|open| Arc::ptr_eq(&open.tracked, tracked)) {
            Some(open) if !open.written && !self.over && !self.failed && !self.eof => None,
            Some(open) => Some(open.written),
            None => Some(false),
        }
    }

    /// Forgets a tracked response that was settled by other means.
    pub(super) fn forget(&mut self, tracked: &Arc<TrackedResponse>) {
        self.open.retain(|open| !Arc::ptr_eq(&open.tracked, tracked));
    }

    /// Until when the client may keep us waiting, and for what; none while it is our turn.
    pub(super) fn deadline(&mut self, timers: &Timers, now: Instant) -> Option<(Instant, Wait)> {
        match self.phase {
            Phase::Idle { since } => Some((since + timers.idle, Wait::Idle)),
            Phase::Head { since } => Some((since + timers.head, Wait::Head)),
            Phase::Response { body_left: 0 } => None,
            Phase::Response { .. } => {
                let whole = *self.body_since.get_or_insert(now) + timers.body_stall * BODY_TOTAL;
                let piece = *self.body_wait.get_or_insert(now) + timers.body_stall;
                Some((whole.min(piece), Wait::Body))
            }
        }
    }

    fn take_written(&mut self, outcome: DeliveryOutcome) -> Outcomes {
        let (written, open) = mem::take(&mut self.open).into_iter().partition(|open: &OpenResponse| open.written);
        self.open = open;
        outcomes(written, outcome)
    }

    fn take_unwritten(&mut self) -> Outcomes {
        let (written, open) = mem::take(&mut self.open).into_iter().partition(|open: &OpenResponse| open.written);
        self.open = written;
        outcomes(open, DeliveryOutcome::Unacked)
    }

    fn take_all(&mut self, outcome: DeliveryOutcome) -> Outcomes {
        outcomes(mem::take(&mut self.open), outcome)
    }
}

/// Decides the outcome of responses that the connection no longer follows. The callers hold its lock, so that from now on a thread that
/// does not find a response here finds its outcome in the tracked response.
fn outcomes(open: Vec<OpenResponse>, outcome: DeliveryOutcome) -> Outcomes {
    open.into_iter()
        .map(|OpenResponse { tracked, .. }| {
            let outcome = tracked.decide(outcome);
            (tracked, outcome)
        })
        .collect()
}

/// Finds the end of a request's head, the first empty line after one that is not, however the bytes are split.
#[derive(Debug, Default)]
struct HeadScan {
    complete: bool,
    /// True once a line has begun: empty lines before the request line are ignored (RFC 9112, 2.2).
    begun: bool,
    /// True if the current line has a byte other than a carriage return.
    line: bool,
}

impl HeadScan {
    /// Takes the next bytes and returns how many of them lie beyond the head.
    fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while !self.complete {
            let Some(end) = memchr::memchr(b'\n', &bytes[at..]) else {
                self.line |= bytes[at..].iter().any(|byte| *byte != b'\r');
                return 0;
            };
            self.line |= bytes[at..at + end].iter().any(|byte| *byte != b'\r');
            self.begun |= self.line;
            self.complete = self.begun && !self.line;
            self.line = false;
            at += end + 1;
        }
        bytes.len() - at
    }
}

#[cfg(test)]
mod tests;
