//! The sending half of a stream: queued bytes, packets in flight, and lost packets.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::congestion_window::CongestionWindow;
use super::rtt::Rtt;

/// Payload bytes of a packet: UDX assumes a path MTU of 1200 bytes; less the headers of IP, UDP and UDX.
pub(super) const PAYLOAD_BYTES: usize = 1200 - 20 - 8 - 20;
/// Limit on queued and unacknowledged bytes, equal to the window of a receiver.
pub(super) const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Packet reordering threshold: a packet counts as lost if this many later ones have arrived (RFC 9002).
const REORDERING: u64 = 3;
/// Number of probe timeouts after which all packets in flight count as lost.
const COLLAPSE_AFTER: u32 = 3;
/// Maximum probe delay.
const MAX_PROBE_DELAY: Duration = Duration::from_secs(3);
/// Capacity of the packet queue that is kept while idle.
const KEPT_PACKETS: usize = 64;
/// Limit on the time without acknowledgement while packets are in flight. Callers with shorter limits use timeouts of their own.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// A packet to send.
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
    /// The number of its last transmission, counted over the stream.
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

/// The sending half.
#[derive(Debug)]
pub(super) struct Sender {
    waiting: BytesMut,
    /// The packets from the first unacknowledged to the last sent one. The first is never [`PacketState::Acked`]: a probe always finds it.
    packets: VecDeque<SentPacket>,
    /// The sequence number of the first of them.
    base: u64,
    lost: BTreeSet<u64>,
    /// Payload bytes in flight, neither acknowledged nor lost; and all payload bytes not acknowledged in order.
    in_flight: usize,
    held: usize,
    /// Packets acknowledged out of order.
    out_of_order: usize,
    finishing: bool,
    finished: bool,
    order: u64,
    /// The latest transmission known to have arrived.
    latest_acked: u64,
    /// The last transmission before the window was reduced: losses up to it do not reduce the window again.
    recovery: u64,
    /// The window of the peer from `base`, in bytes.
    peer_window: usize,
    rtt: Rtt,
    window: CongestionWindow,
    /// The time of the last acknowledgement, or of the first packet sent while none was in flight.
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

    /// Returns the sequence number of the next new packet.
    pub(super) fn next(&self) -> u64 {
        self.base + self.packets.len() as u64
    }

    /// Buffers bytes to send; returns the number that fits.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let room = BUFFER_BYTES.saturating_sub(self.held + self.waiting.len());
        let taken = bytes.len().min(room);
        self.waiting.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Ends the stream after the queued bytes.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    /// Returns true if [`Sender::finish`] was called.
    pub(super) fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Returns true if all written bytes were acknowledged, and the end as well, if any.
    pub(super) fn is_acked(&self) -> bool {
        self.packets.is_empty() && self.waiting.is_empty() && self.finishing == self.finished
    }

    /// Returns true if there is room for more than a few packets.
    pub(super) fn writable(&self) -> bool {
        self.held + self.waiting.len() <= BUFFER_BYTES / 4 * 3
    }

    /// Returns the limit on bytes in flight in either direction.
    pub(super) fn max_in_flight(&self) -> usize {
        self.rtt.max_in_flight()
    }

    /// Returns the next packet that can be sent now.
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

    /// Sends a packet again.
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

    /// Handles an acknowledgement of everything before `ack` and of `ranges`; sequence numbers that were never sent are ignored.
    pub(super) fn acknowledged(&mut self, ack: u64, ranges: impl Iterator<Item = (u64, u64)>, window: u32, now: Instant) {
        if ack > self.next() || ack < self.base {
            return;
        }
        self.peer_window = window as usize;
        if self.peer_window < self.held + PAYLOAD_BYTES {
            // The peer is alive but its window is full.
            self.progress = now;
        }
        let limited = self.waiting.is_empty() && self.lost.is_empty();
        let mut summary = AckSummary::default();
        // Ranges must ascend, so that repeated ranges cause no repeated work.
        let mut from = ack;
        for (start, end) in ranges {
            for seq in start.max(from)..end.min(self.next()) {
                self.mark_acked(index(seq - self.base), now, &mut summary);
            }
            from = from.max(end);
        }
        // A range may begin at `ack`, and `ack` may lag behind an earlier range. A first packet that has arrived would leave nothing to probe.
        while self.base < ack || self.packets.front().is_some_and(|first| first.state == PacketState::Acked) {
            self.mark_acked(0, now, &mut summary);
            let Some(packet) = self.packets.pop_front() else { break };
            self.out_of_order -= 1;
            self.held -= packet.payload.len();
            self.base += 1;
        }
        if self.packets.is_empty() && self.waiting.is_empty() {
            // Otherwise the stream would keep the memory of its longest message.
            self.waiting = BytesMut::new();
            self.packets.shrink_to(KEPT_PACKETS);
        }
        if summary.any {
            self.progress = now;
            // Without a measurement the retransmission may have been premature, so the increased timeout is kept.
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
        // An acknowledgement answers the latest packet that it covers; after losses it says nothing about the round-trip time of earlier
        // ones. A retransmitted packet may have arrived at its first transmission, unless that is faster than the shortest round trip.
        if packet.order > summary.latest {
            summary.latest = packet.order;
            summary.sample = (!packet.retransmitted).then_some(took);
        }
        if !packet.retransmitted || took >= self.rtt.least() {
            self.latest_acked = self.latest_acked.max(packet.order);
        }
    }

    /// Marks packets as lost that were sent well before one that has arrived.
    fn find_lost(&mut self, now: Instant) {
        let late = self.rtt.reordering();
        // Without a gap no packet was overtaken, and the search would scan the whole window.
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

    /// Returns the time of the next call to [`Sender::tick`] if no packet arrives.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let writer = !self.lost.is_empty() || !self.waiting.is_empty() || (self.finishing && !self.finished);
        let pace = if writer { self.window.due(self.rtt.smoothed(), now) } else { None };
        let probe_delay = (!self.packets.is_empty()).then(|| self.last_sent + self.probe_delay());
        pace.into_iter().chain(probe_delay).min()
    }

    /// Sends a probe after the probe timeout; `false` if the stream has failed.
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

/// The effect of an acknowledgement.
#[derive(Default)]
struct AckSummary {
    any: bool,
    bytes: usize,
    /// The latest transmission covered, and its round-trip time if it was sent once.
    latest: u64,
    sample: Option<Duration>,
}

/// Converts an offset into an index of the packet queue, which is far shorter than any limit.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
