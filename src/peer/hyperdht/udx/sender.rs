//! The sending half of a stream: what waits, what is on its way, what was lost.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::congestion_window::CongestionWindow;
use super::rtt::Rtt;

/// Bytes of the stream in a packet: what UDX trusts every path to carry, 1200 bytes, without the headers of IP, UDP and UDX.
pub(super) const PAYLOAD_BYTES: usize = 1200 - 20 - 8 - 20;
/// Bytes that are held at once, waiting or on their way: as much as a receiver's window.
pub(super) const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// So many packets that were sent later have to arrive before one is taken for lost: paths reorder a little (RFC 9002).
const REORDERING: u64 = 3;
/// After so many waits in vain everything on its way is taken for lost.
const COLLAPSE_AFTER: u32 = 3;
/// The longest wait between two attempts to hear anything.
const MAX_PROBE_DELAY: Duration = Duration::from_secs(3);
/// Room for packets that is kept while nothing is sent.
const KEPT_PACKETS: usize = 64;
/// How long nothing may be acknowledged while something is on its way. Whoever needs to know sooner asks something and waits.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// A packet that has to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) seq: u64,
    pub(super) payload: Bytes,
    pub(super) end: bool,
}

#[derive(Debug)]
struct SentPacket {
    payload: Bytes,
    end: bool,
    sent: Instant,
    /// The how manieth transmission of the stream its last one was.
    order: u64,
    retransmitted: bool,
    state: PacketState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PacketState {
    InFlight,
    Acked,
    Lost,
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Sender {
    waiting: BytesMut,
    /// From the first that is not acknowledged to the last that was sent.
    packets: VecDeque<SentPacket>,
    /// The number of the first of them.
    base: u64,
    lost: BTreeSet<u64>,
    /// Bytes of payload that neither arrived nor were lost; and of all that is not acknowledged in order.
    in_flight: usize,
    held: usize,
    /// Packets that have arrived while one before them has not.
    out_of_order: usize,
    finishing: bool,
    finished: bool,
    order: u64,
    /// The latest transmission that is known to have arrived.
    latest_acked: u64,
    /// Losses of earlier transmissions belong to a loss that the window has paid for.
    recovery: u64,
    /// What the other end can take beyond `base`, in bytes.
    peer_window: usize,
    rtt: Rtt,
    window: CongestionWindow,
    /// When something was last acknowledged, or first sent with nothing on its way.
    progress: Instant,
    last_sent: Instant,
    probes: u32,
    probe: bool,
}

impl Sender {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: BytesMut::new(),
            packets: VecDeque::new(),
            base: 0,
            lost: BTreeSet::new(),
            in_flight: 0,
            held: 0,
            out_of_order: 0,
            finishing: false,
            finished: false,
            order: 1,
            latest_acked: 0,
            recovery: 0,
            peer_window: BUFFER_BYTES,
            rtt: Rtt::default(),
            window: CongestionWindow::default(),
            progress: now,
            last_sent: now,
            probes: 0,
            probe: false,
        }
    }

