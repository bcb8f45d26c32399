//! The receiving half of a stream: packets in order, and packets out of order.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf as _, Bytes};

use super::packet::UDX_MAX_RANGES;
use super::rtt::MIN_IN_FLIGHT;

/// Default limit on the window of a stream, equal to the window of the JavaScript implementation.
pub const MAX_RECEIVE_BYTES: usize = 4 * 1024 * 1024;
/// Lowest limit on the window of a stream: that with which each stream begins.
pub const MIN_RECEIVE_BYTES: usize = MIN_IN_FLIGHT;
/// Bytes of the limit for each packet: it bounds the distance of a packet from the next expected one, and the packets buffered in order, to
/// a window of half-empty packets. Each packet has an overhead, which dominates for packets of one byte.
const BYTES_PER_PACKET: usize = 512;
/// Bytes accepted beyond the window: senders round it up to packets and count bytes differently.
const WINDOW_SLACK: usize = 32 * 1024;
/// Fraction of the window that must be read before an unsolicited window update.
const UPDATE_FRACTION: usize = 4;

/// The receiving half.
#[derive(Debug)]
pub(super) struct Receiver {
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
    out_of_order: BTreeMap<u64, (Bytes, bool)>,
    out_of_order_bytes: usize,
    /// The next expected packet.
    next: u64,
    ended: bool,
    /// The window last advertised to the sender, less the bytes received since.
    advertised: usize,
    /// Limit on the bytes in flight to us.
    window: usize,
    /// Limit on the window, and on the packets out of order, whatever window was advertised.
    limit: usize,
}

impl Receiver {
    /// Creates the half with a limit on the window, which is [`MIN_RECEIVE_BYTES`] at first and at least.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            ready: VecDeque::new(),
            ready_bytes: 0,
            out_of_order: BTreeMap::new(),
            out_of_order_bytes: 0,
            next: 0,
            ended: false,
            advertised: 0,
            window: MIN_RECEIVE_BYTES,
            limit: limit.max(MIN_RECEIVE_BYTES),
        }
    }

    /// Raises the window to `bytes`, within the limit; it never shrinks.
    pub(super) fn raise_window(&mut self, bytes: usize) {
        self.window = bytes.clamp(self.window, self.limit);
    }

    /// Returns the limit on packets in order, and on the distance of those out of order.
    fn max_packets(&self) -> usize {
        self.limit / BYTES_PER_PACKET
    }

    /// Handles a packet with a sequence number.
    pub(super) fn receive(&mut self, seq: u64, payload: &[u8], end: bool) {
        let known = self.ended || seq < self.next || self.out_of_order.contains_key(&seq);
        if known || !self.fits(seq, payload.len()) || self.ready.len() >= self.max_packets() {
            return;
        }
        if seq == self.next {
            self.take(Bytes::copy_from_slice(payload), end);
            while !self.ended
                && let Some((payload, end)) = self.out_of_order.remove(&self.next)
            {
                self.out_of_order_bytes -= payload.len();
                self.take(payload, end);
            }
        } else {
            self.out_of_order_bytes += payload.len();
            self.out_of_order.insert(seq, (Bytes::copy_from_slice(payload), end));
        }
    }

    /// Returns true if there is room for a packet. The next expected packet must fit in addition to the unread bytes, regardless of the
    /// packets out of order: without it none of them could be delivered. Packets out of order can exceed the advertised window, because
    /// libudx does not count packets known to have arrived.
    fn fits(&self, seq: u64, bytes: usize) -> bool {
        if seq == self.next {
            self.ready_bytes + bytes <= self.window + WINDOW_SLACK
        } else {
            seq - self.next.min(seq) < self.max_packets() as u64
                && self.ready_bytes + self.out_of_order_bytes + bytes <= self.limit + WINDOW_SLACK
        }
    }

    fn take(&mut self, payload: Bytes, end: bool) {
        self.next += 1;
        self.ended |= end;
        self.advertised = self.advertised.saturating_sub(payload.len());
        self.ready_bytes += payload.len();
        if !payload.is_empty() {
            self.ready.push_back(payload);
        }
    }

    /// Moves ready bytes into `out`, as many as fit.
    pub(super) fn read(&mut self, out: &mut impl bytes::BufMut) -> usize {
        let mut read = 0;
        while out.has_remaining_mut()
            && let Some(first) = self.ready.front_mut()
        {
            let many = first.len().min(out.remaining_mut());
            out.put_slice(&first[..many]);
            first.advance(many);
            read += many;
            if first.is_empty() {
                self.ready.pop_front();
            }
        }
        self.ready_bytes -= read;
        read
    }

    /// Returns true if the whole stream was received.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Returns true if there are bytes to read, or the end.
    pub(super) fn readable(&self) -> bool {
        self.ended || !self.ready.is_empty()
    }

    /// Returns true if the whole stream was read.
    pub(super) fn exhausted(&self) -> bool {
        self.ended && self.ready.is_empty()
    }

    /// Returns true if the sender may wait for an update of the window.
    pub(super) fn window_update_due(&self) -> bool {
        !self.ended && self.room() >= self.advertised + self.window / UPDATE_FRACTION
    }

    /// Returns true if there are packets out of order.
    pub(super) fn has_out_of_order(&self) -> bool {
        !self.out_of_order.is_empty()
    }

    fn room(&self) -> usize {
        self.window.saturating_sub(self.ready_bytes)
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the window to advertise to the sender.
    pub(super) fn advertise_window(&mut self) -> u32 {
        self.advertised = self.room();
        u32::try_from(self.advertised).unwrap_or(u32::MAX)
    }

    /// Returns the ranges of packets out of order, as half-open pairs.
    pub(super) fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &seq in self.out_of_order.keys() {
            if let Some((_, end)) = ranges.last_mut().filter(|(_, end)| *end == seq) {
                *end += 1;
            } else if ranges.len() == UDX_MAX_RANGES {
                break;
            } else {
                ranges.push((seq, seq + 1));
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests;
