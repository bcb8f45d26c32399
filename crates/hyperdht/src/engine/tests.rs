//! Nodes in a simulated network, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::announce_signature::{Purpose as Signed, signed_text};
use crate::key::KeyPair;
use crate::messages::{Announcement, Firewall, PeerRecord};

fn address(number: usize) -> SocketAddrV4 {
    let [.., high, low] = u32::try_from(number).unwrap().to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(10, 0, high, low), 1000)
}

/// Nodes by their number, which stands in their address.
struct Network {
    now: Instant,
    nodes: HashMap<SocketAddrV4, Engine>,
    /// Nodes of which no packet arrives and that get none.
    down: BTreeSet<SocketAddrV4>,
    packets: usize,
}

impl Network {
    /// Starts `size` nodes that store records, and one that does not, at address 0.
    fn new(size: usize) -> Self {
        let mut network = Self {
            now: Instant::now(),
            nodes: HashMap::new(),
            down: BTreeSet::new(),
            packets: 0,
        };
        for number in (1..=size).chain([0]) {
            let role = if number == 0 {
                NodeRole::Ephemeral
            } else {
                NodeRole::Storing(address(number))
            };
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            let mut engine = Engine::new(role, seed, network.now);
            engine.set_bootstrap(if number == 1 { Vec::new() } else { vec![address(1)] });
            engine.find_neighbors(None);
            network.nodes.insert(address(number), engine);
            network.settle();
        }
        network
    }

    fn node(&mut self, number: usize) -> &mut Engine {
        self.nodes.get_mut(&address(number)).unwrap()
    }

    /// Delivers packets until there are no more.
    fn settle(&mut self) {
        loop {
            let now = self.now;
            let mut packets = Vec::new();
            for (from, node) in &mut self.nodes {
                packets.extend(std::iter::from_fn(|| node.transmit(now)).map(|(to, packet)| (*from, to, packet)));
            }
            if packets.is_empty() {
                return;
            }
            self.packets += packets.len();
            for (from, to, packet) in packets {
                if !self.down.contains(&to)
                    && !self.down.contains(&from)
                    && let Some(node) = self.nodes.get_mut(&to)
                {
                    node.receive(from, packet.into(), now);
                }
            }
        }
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let due = self.nodes.values().map(Engine::due).min().unwrap();
            self.now = due.max(self.now).min(end);
            if due > end {
                return;
            }
            let now = self.now;
            self.nodes.values_mut().for_each(|node| node.advance(now));
        }
    }

    fn query(&mut self, number: usize, command: u64, target: NodeId) -> Vec<Found> {
        let (caller, mut results) = oneshot::channel();
        self.node(number).query(false, command, target, Some(caller));
        self.pass(Duration::from_secs(10));
        results.try_recv().unwrap()
    }

    fn call(&mut self, number: usize, to: SocketAddrV4, call: Call) -> Option<Reply> {
        let (caller, mut reply) = oneshot::channel();
        self.node(number).call(to, call, caller);
        self.pass(Duration::from_secs(10));
        reply.try_recv().ok()
    }

    /// Announces a key at the closest nodes; returns those that took it.
    fn announce(&mut self, pair: &KeyPair, target: NodeId) -> Vec<SocketAddrV4> {
        let found = self.query(0, command::FIND_PEER, target);
        let mut holders = Vec::new();
        for Found { from, id, token, .. } in found {
            let record = PeerRecord {
                public_key: *pair.public_key().as_bytes(),
                relays: Vec::new(),
            };
            let text = signed_text(Signed::Announce, &target, &id, &token.unwrap(), &record.encode(), None);
            let announcement = Announcement {
                peer: Some(record),
                refresh: None,
                signature: Some(pair.sign(&text)),
            };
            let call = Call {
                token,
                value: Some(announcement.encode().into()),
                ..Call::new(command::ANNOUNCE, target)
            };
            let (caller, mut reply) = oneshot::channel();
            self.node(0).call(from, call, caller);
            self.settle();
            if reply.try_recv().is_ok_and(|reply| reply.error == 0) {
                holders.push(from);
            }
        }
        holders
    }
}

