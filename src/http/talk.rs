//! The state of a conversation on one connection: whose turn it is, and what became of each response. No I/O; time is an argument.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Timers;
use super::delivery::{Fate, Slot};

/// Responses of one connection whose fate may be open at a time: only a client that sends many requests without reading the answers has
/// more than one, and of that one nothing is believed anyway.
const MAX_LENT: usize = 64;

/// A body may take this many times the span in which a byte of it must arrive.
const BODY_TOTAL: u32 = 5;

/// Which of the client's and our turns it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing of a request has arrived since the last response was written.
    Idle { since: Instant },
    /// A part of a request's head has arrived.
    Head { since: Instant },
    /// A request is being answered; so many bytes of its body are still to come.
    Answer { body_left: u64 },
}

/// How far the response in work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Parts of it are still to come.
    Open,
    /// All of it has been handed down.
    Whole,
    /// It ended early.
    Broken,
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

/// Somebody who wants to know what became of a response.
struct Lent {
    slot: Arc<Slot>,
    /// Whether the transport has taken the last byte of the response.
    written: bool,
}

/// Slots and what has become of their responses, to be told once no lock is held.
pub(super) type Verdicts = Vec<(Arc<Slot>, Fate)>;

pub(super) struct Talk {
    turn: Turn,
    answer: Answer,
    scan: HeadScan,
    /// Bytes that have arrived after the end of the head.
    beyond_head: u64,
    /// Since when the reader has been waiting for a piece of the body, and since when for any of it.
    body_wait: Option<Instant>,
    body_since: Option<Instant>,
    /// Bytes of a request came before the response to the one before it had been written, so a new request proves nothing here.
    pipelines: bool,
    eof: bool,
    failed: bool,
    over: bool,
    lent: Vec<Lent>,
}

