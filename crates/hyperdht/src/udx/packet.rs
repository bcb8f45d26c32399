//! Packets of UDX, the reliable stream protocol over UDP of HyperDHT.
//!
//! A packet begins with 20 bytes: 255, the version 1, flags, the number of bytes before the payload, and four numbers of 32 bits, in
//! little endian: the receiver's stream id, the sender's window in bytes, this packet's sequence number, and the next sequence number that
//! the sender expects. Before the payload are selective acknowledgements (ranges of packets that arrived early) or MTU probe padding.

/// Bytes before the ranges and the payload.
pub const UDX_HEADER_BYTES: usize = 20;
/// Limit of selective acknowledgements per packet: their length is one byte, and a window rarely has more than 30 gaps.
pub const UDX_MAX_RANGES: usize = 30;

const MAGIC: u8 = 255;
const VERSION: u8 = 1;
const RANGE_BYTES: usize = 8;

const DATA: u8 = 1;
const END: u8 = 2;
const SACK: u8 = 4;
const DESTROY: u8 = 16;
const HEARTBEAT: u8 = 32;

/// Flags of a packet. Every packet also acknowledges others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UdxFlags(u8);

impl UdxFlags {
    /// Only an acknowledgement.
    pub const STATE: Self = Self(0);
    /// Contains bytes of the stream.
    pub const DATA: Self = Self(DATA);
    /// The last packet of the stream; may contain bytes.
    pub const END: Self = Self(END);
    /// The last packet, with bytes.
    pub const LAST: Self = Self(DATA | END);
    /// The sender has closed the stream in both directions.
    pub const DESTROY: Self = Self(DESTROY);
    /// Requests an acknowledgement.
    pub const HEARTBEAT: Self = Self(HEARTBEAT);

    /// Returns true if one of `other`'s flags is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns true if the packet has a sequence number of its own and must be acknowledged.
    #[must_use]
    pub const fn counts(self) -> bool {
        self.0 & (DATA | END) != 0
    }
}

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UdxPacket<'a> {
    /// The flags.
    pub flags: UdxFlags,
    /// The receiver's stream id.
    pub stream: u32,
    /// Bytes that the sender can receive beyond the acknowledged ones.
    pub window: u32,
    /// Its sequence number, or the next one for a packet without its own.
    pub seq: u32,
    /// The first sequence number that has not arrived at the sender.
    pub ack: u32,
    /// Later packets that have arrived: from the first number to before the second.
    pub ranges: Vec<(u32, u32)>,
    /// Bytes of the stream.
    pub payload: &'a [u8],
}

impl<'a> UdxPacket<'a> {
    /// Decodes a packet; `None` if it is not a UDX packet.
    #[must_use]
    pub fn decode(datagram: &'a [u8]) -> Option<Self> {
        let (header, rest) = datagram.split_first_chunk::<UDX_HEADER_BYTES>()?;
        let [MAGIC, VERSION, flags, offset, numbers @ ..] = header else {
            return None;
        };
        let offset = usize::from(*offset);
        if offset > rest.len() {
            return None;
        }
        // Some implementations omit the length of the ranges if nothing follows them.
        let ranges = match (flags & SACK != 0, offset) {
            (false, _) => &[],
            (true, 0) => rest,
            (true, offset) => &rest[..offset],
        };
        let payload = if flags & SACK != 0 && offset == 0 { &[] } else { &rest[offset..] };
        Some(Self {
            flags: UdxFlags(flags & !SACK),
            stream: number(numbers, 0),
            window: number(numbers, 1),
            seq: number(numbers, 2),
            ack: number(numbers, 3),
            ranges: ranges
                .chunks_exact(RANGE_BYTES)
                .map(|range| (number(range, 0), number(range, 1)))
                .collect(),
            payload,
        })
    }

    /// Returns the receiver's id of the stream if a datagram is a UDX packet, without decoding the rest.
    #[must_use]
    pub fn stream_of(datagram: &[u8]) -> Option<u32> {
        match datagram {
            [MAGIC, VERSION, _, _, numbers @ ..] if datagram.len() >= UDX_HEADER_BYTES => Some(number(numbers, 0)),
            _ => None,
        }
    }

    /// Appends the packet to `out`, with at most the first [`UDX_MAX_RANGES`] of its ranges.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let ranges = &self.ranges[..self.ranges.len().min(UDX_MAX_RANGES)];
        let offset = u8::try_from(ranges.len() * RANGE_BYTES).expect("30 ranges are 240 bytes");
        let sack = if ranges.is_empty() { 0 } else { SACK };
        out.extend([MAGIC, VERSION, self.flags.0 | sack, offset]);
        for number in [self.stream, self.window, self.seq, self.ack] {
            out.extend(number.to_le_bytes());
        }
        for (start, end) in ranges {
            out.extend(start.to_le_bytes());
            out.extend(end.to_le_bytes());
        }
        out.extend(self.payload);
    }
}

/// The number at an index; the list must be long enough.
fn number(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at * 4..at * 4 + 4]);
    u32::from_le_bytes(number)
}

#[cfg(test)]
mod tests;