/// The addresses of the nodes closest to a target, by a full search.
fn closest(network: &Network, target: &NodeId) -> Vec<SocketAddrV4> {
    let mut nodes: Vec<SocketAddrV4> = network
        .nodes
        .keys()
        .filter(|node| **node != address(0) && !network.down.contains(node))
        .copied()
        .collect();
    nodes.sort_by_key(|node| crate::routing_table::distance(&node_id(*node), target));
    nodes.truncate(BUCKET_NODES);
    nodes
}

#[test]
fn the_closest_nodes_of_a_network_are_found() {
    let mut network = Network::new(120);
    for byte in 0..8 {
        let target = hash(&[&[byte]]);
        let found: Vec<SocketAddrV4> = network
            .query(0, command::FIND_PEER, target)
            .into_iter()
            .map(|found| found.from)
            .collect();
        assert_eq!(found, closest(&network, &target));
    }
}

#[test]
fn nodes_that_are_down_are_passed_over_and_forgotten() {
    let mut network = Network::new(60);
    let target = hash(&[b"target"]);
    let down: Vec<SocketAddrV4> = closest(&network, &target)
        .into_iter()
        .filter(|node| *node != address(1))
        .take(5)
        .collect();
    network.down.extend(&down);
    let found: Vec<SocketAddrV4> = network
        .query(0, command::FIND_PEER, target)
        .into_iter()
        .map(|found| found.from)
        .collect();
    assert_eq!(found[..10], closest(&network, &target)[..10]);
    let ids: Vec<NodeId> = down.iter().map(|node| node_id(*node)).collect();
    assert!(ids.iter().all(|id| network.node(0).table.get_mut(id).is_none()));
    // The others notice as well, by hints and pings.
    network.pass(Duration::from_secs(1_200));
    let down = network.down.clone();
    for (address, node) in network.nodes.iter_mut().filter(|(address, _)| !down.contains(address)) {
        assert!(ids.iter().all(|id| node.table.get_mut(id).is_none()), "{address}");
    }
}

#[test]
fn a_key_is_announced_and_found_while_tokens_are_valid() {
    let mut network = Network::new(30);
    let pair = KeyPair::from_seed(&[1; 32]);
    let target = hash(&[pair.public_key().as_bytes()]);
    // A query takes up to ten seconds here, which the tokens survive or not; the announcement asks for new ones.
    network.announce(&pair, target);
    let token = network.query(0, command::FIND_PEER, target)[0].token;
    let holder = closest(&network, &target)[0];
    let stale = Call {
        token,
        value: Some(Bytes::new()),
        ..Call::new(command::ANNOUNCE, target)
    };
    network.pass(TOKEN_LIFETIME * 2);
    let reply = network.call(0, holder, stale).unwrap();
    assert_eq!((reply.error, reply.token.is_some()), (error_code::INVALID_TOKEN, true));
}

#[test]
fn every_closest_node_takes_an_announcement() {
    let mut network = Network::new(30);
    let pair = KeyPair::from_seed(&[1; 32]);
    let target = hash(&[pair.public_key().as_bytes()]);
    let (caller, mut results) = oneshot::channel();
    network.node(0).query(false, command::FIND_PEER, target, Some(caller));
    network.settle();
    let found = results.try_recv().unwrap();
    assert_eq!(found.len(), BUCKET_NODES);
    let now = network.now;
    // Another address cannot use the token.
    let token = found[0].token.unwrap();
    let holder = network.nodes.get(&found[0].from).unwrap();
    assert_eq!(holder.token(address(0), now, 0), token);
    assert_ne!(holder.token(address(2), now, 0), token);
    assert_ne!(holder.token(address(0), now + TOKEN_LIFETIME, 0), token);
    assert_eq!(holder.token(address(0), now + TOKEN_LIFETIME, 1), token);
}

#[test]
fn our_external_address_is_known_after_the_first_query() {
    let mut network = Network::new(10);
    assert_eq!(network.node(0).nat().classify(), (Firewall::CONSISTENT, Some(address(0))));
}

#[test]
fn an_idle_node_sends_little_and_stays_known() {
    let mut network = Network::new(20);
    network.pass(Duration::from_secs(60));
    let (before, hour) = (network.packets, Duration::from_secs(3_600));
    network.pass(hour);
    // Up to five pings in 40 seconds and a query in five minutes for each of the 21 nodes, each with its reply.
    let each = (network.packets - before) / 21;
    assert!((100..4_000).contains(&each), "{each} packets in an hour");
    assert!(network.nodes.values().all(|node| node.table.len() >= 19 && node.queries.is_empty()));
}

