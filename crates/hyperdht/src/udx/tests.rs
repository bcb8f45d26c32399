//! Tests of two ends over a simulated link with loss, duplication, delay and reordering, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::sender::PAYLOAD_BYTES;
use super::*;

/// The parameters of a simulated link.
#[derive(Debug, Clone, Copy)]
struct LinkModel {
    delay: Duration,
    /// Maximum additional delay of a packet.
    jitter: Duration,
    /// Per 1000 packets.
    lost: u64,
    doubled: u64,
    /// Packets per millisecond, and the queue length; packets beyond it are dropped.
    rate: Option<(u64, u64)>,
}

const PERFECT: LinkModel = LinkModel {
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
    lost: 0,
    doubled: 0,
    rate: None,
};

/// A deterministic pseudo-random generator (xorshift).
struct TestRng(u64);

impl TestRng {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides.max(1)
    }
}

struct Simulation {
    link: LinkModel,
    rng: TestRng,
    now: Instant,
    ends: [UdxEndpoint; 2],
    /// Packets in flight by arrival time, with the receiving end.
    in_transit: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    counter: u64,
    free: [Instant; 2],
    packets: u64,
}

impl Simulation {
    fn new(link: LinkModel, seed: u64) -> Self {
        let now = Instant::now();
        Self {
            link,
            rng: TestRng(seed | 1),
            now,
            ends: [UdxEndpoint::new(2, now), UdxEndpoint::new(1, now)],
            in_transit: BTreeMap::new(),
            counter: 0,
            free: [now; 2],
            packets: 0,
        }
    }

    fn send(&mut self, to: usize, packet: Vec<u8>) {
        self.packets += 1;
        if self.rng.below(1000) < self.link.lost {
            return;
        }
        let mut leaves = self.now;
        if let Some((rate, buffer)) = self.link.rate {
            let each = Duration::from_micros(1000 / rate);
            leaves = self.free[to].max(self.now);
            if leaves - self.now > each * u32::try_from(buffer).unwrap() {
                return;
            }
            self.free[to] = leaves + each;
        }
        let copies = if self.rng.below(1000) < self.link.doubled { 2 } else { 1 };
        for _ in 0..copies {
            let late = Duration::from_micros(self.rng.below(u64::try_from(self.link.jitter.as_micros()).unwrap() + 1));
            self.counter += 1;
            self.in_transit
                .insert((leaves + self.link.delay + late, self.counter), (to, packet.clone()));
        }
    }

    /// Processes the next event.
    fn step(&mut self) {
        let mut next = self.in_transit.keys().next().map(|(at, _)| *at);
        for end in 0..2 {
            self.ends[end].tick(self.now);
            let mut packet = Vec::new();
            while self.ends[end].transmit(self.now, &mut packet) {
                assert!(packet.len() <= PAYLOAD_BYTES + 20, "a packet of {} bytes", packet.len());
                self.send(1 - end, std::mem::take(&mut packet));
            }
            next = next.into_iter().chain(self.ends[end].due(self.now)).min();
        }
        next = next.into_iter().chain(self.in_transit.keys().next().map(|(at, _)| *at)).min();
        self.now = next.map_or(self.now + Duration::from_millis(1), |next| {
            next.max(self.now + Duration::from_micros(1))
        });
        while let Some((&at, _)) = self.in_transit.iter().next().filter(|((at, _), _)| *at <= self.now) {
            let (to, packet) = self.in_transit.remove(&at).unwrap();
            self.ends[to].receive(&UdxPacket::decode(&packet).unwrap(), self.now);
        }
    }

    /// Sends a text in each direction and the ends of both; returns the received texts and the duration.
    fn exchange(&mut self, texts: [&[u8]; 2]) -> ([Vec<u8>; 2], Duration) {
        let (start, mut sent, mut read) = (self.now, [0; 2], [Vec::new(), Vec::new()]);
        let mut done = [false; 2];
        while done != [true; 2] || !self.ends.iter().all(UdxEndpoint::is_acked) {
            for end in 0..2 {
                sent[end] += self.ends[end].write(&texts[end][sent[end]..]);
                if sent[end] == texts[end].len() {
                    self.ends[end].finish();
                }
                done[end] |= self.ends[end].read(&mut read[end]).is_none();
            }
            self.step();
            assert!(self.ends.iter().all(|end| end.error().is_none()), "it gave up: {:?}", self.ends);
            assert!(self.now - start < Duration::from_secs(3600), "it stands still: {:?}", self.ends);
        }
        (read, self.now - start)
    }
}

