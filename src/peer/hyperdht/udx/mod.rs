//! UDX streams: bytes in order over packets that may be lost, doubled, or overtake each other.
//!
//! [`Stream`] is the protocol without sockets and clocks: packets and times go in, packets and the next time that matters come out. Its
//! other end may be libudx, which the JavaScript programs use: the packets are the same, how fast they are sent is up to each end.

mod congestion_window;
mod receiver;
mod rtt;
mod sender;

#[cfg(test)]
mod tests;

use std::io;
use std::time::Instant;

use bytes::BufMut;

use self::receiver::Receiver;
use self::sender::{Outgoing, Sender};
use crate::wire::{UdxFlags, UdxPacket};

/// One end of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// What the other end calls it.
    peer_id: u32,
    sender: Sender,
    receiver: Receiver,
    /// The other end waits to hear what has arrived.
    ack_pending: bool,
    destroying: bool,
    error: Option<io::ErrorKind>,
}

impl Stream {
    /// A stream that the other end calls `peer_id`.
    pub(super) fn new(peer_id: u32, now: Instant) -> Self {
        Self {
            peer_id,
            sender: Sender::new(now),
            receiver: Receiver::default(),
            ack_pending: false,
            destroying: false,
            error: None,
        }
    }

    /// A packet has come.
    pub(super) fn receive(&mut self, packet: &UdxPacket<'_>, now: Instant) {
        if self.error.is_some() {
            return;
        }
        let Some(seq) = whole(self.receiver.next(), packet.seq) else {
            return;
        };
        if packet.flags.counts() {
            self.ack_pending = true;
            self.receiver.receive(seq, packet.payload, packet.flags.has(UdxFlags::END));
        }
        self.ack_pending |= packet.flags.has(UdxFlags::HEARTBEAT);
        let near = self.sender.next();
        if let Some(ack) = whole(near, packet.ack) {
            let ranges = packet
                .ranges
                .iter()
                .filter_map(|(start, end)| Some((whole(near, *start)?, whole(near, *end)?)));
            self.sender.acknowledged(ack, ranges, packet.window, now);
            self.receiver.raise_window(self.sender.max_in_flight());
        }
        if packet.flags.has(UdxFlags::DESTROY) && seq >= self.receiver.next() {
            self.error = Some(io::ErrorKind::ConnectionReset);
        }
    }

    /// Writes the next packet that may be sent now into `out`; `false` where there is none.
    pub(super) fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        if self.error.is_some() {
            return false;
        }
        if self.destroying {
            self.error = Some(io::ErrorKind::ConnectionAborted);
            self.packet(UdxFlags::DESTROY, self.sender.next(), &[], out);
            return true;
        }
        if let Some(Outgoing { seq, payload, end }) = self.sender.transmit(now) {
            let flags = match (payload.is_empty(), end) {
                (_, false) => UdxFlags::DATA,
                (true, true) => UdxFlags::END,
                (false, true) => UdxFlags::LAST,
            };
            // Ranges have no place in a packet with bytes.
            self.ack_pending &= self.receiver.has_out_of_order();
            self.packet(flags, seq, &payload, out);
            return true;
        }
        let ack_pending = self.ack_pending || self.receiver.window_update_due();
        if ack_pending {
            self.ack_pending = false;
            self.packet(UdxFlags::STATE, self.sender.next(), &[], out);
        }
        ack_pending
    }

    fn packet(&mut self, flags: UdxFlags, seq: u64, payload: &[u8], out: &mut Vec<u8>) {
        let ranges = if flags == UdxFlags::STATE {
            self.receiver.ranges()
        } else {
            Vec::new()
        };
        let packet = UdxPacket {
            flags,
            stream: self.peer_id,
            window: self.receiver.advertise_window(),
            seq: short(seq),
            ack: short(self.receiver.next()),
            ranges: ranges.into_iter().map(|(start, end)| (short(start), short(end))).collect(),
            payload,
        };
        packet.encode(out);
    }

    /// When [`Stream::tick`] and [`Stream::transmit`] have something to do if nothing comes.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.error.is_some() { None } else { self.sender.due(now) }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.error.is_none() && !self.sender.tick(now) {
            self.error = Some(io::ErrorKind::TimedOut);
        }
    }

    /// Takes bytes to send, as many as there is room for.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        self.sender.write(bytes)
    }

    /// Nothing more is written.
    pub(super) fn finish(&mut self) {
        self.sender.finish();
    }

    /// Nobody wants the stream any more, in either direction.
    pub(super) fn destroy(&mut self) {
        self.destroying = true;
    }

    /// Whether the other end has all that was written.
    pub(super) fn is_acked(&self) -> bool {
        self.sender.is_acked()
    }

    /// Reads what has come in order; `None` where nothing more will.
    pub(super) fn read(&mut self, out: &mut impl BufMut) -> Option<usize> {
        let read = self.receiver.read(out);
        (read > 0 || !self.receiver.exhausted()).then_some(read)
    }

    /// Whether we have ended our direction, be it heard or not.
    pub(super) fn is_finishing(&self) -> bool {
        self.sender.is_finishing()
    }

    /// Whether both directions have ended, and both ends know.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_finishing() && self.sender.is_acked() && self.receiver.ended() && !self.ack_pending
    }

    /// Whether a read would find something, be it the end.
    pub(super) fn readable(&self) -> bool {
        self.receiver.readable()
    }

    /// Whether there is room enough to write that it is worth it.
    pub(super) fn writable(&self) -> bool {
        self.sender.writable()
    }

    /// Whether the other end should be told of room that it may wait for.
    pub(super) fn window_update_due(&self) -> bool {
        self.receiver.window_update_due()
    }

    /// Why there is no stream any more, if there is none.
    pub(super) fn error(&self) -> Option<io::ErrorKind> {
        self.error
    }
}

/// A number as it stands in a packet.
fn short(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The number that is meant: the one nearest to one that is known.
fn whole(near: u64, number: u32) -> Option<u64> {
    let ahead = number.wrapping_sub(short(near)).cast_signed();
    near.checked_add_signed(ahead.into())
}