#[test]
fn without_bootstrap_nodes_the_network_is_tried_again() {
    let mut network = Network::new(1);
    network.down.insert(address(1));
    network.nodes.remove(&address(0));
    let mut engine = Engine::new(NodeRole::Ephemeral, [5; 32], network.now);
    engine.set_bootstrap(vec![address(1)]);
    let (caller, mut results) = oneshot::channel();
    engine.find_neighbors(Some(caller));
    network.nodes.insert(address(0), engine);
    network.pass(Duration::from_secs(8));
    assert_eq!(results.try_recv().unwrap(), []);
    assert!(network.node(0).knows_no_node());
    network.down.clear();
    network.pass(Duration::from_secs(15));
    assert!(!network.node(0).knows_no_node());
}

/// Sends one request to an ephemeral node, and returns what it sends then.
fn answer(engine: &mut Engine, request: &Request, now: Instant) -> Vec<(SocketAddrV4, Packet)> {
    assert!(engine.receive(address(7), request.encode().into(), now).is_none());
    std::iter::from_fn(|| engine.transmit(now))
        .map(|(to, packet)| (to, Packet::decode(packet.into()).unwrap()))
        .collect()
}

fn request(internal: bool, command: u64, target: Option<NodeId>, value: Option<&'static [u8]>) -> Request {
    Request {
        tid: 5,
        to: address(0),
        id: None,
        token: None,
        internal,
        command,
        target,
        value: value.map(Bytes::from_static),
    }
}

#[test]
fn every_command_has_its_answer() {
    let now = Instant::now();
    let mut engine = Engine::new(NodeRole::Ephemeral, [1; 32], now);
    let reply = |error| {
        Packet::Reply(Reply {
            tid: 5,
            to: address(7),
            id: None,
            token: None,
            closer_nodes: Vec::new(),
            error,
            value: None,
        })
    };
    let target = Some([1; 32]);
    let mut one = |request| match &answer(&mut engine, &request, now)[..] {
        [] => None,
        [one] => Some(one.clone()),
        more => panic!("{more:?}"),
    };
    let ok = Some((address(7), reply(0)));
    let unknown = Some((address(7), reply(error_code::UNKNOWN_COMMAND)));
    assert_eq!(one(request(true, internal::PING, None, None)), ok);
    assert_eq!(one(request(true, internal::FIND_NODE, target, None)), ok);
    assert_eq!(one(request(true, internal::FIND_NODE, None, None)), None);
    assert_eq!(one(request(true, internal::DOWN_HINT, None, Some(&[1, 2, 3, 4, 5, 6]))), ok);
    let other_port = SocketAddrV4::new(*address(7).ip(), 0x0201);
    assert_eq!(
        one(request(true, internal::PING_NAT, None, Some(&[1, 2]))),
        Some((other_port, reply(0)))
    );
    assert_eq!(one(request(true, internal::PING_NAT, None, Some(&[0, 0]))), None);
    assert_eq!(one(request(true, 99, None, None)), unknown);
    assert_eq!(one(request(false, command::FIND_PEER, target, None)), unknown);
    assert_eq!(one(request(false, command::PEER_HOLEPUNCH, target, Some(&[1]))), None);
    let handshake = request(false, command::PEER_HANDSHAKE, target, Some(&[1]));
    let passed_on = engine.receive(address(7), handshake.encode().into(), now).unwrap();
    assert_eq!((passed_on.from, passed_on.tid, passed_on.target), (address(7), 5, [1; 32]));
}

#[test]
fn a_delayed_ping_is_answered_later_within_bounds() {
    let now = Instant::now();
    let mut engine = Engine::new(NodeRole::Ephemeral, [1; 32], now);
    let ping = |value| request(true, internal::DELAYED_PING, None, Some(value));
    // 10001 ms and 4000 ms.
    assert!(answer(&mut engine, &ping(&[0x11, 0x27, 0, 0]), now).is_empty() && engine.delayed.is_empty());
    for _ in 0..2 * MAX_DELAYED_PINGS {
        assert!(answer(&mut engine, &ping(&[0xa0, 0x0f, 0, 0]), now).is_empty());
    }
    assert_eq!(
        (engine.delayed.len(), engine.due()),
        (MAX_DELAYED_PINGS, now + Duration::from_secs(4))
    );
    engine.advance(now + Duration::from_secs(4));
    assert!(engine.delayed.is_empty() && engine.outgoing.len() == MAX_DELAYED_PINGS);
}