impl Talk {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            turn: Turn::Idle { since: now },
            answer: Answer::Open,
            scan: HeadScan::default(),
            beyond_head: 0,
            body_wait: None,
            body_since: None,
            pipelines: false,
            eof: false,
            failed: false,
            over: false,
            lent: Vec::new(),
        }
    }

    /// Whether nothing is in work: the connection could be closed without loss.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.turn, Turn::Idle { .. })
    }

    /// Whether a part of a request's head is there and no more.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.turn, Turn::Head { .. })
    }

    /// Whether a request is being answered.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.turn, Turn::Answer { .. })
    }

    /// Whether somebody waits for the fate of a response.
    pub(super) fn owes_verdicts(&self) -> bool {
        !self.lent.is_empty()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn has_ended(&self) -> bool {
        self.eof
    }

    /// Bytes from the client have been read.
    pub(super) fn read(&mut self, bytes: &[u8], now: Instant) -> Verdicts {
        self.body_wait = None;
        let mut verdicts = Vec::new();
        match &mut self.turn {
            Turn::Answer { body_left } => {
                let count = bytes.len() as u64;
                self.pipelines |= count > *body_left;
                *body_left = body_left.saturating_sub(count);
                return verdicts;
            }
            Turn::Idle { .. } => {
                self.turn = Turn::Head { since: now };
                if !self.pipelines {
                    verdicts = self.take_written(Fate::Confirmed);
                }
            }
            Turn::Head { .. } => {}
        }
        self.beyond_head += self.scan.feed(bytes) as u64;
        verdicts
    }

    /// The head of a request is complete; its body has so many bytes, or nobody knows how many.
    pub(super) fn begin(&mut self, body: Option<u64>) {
        self.pipelines |= !self.scan.complete || body.is_none_or(|body| self.beyond_head > body);
        let body_left = body.map_or(u64::MAX, |body| body.saturating_sub(self.beyond_head));
        self.turn = Turn::Answer { body_left };
        self.answer = Answer::Open;
        self.scan = HeadScan::default();
        self.beyond_head = 0;
        self.body_wait = None;
        self.body_since = None;
    }

    /// The body of the response in work has been handed down to its end, or was dropped before that.
    pub(super) fn answered(&mut self, whole: bool) {
        self.answer = if whole { Answer::Whole } else { Answer::Broken };
    }

    /// Whether a flush would end the response in work, and whether somebody waits for its fate.
    pub(super) fn may_end(&self) -> Option<bool> {
        let ends = self.is_answering() && self.answer != Answer::Open;
        ends.then(|| self.lent.iter().any(|lent| !lent.written))
    }

    /// The transport has taken all that was handed down; `quiet` says that nothing of the client waits unread in it.
    pub(super) fn flushed(&mut self, quiet: bool, now: Instant) -> Verdicts {
        let Turn::Answer { body_left } = self.turn else { return Vec::new() };
        let verdicts = match self.answer {
            Answer::Open => return Vec::new(),
            Answer::Whole => {
                let mut open = self.lent.iter_mut().filter(|lent| !lent.written).peekable();
                self.pipelines |= open.peek().is_some() && !quiet;
                open.for_each(|lent| lent.written = true);
                Vec::new()
            }
            Answer::Broken => self.take_unwritten(),
        };
        self.pipelines |= body_left > 0;
        self.turn = Turn::Idle { since: now };
        verdicts
    }

    /// The client has sent its end of file.
    pub(super) fn ended(&mut self) {
        self.eof = true;
    }

    /// The transport has failed, or a limit was broken: nothing that is open was received for certain.
    pub(super) fn fail(&mut self) -> Verdicts {
        self.failed = true;
        self.take_all(Fate::Returned)
    }

    /// The conversation is over; responses that were not written whole are lost.
    pub(super) fn close(&mut self) -> Verdicts {
        self.over = true;
        self.take_unwritten()
    }

    /// All that was written whole has been received: its end of file came after it was acknowledged.
    pub(super) fn confirm_written(&mut self) -> Verdicts {
        self.take_written(Fate::Confirmed)
    }

    /// The last word on all that is still open.
    pub(super) fn judge(&mut self, fate: Fate) -> Verdicts {
        self.take_all(fate)
    }

    /// Follows the response in work; returns a verdict at once where there is none.
    pub(super) fn lend(&mut self, slot: Arc<Slot>) -> Verdicts {
        if self.over || self.failed || self.answer != Answer::Open || !matches!(self.turn, Turn::Answer { .. }) {
            return vec![(slot, Fate::Returned)];
        }
        self.lent.push(Lent { slot, written: false });
        if self.lent.len() > MAX_LENT {
            return vec![(self.lent.remove(0).slot, Fate::Returned)];
        }
        Vec::new()
    }

    /// Whether a response is under way (`None`), or written whole.
    pub(super) fn is_written(&self, slot: &Arc<Slot>) -> Option<bool> {
        match self.lent.iter().find(|lent| Arc::ptr_eq(&lent.slot, slot)) {
            Some(lent) if !lent.written && !self.over && !self.failed => None,
            Some(lent) => Some(lent.written),
            None => Some(false),
        }
    }

    /// Forgets a slot that was settled by other means.
    pub(super) fn forget(&mut self, slot: &Arc<Slot>) {
        self.lent.retain(|lent| !Arc::ptr_eq(&lent.slot, slot));
    }

    /// Until when the client may keep us waiting, and for what; none while it is our turn.
    pub(super) fn deadline(&mut self, timers: &Timers, now: Instant) -> Option<(Instant, Wait)> {
        match self.turn {
            Turn::Idle { since } => Some((since + timers.idle, Wait::Idle)),
            Turn::Head { since } => Some((since + timers.head, Wait::Head)),
            Turn::Answer { body_left: 0 } => None,
            Turn::Answer { .. } => {
                let whole = *self.body_since.get_or_insert(now) + timers.body_stall * BODY_TOTAL;
                let piece = *self.body_wait.get_or_insert(now) + timers.body_stall;
                Some((whole.min(piece), Wait::Body))
            }
        }
    }

    fn take_written(&mut self, fate: Fate) -> Verdicts {
        let (written, open) = mem::take(&mut self.lent).into_iter().partition(|lent: &Lent| lent.written);
        self.lent = open;
        verdicts(written, fate)
    }

    fn take_unwritten(&mut self) -> Verdicts {
        let (written, open) = mem::take(&mut self.lent).into_iter().partition(|lent: &Lent| lent.written);
        self.lent = written;
        verdicts(open, Fate::Returned)
    }

    fn take_all(&mut self, fate: Fate) -> Verdicts {
        verdicts(mem::take(&mut self.lent), fate)
    }
}

fn verdicts(lent: Vec<Lent>, fate: Fate) -> Verdicts {
    lent.into_iter().map(|lent| (lent.slot, fate)).collect()
}

/// Finds the end of a request's head, the first empty line after one that is not, however the bytes are split.
#[derive(Debug, Default)]
struct HeadScan {
    complete: bool,
    /// Whether a line has begun: blank lines before the request line are no head (RFC 9112, 2.2).
    begun: bool,
    /// Whether the current line has a byte other than a carriage return.
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

/// How long a connection may idle between requests. At least ten minutes, because closing takes the chance to see the next request, which
/// is what confirms the last response; Prometheus itself lets go after five.
pub(super) const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15 * 60);
