//! One end of a UDX stream, with packets of a peer that sends anything.

use std::time::{Duration, Instant};

use exporter_proxy_hyperdht::udx::{UdxEndpoint, UdxPacket};

/// The first bytes of each packet: without them nearly all inputs would be ignored.
const START: [u8; 2] = [255, 1];

/// Limit on the packets sent after one step: all that fit into the largest window, and some acknowledgements.
const MAX_PACKETS: usize = 5_000;

/// The stream, and the numbers of payload bytes that went in and came out.
struct Harness {
    stream: UdxEndpoint,
    now: Instant,
    received: usize,
    read: usize,
}

/// Reads steps from the input: time passes, bytes are read or written, a packet arrives, or the stream is ended. Checks that each packet
/// that is sent can be decoded, that sending ends and waits for a later time, and that no bytes come out that did not go in.
pub fn check(input: &[u8]) {
    let now = Instant::now();
    let mut harness = Harness {
        stream: UdxEndpoint::new(7, now),
        now,
        received: 0,
        read: 0,
    };
    let mut rest = input;
    while let [step, argument, following @ ..] = rest {
        let count = usize::from(*argument);
        rest = following;
        match step % 6 {
            0 => {
                harness.now += Duration::from_millis(10) * u32::from(*argument);
            }
            1 => harness.read(count * 64),
            2 => {
                harness.stream.write(&vec![*step; count * 64]);
            }
            3 => harness.stream.finish(),
            4 if *argument > 250 => harness.stream.destroy(),
            _ => {
                let (packet, after) = following.split_at(count.min(following.len()));
                rest = after;
                harness.receive(&[&START[..], packet].concat());
            }
        }
        harness.send();
    }
    harness.read(usize::MAX);
}

impl Harness {
    fn receive(&mut self, datagram: &[u8]) {
        if let Some(packet) = UdxPacket::decode(datagram) {
            self.received += packet.payload.len();
            self.stream.receive(&packet, self.now);
        }
    }

    fn read(&mut self, limit: usize) {
        let mut into = Vec::new();
        while into.len() < limit && self.stream.read(&mut into).is_some_and(|read| read > 0) {}
        self.read += into.len();
        assert!(self.read <= self.received, "more bytes than were received");
    }

    fn send(&mut self) {
        self.stream.tick(self.now);
        let mut packets = 0;
        let mut packet = Vec::new();
        while self.stream.transmit(self.now, &mut packet) {
            packets += 1;
            assert!(packets <= MAX_PACKETS, "sending does not end");
            assert!(UdxPacket::decode(&packet).is_some(), "a packet that no peer understands");
            packet.clear();
        }
        let due = self.stream.due(self.now);
        assert!(due.is_none() || self.stream.error().is_none(), "a timer of a failed stream");
        assert!(due.is_none_or(|due| due > self.now), "an overdue timer after everything was sent");
    }
}