#[test]
fn a_node_under_a_false_id_is_not_added() {
    let now = Instant::now();
    let mut engine = Engine::new(NodeRole::Ephemeral, [1; 32], now);
    let under = |id| Request {
        id: Some(id),
        ..request(true, internal::PING, None, None)
    };
    answer(&mut engine, &under([3; 32]), now);
    assert!(engine.knows_no_node());
    answer(&mut engine, &under(node_id(address(7))), now);
    assert_eq!(engine.table.len(), 1);
}

#[test]
fn the_stalest_node_of_a_full_bucket_is_replaced_only_if_it_is_down() {
    let mut network = Network::new(0);
    let own = *network.node(0).table.own();
    // Nodes of the furthest bucket: half of all nodes.
    let far: Vec<SocketAddrV4> = (1..200)
        .map(address)
        .filter(|node| (node_id(*node)[0] ^ own[0]) & 0x80 != 0)
        .take(BUCKET_NODES + 1)
        .collect();
    for node in &far {
        network
            .nodes
            .insert(*node, Engine::new(NodeRole::Storing(*node), [2; 32], network.now));
    }
    let (new, old) = far.split_last().unwrap();
    for node in old {
        network.node(0).see(*node, Some(node_id(*node)));
    }
    network.node(0).tick = 100;
    let is_known = |network: &mut Network, node: SocketAddrV4| network.node(0).table.get_mut(&node_id(node)).is_some();
    network.node(0).see(*new, Some(node_id(*new)));
    network.pass(Duration::from_secs(4));
    assert!(is_known(&mut network, old[0]) && !is_known(&mut network, *new), "all respond");
    network.down.extend(old);
    network.node(0).tick = 200;
    network.node(0).see(*new, Some(node_id(*new)));
    network.pass(Duration::from_secs(4));
    assert!(is_known(&mut network, *new));
    assert_eq!((network.node(0).table.len(), network.node(0).checks), (BUCKET_NODES, 0));
}

#[test]
fn a_flood_of_calls_is_refused_beyond_the_limit() {
    let now = Instant::now();
    let mut engine = Engine::new(NodeRole::Ephemeral, [1; 32], now);
    let mut callers = Vec::new();
    for number in 0..5_000 {
        let (caller, reply) = oneshot::channel();
        engine.call(address(number), Call::new(command::FIND_PEER, [1; 32]), caller);
        callers.push(reply);
    }
    let closed = Err(oneshot::error::TryRecvError::Closed);
    let refused = callers
        .into_iter()
        .filter_map(|mut reply| (reply.try_recv() == closed).then_some(()))
        .count();
    assert!((900..1_000).contains(&refused), "{refused}");
    engine.query(true, internal::FIND_NODE, [1; 32], None);
    assert!(engine.queries.is_empty(), "nothing waits forever");
}

proptest! {
    #[test]
    fn foreign_datagrams_get_at_most_one_answer(
        datagrams in prop::collection::vec((prop::sample::select(vec![3_u8, 0x13, 0]), prop::collection::vec(any::<u8>(), 0..120)), 0..40),
        storing: bool,
    ) {
        let now = Instant::now();
        let role = if storing { NodeRole::Storing(address(0)) } else { NodeRole::Ephemeral };
        let mut engine = Engine::new(role, [1; 32], now);
        engine.set_bootstrap(vec![address(1)]);
        engine.find_neighbors(None);
        for (kind, mut datagram) in datagrams {
            std::iter::from_fn(|| engine.transmit(now)).for_each(drop);
            datagram.insert(0, kind);
            let length = datagram.len();
            engine.receive(address(7), datagram.into(), now);
            let answers: Vec<_> = std::iter::from_fn(|| engine.transmit(now)).collect();
            prop_assert!(answers.len() <= 1);
            let longest = length + 32 + 32 + 8 + 6 * BUCKET_NODES;
            prop_assert!(answers.iter().all(|(_, answer)| answer.len() <= longest));
        }
        engine.advance(now + Duration::from_secs(30));
    }
}
