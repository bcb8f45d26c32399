//! The sending half of a stream: what waits, what is on its way, what was lost.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::rtt::Rtt;
use super::window::Window;

/// Bytes of the stream in a packet: what UDX trusts every path to carry, 1200 bytes, without the headers of IP, UDP and UDX.
pub(super) const PAYLOAD_BYTES: usize = 1200 - 20 - 8 - 20;
/// Bytes that are held at once, waiting or on their way: as much as a receiver's window.
pub(super) const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// So many packets that were sent later have to arrive before one is taken for lost: paths reorder a little (RFC 9002).
const REORDERING: u64 = 3;
/// After so many waits in vain everything on its way is taken for lost.
const COLLAPSE: u32 = 3;
/// The longest wait between two attempts to hear anything.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// Room for packets that is kept while nothing is sent.
const KEPT_FLIGHTS: usize = 64;
/// How long nothing may be acknowledged while something is on its way. Whoever needs to know sooner asks something and waits.
const GIVE_UP: Duration = Duration::from_secs(30);

/// A packet that has to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) seq: u64,
    pub(super) payload: Bytes,
    pub(super) end: bool,
}

#[derive(Debug)]
struct Flight {
    payload: Bytes,
    end: bool,
    sent: Instant,
    /// The how manieth transmission of the stream its last one was.
    order: u64,
    again: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Flying,
    Arrived,
    Lost,
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Sender {
    waiting: BytesMut,
    /// From the first that is not acknowledged to the last that was sent.
    flights: VecDeque<Flight>,
    /// The number of the first of them.
    base: u64,
    lost: BTreeSet<u64>,
    /// Bytes of payload that neither arrived nor were lost; and of all that is not acknowledged in order.
    flying: usize,
    held: usize,
    /// Packets that have arrived while one before them has not.
    early: usize,
    finishing: bool,
    finished: bool,
    order: u64,
    /// The latest transmission that is known to have arrived.
    arrived: u64,
    /// Losses of earlier transmissions belong to a loss that the window has paid for.
    recovery: u64,
    /// What the other end can take beyond `base`, in bytes.
    theirs: usize,
    rtt: Rtt,
    window: Window,
    /// When something was last acknowledged, or first sent with nothing on its way.
    progress: Instant,
    last_sent: Instant,
    waits: u32,
    probe: bool,
}

impl Sender {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: BytesMut::new(),
            flights: VecDeque::new(),
            base: 0,
            lost: BTreeSet::new(),
            flying: 0,
            held: 0,
            early: 0,
            finishing: false,
            finished: false,
            order: 1,
            arrived: 0,
            recovery: 0,
            theirs: BUFFER_BYTES,
            rtt: Rtt::default(),
            window: Window::default(),
            progress: now,
            last_sent: now,
            waits: 0,
            probe: false,
        }
    }

    /// The number that the next new packet takes.
    pub(super) fn next(&self) -> u64 {
        self.base + self.flights.len() as u64
    }

    /// Takes as much as there is room for.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let room = BUFFER_BYTES.saturating_sub(self.held + self.waiting.len());
        let taken = bytes.len().min(room);
        self.waiting.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Nothing more is written.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    /// Whether [`Sender::finish`] was called.
    pub(super) fn finishing(&self) -> bool {
        self.finishing
    }

    /// Whether all that was written has been acknowledged, and the end, too, if there is one.
    pub(super) fn settled(&self) -> bool {
        self.flights.is_empty() && self.waiting.is_empty() && self.finishing == self.finished
    }

    /// Whether there is room for more than a few packets.
    pub(super) fn writable(&self) -> bool {
        self.held + self.waiting.len() <= BUFFER_BYTES / 4 * 3
    }

    /// How many bytes should be on their way at most, in either direction.
    pub(super) fn reach(&self) -> usize {
        self.rtt.reach()
    }

    /// The next packet that may be sent now.
    pub(super) fn transmit(&mut self, now: Instant) -> Option<Outgoing> {
        if self.probe {
            self.probe = false;
            if let Some(at) = self.flights.iter().position(|flight| flight.state != State::Arrived) {
                return Some(self.again(at, now));
            }
        }
        if self.window.due(self.rtt.smoothed(), now).is_some() {
            return None;
        }
        if let Some(&seq) = self.lost.first() {
            let at = index(seq - self.base);
            let allowed = self.window.allows(self.flying, self.flights[at].payload.len());
            return allowed.then(|| self.again(at, now));
        }
        self.fresh(now)
    }

    fn fresh(&mut self, now: Instant) -> Option<Outgoing> {
        let bytes = self.waiting.len().min(PAYLOAD_BYTES);
        let end = self.finishing && !self.finished && bytes == self.waiting.len();
        let room = self.held + bytes <= self.theirs.min(self.rtt.reach()) || self.flights.is_empty();
        if (bytes == 0 && !end) || !room || !self.window.allows(self.flying, bytes) {
            return None;
        }
        if self.flights.is_empty() {
            self.progress = now;
        }
        let payload = self.waiting.split_to(bytes).freeze();
        self.finished |= end;
        self.held += bytes;
        let seq = self.next();
        self.flights.push_back(Flight {
            payload: payload.clone(),
            end,
            sent: now,
            order: 0,
            again: false,
            state: State::Flying,
        });
        self.launch(self.flights.len() - 1, now);
        Some(Outgoing { seq, payload, end })
    }

    /// Sends one again.
    fn again(&mut self, at: usize, now: Instant) -> Outgoing {
        let seq = self.base + at as u64;
        if !self.lost.remove(&seq) {
            self.flying -= self.flights[at].payload.len();
        }
        self.flights[at].again = true;
        self.launch(at, now);
        let Flight { payload, end, .. } = &self.flights[at];
        Outgoing {
            seq,
            payload: payload.clone(),
            end: *end,
        }
    }

    fn launch(&mut self, at: usize, now: Instant) {
        let flight = &mut self.flights[at];
        (flight.sent, flight.order, flight.state) = (now, self.order, State::Flying);
        self.order += 1;
        self.last_sent = now;
        self.flying += flight.payload.len();
        self.window.sent(flight.payload.len());
    }

    /// The other end has everything before `ack`, and what is in `ranges`; numbers that were never sent mean nothing.
    pub(super) fn acknowledged(&mut self, ack: u64, ranges: impl Iterator<Item = (u64, u64)>, window: u32, now: Instant) {
        if ack > self.next() || ack < self.base {
            return;
        }
        self.theirs = window as usize;
        if self.theirs < self.held + PAYLOAD_BYTES {
            // It is there, but full.
            self.progress = now;
        }
        let limited = self.waiting.is_empty() && self.lost.is_empty();
        let mut gained = Gained::default();
        // They ascend; whoever says the same again and again does not have us look at it again and again.
        let mut from = ack;
        for (start, end) in ranges {
            for seq in start.max(from)..end.min(self.next()) {
                self.arrive(index(seq - self.base), now, &mut gained);
            }
            from = from.max(end);
        }
        while self.base < ack {
            self.arrive(0, now, &mut gained);
            let Some(flight) = self.flights.pop_front() else { break };
            self.early -= 1;
            self.held -= flight.payload.len();
            self.base += 1;
        }
        if self.flights.is_empty() && self.waiting.is_empty() {
            // Otherwise the room that the longest message took would stay with the stream for as long as it lives.
            self.waiting = BytesMut::new();
            self.flights.shrink_to(KEPT_FLIGHTS);
        }
        if gained.any {
            self.progress = now;
            // While nothing is measured, what was sent again may have been sent too soon: the patience that has grown stays.
            self.waits = self.waits.min(COLLAPSE - 1);
            if let Some(sample) = gained.sample {
                self.waits = 0;
                self.rtt.measured(sample);
            }
            if !limited {
                self.window.acknowledged(gained.bytes, self.rtt.smoothed().unwrap_or_default(), now);
            }
            self.find_lost(now);
        }
    }

    fn arrive(&mut self, at: usize, now: Instant, gained: &mut Gained) {
        let flight = &mut self.flights[at];
        if flight.state == State::Arrived {
            return;
        }
        if flight.state == State::Lost {
            self.lost.remove(&(self.base + at as u64));
        } else {
            self.flying -= flight.payload.len();
        }
        flight.state = State::Arrived;
        self.early += 1;
        gained.any = true;
        gained.bytes += flight.payload.len();
        let took = now.duration_since(flight.sent);
        // An acknowledgement answers the latest packet that it is about; where earlier ones were lost, it says nothing of how long those
        // before took. What was sent twice may have arrived the first time, but not sooner than anything ever did.
        if flight.order > gained.latest {
            gained.latest = flight.order;
            gained.sample = (!flight.again).then_some(took);
        }
        if !flight.again || took >= self.rtt.least() {
            self.arrived = self.arrived.max(flight.order);
        }
    }

    /// Takes for lost what was sent well before something that has arrived.
    fn find_lost(&mut self, now: Instant) {
        let late = self.rtt.reordering();
        // Without a hole nothing was overtaken; looking would take as long as the window is.
        if self.early == 0 && self.flights.front().is_none_or(|first| first.order > self.arrived) {
            return;
        }
        let mut fresh = false;
        for (at, flight) in self.flights.iter_mut().enumerate() {
            let overtaken = flight.order < self.arrived;
            let lost = overtaken && (flight.order + REORDERING <= self.arrived || flight.sent + late <= now);
            if lost && flight.state == State::Flying {
                flight.state = State::Lost;
                self.flying -= flight.payload.len();
                self.lost.insert(self.base + at as u64);
                fresh |= flight.order > self.recovery;
            }
        }
        if fresh {
            self.recovery = self.order - 1;
            self.window.lost();
        }
    }

    /// When [`Sender::tick`] has something to do, if nothing else happens.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let writer = !self.lost.is_empty() || !self.waiting.is_empty() || (self.finishing && !self.finished);
        let pace = if writer { self.window.due(self.rtt.smoothed(), now) } else { None };
        let wait = (!self.flights.is_empty()).then(|| self.last_sent + self.wait());
        pace.into_iter().chain(wait).min()
    }

    /// Probes where nothing was heard for too long; `false` where it is time to give up.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        if self.flights.is_empty() {
            return true;
        }
        if now >= self.progress + GIVE_UP {
            return false;
        }
        if now >= self.last_sent + self.wait() {
            self.waits += 1;
            self.probe = true;
            self.find_lost(now);
            if self.waits == COLLAPSE {
                self.collapse();
            }
        }
        true
    }

    fn collapse(&mut self) {
        for (at, flight) in self.flights.iter_mut().enumerate() {
            if flight.state == State::Flying {
                flight.state = State::Lost;
                self.flying -= flight.payload.len();
                self.lost.insert(self.base + at as u64);
            }
        }
        self.recovery = self.order - 1;
        self.window.collapsed();
    }

    fn wait(&self) -> Duration {
        (self.rtt.patience() * 2_u32.saturating_pow(self.waits)).min(LONGEST_WAIT)
    }
}

/// What an acknowledgement brought.
#[derive(Default)]
struct Gained {
    any: bool,
    bytes: usize,
    /// The order of the latest packet, and how long it took if it was sent once.
    latest: u64,
    sample: Option<Duration>,
}

/// A place in the list of flights, which is far shorter than any number of the machine.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