    /// The number that the next new packet takes.
    pub(super) fn next(&self) -> u64 {
        self.base + self.packets.len() as u64
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
    pub(super) fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Whether all that was written has been acknowledged, and the end, too, if there is one.
    pub(super) fn is_acked(&self) -> bool {
        self.packets.is_empty() && self.waiting.is_empty() && self.finishing == self.finished
    }

    /// Whether there is room for more than a few packets.
    pub(super) fn writable(&self) -> bool {
        self.held + self.waiting.len() <= BUFFER_BYTES / 4 * 3
    }

    /// How many bytes should be on their way at most, in either direction.
    pub(super) fn max_in_flight(&self) -> usize {
        self.rtt.max_in_flight()
    }

    /// The next packet that may be sent now.
    pub(super) fn transmit(&mut self, now: Instant) -> Option<Outgoing> {
        if self.probe {
            self.probe = false;
            if let Some(at) = self.packets.iter().position(|packet| packet.state != PacketState::Acked) {
                return Some(self.resend(at, now));
            }
        }
        if self.window.due(self.rtt.smoothed(), now).is_some() {
            return None;
        }
        if let Some(&seq) = self.lost.first() {
            let at = index(seq - self.base);
            let allowed = self.window.allows(self.in_flight, self.packets[at].payload.len());
            return allowed.then(|| self.resend(at, now));
        }
        self.send_new(now)
    }

    fn send_new(&mut self, now: Instant) -> Option<Outgoing> {
        let bytes = self.waiting.len().min(PAYLOAD_BYTES);
        let end = self.finishing && !self.finished && bytes == self.waiting.len();
        let room = self.held + bytes <= self.peer_window.min(self.rtt.max_in_flight()) || self.packets.is_empty();
        if (bytes == 0 && !end) || !room || !self.window.allows(self.in_flight, bytes) {
            return None;
        }
        if self.packets.is_empty() {
            self.progress = now;
        }
        let payload = self.waiting.split_to(bytes).freeze();
        self.finished |= end;
        self.held += bytes;
        let seq = self.next();
        self.packets.push_back(SentPacket {
            payload: payload.clone(),
            end,
            sent: now,
            order: 0,
            retransmitted: false,
            state: PacketState::InFlight,
        });
        self.mark_sent(self.packets.len() - 1, now);
        Some(Outgoing { seq, payload, end })
    }

    /// Sends one again.
    fn resend(&mut self, at: usize, now: Instant) -> Outgoing {
        let seq = self.base + at as u64;
        if !self.lost.remove(&seq) {
            self.in_flight -= self.packets[at].payload.len();
        }
        self.packets[at].retransmitted = true;
        self.mark_sent(at, now);
        let SentPacket { payload, end, .. } = &self.packets[at];
        Outgoing {
            seq,
            payload: payload.clone(),
            end: *end,
        }
    }

    fn mark_sent(&mut self, at: usize, now: Instant) {
        let packet = &mut self.packets[at];
        (packet.sent, packet.order, packet.state) = (now, self.order, PacketState::InFlight);
        self.order += 1;
        self.last_sent = now;
        self.in_flight += packet.payload.len();
        self.window.sent(packet.payload.len());
    }

    /// The other end has everything before `ack`, and what is in `ranges`; numbers that were never sent mean nothing.
    pub(super) fn acknowledged(&mut self, ack: u64, ranges: impl Iterator<Item = (u64, u64)>, window: u32, now: Instant) {
        if ack > self.next() || ack < self.base {
            return;
        }
        self.peer_window = window as usize;
        if self.peer_window < self.held + PAYLOAD_BYTES {
            // It is there, but full.
            self.progress = now;
        }
        let limited = self.waiting.is_empty() && self.lost.is_empty();
        let mut summary = AckSummary::default();
        // They ascend; whoever says the same again and again does not have us look at it again and again.
        let mut from = ack;
        for (start, end) in ranges {
            for seq in start.max(from)..end.min(self.next()) {
                self.mark_acked(index(seq - self.base), now, &mut summary);
            }
            from = from.max(end);
        }
        while self.base < ack {
            self.mark_acked(0, now, &mut summary);
            let Some(packet) = self.packets.pop_front() else { break };
            self.out_of_order -= 1;
            self.held -= packet.payload.len();
            self.base += 1;
        }
        if self.packets.is_empty() && self.waiting.is_empty() {
            // Otherwise the room that the longest message took would stay with the stream for as long as it lives.
            self.waiting = BytesMut::new();
            self.packets.shrink_to(KEPT_PACKETS);
        }
        if summary.any {
            self.progress = now;
            // While nothing is measured, what was sent again may have been sent too soon: the patience that has grown stays.
            self.probes = self.probes.min(COLLAPSE_AFTER - 1);
            if let Some(sample) = summary.sample {
                self.probes = 0;
                self.rtt.measured(sample);
            }
            if !limited {
                self.window
                    .acknowledged(summary.bytes, self.rtt.smoothed().unwrap_or_default(), now);
            }
            self.find_lost(now);
        }
    }

    fn mark_acked(&mut self, at: usize, now: Instant, summary: &mut AckSummary) {
        let packet = &mut self.packets[at];
        if packet.state == PacketState::Acked {
            return;
        }
        if packet.state == PacketState::Lost {
            self.lost.remove(&(self.base + at as u64));
        } else {
            self.in_flight -= packet.payload.len();
        }
        packet.state = PacketState::Acked;
        self.out_of_order += 1;
        summary.any = true;
        summary.bytes += packet.payload.len();
        let took = now.duration_since(packet.sent);
        // An acknowledgement answers the latest packet that it is about; where earlier ones were lost, it says nothing of how long those
        // before took. What was sent twice may have arrived the first time, but not sooner than anything ever did.
        if packet.order > summary.latest {
            summary.latest = packet.order;
            summary.sample = (!packet.retransmitted).then_some(took);
        }
        if !packet.retransmitted || took >= self.rtt.least() {
            self.latest_acked = self.latest_acked.max(packet.order);
        }
    }

    /// Takes for lost what was sent well before something that has arrived.
    fn find_lost(&mut self, now: Instant) {
        let late = self.rtt.reordering();
        // Without a hole nothing was overtaken; looking would take as long as the window is.
        if self.out_of_order == 0 && self.packets.front().is_none_or(|first| first.order > self.latest_acked) {
            return;
        }
        let mut fresh = false;
        for (at, packet) in self.packets.iter_mut().enumerate() {
            let overtaken = packet.order < self.latest_acked;
            let lost = overtaken && (packet.order + REORDERING <= self.latest_acked || packet.sent + late <= now);
            if lost && packet.state == PacketState::InFlight {
                packet.state = PacketState::Lost;
                self.in_flight -= packet.payload.len();
                self.lost.insert(self.base + at as u64);
                fresh |= packet.order > self.recovery;
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
        let probe_delay = (!self.packets.is_empty()).then(|| self.last_sent + self.probe_delay());
        pace.into_iter().chain(probe_delay).min()
    }

    /// Probes where nothing was heard for too long; `false` where it is time to give up.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        if self.packets.is_empty() {
            return true;
        }
        if now >= self.progress + ACK_TIMEOUT {
            return false;
        }
        if now >= self.last_sent + self.probe_delay() {
            self.probes += 1;
            self.probe = true;
            self.find_lost(now);
            if self.probes == COLLAPSE_AFTER {
                self.collapse();
            }
        }
        true
    }

    fn collapse(&mut self) {
        for (at, packet) in self.packets.iter_mut().enumerate() {
            if packet.state == PacketState::InFlight {
                packet.state = PacketState::Lost;
                self.in_flight -= packet.payload.len();
                self.lost.insert(self.base + at as u64);
            }
        }
        self.recovery = self.order - 1;
        self.window.collapsed();
    }

    fn probe_delay(&self) -> Duration {
        (self.rtt.probe_timeout() * 2_u32.saturating_pow(self.probes)).min(MAX_PROBE_DELAY)
    }
}

/// What an acknowledgement brought.
#[derive(Default)]
struct AckSummary {
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