fn text(bytes: usize, seed: u64) -> Vec<u8> {
    let mut rng = TestRng(seed | 1);
    (0..bytes).map(|_| u8::try_from(rng.below(256)).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn everything_arrives_in_order_over_bad_links(
        seed: u64,
        sizes in (0_usize..200_000, 0_usize..200_000),
        delay in 0_u64..100,
        jitter in 0_u64..50,
        lost in 0_u64..250,
        doubled in 0_u64..300,
    ) {
        let link = LinkModel { delay: Duration::from_millis(delay), jitter: Duration::from_millis(jitter), lost, doubled, rate: None };
        let texts = [text(sizes.0, seed), text(sizes.1, !seed)];
        let ([at_first, at_second], _) = Simulation::new(link, seed).exchange([&texts[0], &texts[1]]);
        prop_assert!(at_second == texts[0] && at_first == texts[1]);
    }

    #[test]
    fn foreign_packets_harm_nothing(
        packets in prop::collection::vec((0_u8..64, any::<[u32; 3]>(), any::<(u32, u32)>(), 0_usize..1500), 0..50),
    ) {
        let mut simulation = Simulation::new(PERFECT, 1);
        simulation.ends[0].write(&[7; 10_000]);
        for (flags, [window, seq, ack], range, size) in packets {
            let (now, payload) = (simulation.now, vec![0; size]);
            let mut bytes = Vec::new();
            // About as many numbers as packets are sent.
            let ranges = vec![(range.0 % 16, range.1 % 16)];
            UdxPacket { stream: 2, window, seq: seq % 64, ack: ack % 16, ranges, payload: &payload, ..UdxPacket::default() }
                .encode(&mut bytes);
            bytes[2] = flags;
            if let Some(packet) = UdxPacket::decode(&bytes) {
                simulation.ends[0].receive(&packet, now);
                prop_assert!(waits(&mut simulation.ends[0], now));
            }
            simulation.step();
        }
    }
}

#[test]
fn a_good_link_is_used() {
    let body = text(5_000_000, 3);
    let (read, took) = Simulation::new(PERFECT, 1).exchange([&body, &[]]);
    assert!(read[1] == body);
    // With a round trip of 20 ms the window doubles up to that of the receiver, 4 MB.
    assert!(took < Duration::from_millis(400), "{took:?}");
}

#[test]
fn a_narrow_link_with_a_short_queue_is_filled() {
    // 5 packets per millisecond are about 6 MB/s; the queue holds half a round trip.
    let link = LinkModel {
        rate: Some((5, 50)),
        ..PERFECT
    };
    let body = text(5_000_000, 5);
    let mut simulation = Simulation::new(link, 1);
    let (read, took) = simulation.exchange([&body, &[]]);
    assert!(read[1] == body);
    assert!(took < Duration::from_millis(1600), "{took:?} and {} packets", simulation.packets);
    assert!(
        simulation.packets < 2 * 5_000_000 / 1152 * 13 / 10,
        "{} packets",
        simulation.packets
    );
}

#[test]
fn one_in_a_hundred_lost_costs_little() {
    let body = text(2_000_000, 9);
    let (read, took) = Simulation::new(LinkModel { lost: 10, ..PERFECT }, 11).exchange([&body, &[]]);
    assert!(read[1] == body && took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_body_gets_through_however_much_is_lost() {
    // Loss of 5 % to 20 % in both directions, with a round trip of 20 ms. With wrong round-trip samples the last one takes a minute.
    let body = text(500_000, 21);
    for (lost, most) in [(50, 4), (100, 8), (200, 20)] {
        for seed in [1, 3, 5, 7, 9] {
            let mut simulation = Simulation::new(LinkModel { lost, ..PERFECT }, seed);
            let (read, took) = simulation.exchange([&body, &[]]);
            assert!(read[1] == body && took < Duration::from_secs(most), "{lost} of 1000 lost: {took:?}");
        }
    }
}

#[test]
fn ranges_that_say_the_same_again_change_nothing() {
    let (now, body) = (Instant::now(), text(100_000, 1));
    let mut sender = Sender::new(now);
    sender.write(&body[..10 * PAYLOAD_BYTES]);
    let sent = std::iter::from_fn(|| sender.transmit(now)).count();
    assert_eq!(sent, 10);
    // All but the first, repeated in several ways; ranges that do not ascend are ignored.
    let ranges = [(1, 5), (1, 5), (0, u64::MAX), (3, 4)].into_iter().cycle().take(1000);
    sender.acknowledged(0, ranges, 1 << 20, now + Duration::from_millis(20));
    assert!(!sender.is_acked());
    sender.acknowledged(10, std::iter::empty(), 1 << 20, now + Duration::from_millis(20));
    assert!(sender.is_acked(), "{sender:?}");
}

/// Returns true if a stream that has sent all that it can waits for a later time.
fn waits(stream: &mut UdxEndpoint, now: Instant) -> bool {
    stream.tick(now);
    while stream.transmit(now, &mut Vec::new()) {}
    stream.due(now).is_none_or(|due| due > now)
}

#[test]
fn acknowledgements_that_leave_nothing_to_probe_leave_nothing_to_wait_for() {
    // A range that begins at the acknowledged number, and a number that lags behind an earlier range.
    for acks in [&[(0, (0, 1))][..], &[(0, (1, 2)), (1, (0, 0))], &[(0, (0, 2)), (0, (0, 0))]] {
        let mut now = Instant::now();
        let mut stream = UdxEndpoint::new(1, now);
        stream.write(&[7; 2 * PAYLOAD_BYTES]);
        assert!(waits(&mut stream, now));
        for &(ack, range) in acks {
            let packet = UdxPacket {
                ack,
                ranges: vec![range],
                window: 0,
                ..UdxPacket::default()
            };
            stream.receive(&packet, now);
        }
        for _ in 0..10 {
            now += Duration::from_secs(4);
            assert!(waits(&mut stream, now), "{acks:?}: {stream:?}");
        }
    }
}

#[test]
fn a_reader_that_stops_stops_the_writer_and_nothing_breaks() {
    let mut simulation = Simulation::new(PERFECT, 1);
    let body = text(9_000_000, 1);
    let mut sent = 0;
    let start = simulation.now;
    while simulation.now - start < Duration::from_secs(120) {
        sent += simulation.ends[0].write(&body[sent..]);
        simulation.step();
    }
    assert!(
        (4_200_000..4_600_000).contains(&sent),
        "{sent} were taken: a buffer here and one there"
    );
    let mut read = Vec::new();
    while read.len() < body.len() {
        sent += simulation.ends[0].write(&body[sent..]);
        simulation.ends[1].read(&mut read);
        simulation.step();
        assert!(simulation.ends[0].error().is_none() && simulation.now - start < Duration::from_secs(140));
    }
    assert!(read == body);
}

#[test]
fn a_dead_peer_times_out_and_a_destroy_packet_resets() {
    let mut simulation = Simulation::new(LinkModel { lost: 1000, ..PERFECT }, 1);
    let start = simulation.now;
    simulation.ends[0].write(b"hello");
    while simulation.ends[0].error().is_none() {
        simulation.step();
        assert!(simulation.now - start < Duration::from_secs(60));
    }
    assert_eq!(simulation.ends[0].error(), Some(io::ErrorKind::TimedOut));
    let mut simulation = Simulation::new(PERFECT, 1);
    simulation.ends[0].destroy();
    while simulation.ends[1].error().is_none() {
        simulation.step();
    }
    assert_eq!(simulation.ends[1].error(), Some(io::ErrorKind::ConnectionReset));
}

#[test]
fn numbers_wrap() {
    assert_eq!(whole(5, 7), Some(7));
    assert_eq!(whole(0x1_0000_0001, 0xffff_fffe), Some(0xffff_fffe));
    assert_eq!(whole(0xffff_fffe, 1), Some(0x1_0000_0001));
    assert_eq!(whole(1, 0xffff_ffff), None, "nothing is before the first");
    assert_eq!(short(0x1_0000_0007), 7);
}
