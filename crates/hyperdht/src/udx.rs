//! UDX streams: ordered bytes over packets that can be lost, duplicated or reordered.
//!
//! [`UdxEndpoint`] is the protocol without sockets and clocks: packets and times are arguments, packets and the time of the next event are
//! results. The peer can be libudx, which the JavaScript programs use: the packets are the same, but congestion control is up to each
//! end.

mod congestion_window;
mod packet;
mod receiver;
mod rtt;
mod sender;

#[cfg(test)]
mod tests;

use std::io;
use std::time::Instant;

use bytes::BufMut;

pub use self::packet::{UDX_HEADER_BYTES, UDX_MAX_RANGES, UdxFlags, UdxPacket};
pub use self::receiver::{MAX_RECEIVE_BYTES, MIN_RECEIVE_BYTES};

use self::receiver::Receiver;
use self::sender::{Outgoing, Sender};

/// One end of a stream.
#[derive(Debug)]
pub struct UdxEndpoint {
    /// The peer's id of the stream.
    peer_id: u32,
    sender: Sender,
    receiver: Receiver,
    /// True if an acknowledgement has to be sent.
    ack_pending: bool,
    destroying: bool,
    error: Option<io::ErrorKind>,
}

impl UdxEndpoint {
    /// Creates a stream with the peer's id.
    pub fn new(peer_id: u32, now: Instant) -> Self {
        Self {
            peer_id,
            sender: Sender::new(now),
            receiver: Receiver::new(MAX_RECEIVE_BYTES),
            ack_pending: false,
            destroying: false,
            error: None,
        }
    }

    /// Limits the bytes that the peer can have buffered here, [`MIN_RECEIVE_BYTES`] at least; packets in and out of order can take it once
    /// each, and 32 KiB more. The rate is limited as well, to that many bytes a round trip. For a new stream.
    #[must_use]
    pub fn with_receive_limit(self, bytes: usize) -> Self {
        Self {
            receiver: Receiver::new(bytes),
            ..self
        }
    }

    /// Handles a received packet.
    pub fn receive(&mut self, packet: &UdxPacket<'_>, now: Instant) {
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

    /// Writes the next packet into `out`; `false` if none can be sent now.
    pub fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
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
            // A packet with data cannot contain ranges.
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

    /// Returns the time of the next call to [`UdxEndpoint::tick`] and [`UdxEndpoint::transmit`] if no packet arrives.
    pub fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.error.is_some() { None } else { self.sender.due(now) }
    }

    /// Handles the passing of time.
    pub fn tick(&mut self, now: Instant) {
        if self.error.is_none() && !self.sender.tick(now) {
            self.error = Some(io::ErrorKind::TimedOut);
        }
    }

    /// Buffers bytes to send; returns the number that fits.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.sender.write(bytes)
    }

    /// Ends the sending direction.
    pub fn finish(&mut self) {
        self.sender.finish();
    }

    /// Aborts both directions.
    pub fn destroy(&mut self) {
        self.destroying = true;
    }

    /// Ends both directions at once, without a packet to the peer.
    pub fn abort(&mut self) {
        self.error.get_or_insert(io::ErrorKind::ConnectionAborted);
    }

    /// Returns true if the peer has acknowledged all written bytes.
    pub fn is_acked(&self) -> bool {
        self.sender.is_acked()
    }

    /// Reads received bytes in order; `None` at the end of the stream.
    pub fn read(&mut self, out: &mut impl BufMut) -> Option<usize> {
        let read = self.receiver.read(out);
        (read > 0 || !self.receiver.exhausted()).then_some(read)
    }

    /// Returns true if the sending direction was ended, acknowledged or not.
    pub fn is_finishing(&self) -> bool {
        self.sender.is_finishing()
    }

    /// Returns true if both directions have ended and both ends have acknowledged it.
    pub fn is_closed(&self) -> bool {
        self.sender.is_finishing() && self.sender.is_acked() && self.receiver.ended() && !self.ack_pending
    }

    /// Returns true if a read would return bytes or the end.
    pub fn readable(&self) -> bool {
        self.receiver.readable()
    }

    /// Returns true if there is room for a reasonable write.
    pub fn writable(&self) -> bool {
        self.sender.writable()
    }

    /// Returns true if the peer may wait for an update of the receive window.
    pub fn window_update_due(&self) -> bool {
        self.receiver.window_update_due()
    }

    /// Returns the error of the stream, if any.
    pub fn error(&self) -> Option<io::ErrorKind> {
        self.error
    }
}

/// Truncates a sequence number to its 32 bits in a packet.
fn short(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Extends a sequence number of a packet to the nearest one to `near`.
fn whole(near: u64, number: u32) -> Option<u64> {
    let ahead = number.wrapping_sub(short(near)).cast_signed();
    near.checked_add_signed(ahead.into())
}
