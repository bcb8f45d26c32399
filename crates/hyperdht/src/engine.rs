//! A node of the network, without sockets and clocks: packets and times are arguments, packets and the time of the next event are results.
//!
//! It keeps the routing table, runs queries and requests, answers other nodes, and samples our external address.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::hash::{hash, keyed_hash};
use crate::messages::{Packet, Reply, Request, command, error_code, internal};
use crate::nat::NatSampler;
use crate::query::{Found, Query};
use crate::record_store::{RecordStore, Response};
use crate::request_table::{Attempts, Ended, RequestTable};
use crate::routing_table::{BUCKET_NODES, KnownNode, NodeId, RoutingTable, node_id};

/// Interval of maintenance.
const TICK: Duration = Duration::from_secs(5);
/// Ticks between pings to some of the nodes.
const PING_TICKS: u64 = 8;
/// Ticks between queries for new nodes: five minutes.
const REFRESH_TICKS: u64 = 60;
/// The same while the routing table has fewer nodes than one bucket.
const SMALL_REFRESH_TICKS: u64 = 12;
/// The same while the routing table is empty: no bootstrap node has responded yet.
const EMPTY_REFRESH_TICKS: u64 = 2;
/// Nodes that are pinged at a time, and the number while requests are in flight.
const PINGS: usize = 5;
const BUSY_PINGS: usize = 3;
/// Ticks after which a node that has not sent anything may be replaced: a minute.
const RECENT_TICKS: u64 = 12;
/// Ticks after which a known node is preferred to a new one: half an hour.
const OLD_TICKS: u64 = 360;
/// Limit on concurrent pings to nodes, beyond which neither a new node nor a hint causes another one.
const MAX_CHECKS: usize = 3;
/// Limit on hints about nodes that do not respond in each tick, the same as in the JavaScript implementation.
const MAX_HINTS_PER_TICK: u32 = 50;
/// Lifetime of a token; it stays valid for another one. Tokens show that their sender receives at its address.
const TOKEN_LIFETIME: Duration = Duration::from_millis(7_500);
/// Limit on the delay of a ping that another node asks for, the same as in the JavaScript implementation.
const MAX_PING_DELAY: Duration = Duration::from_secs(10);
/// Limit on such pings; others are not answered.
const MAX_DELAYED_PINGS: usize = 64;
/// Limit on concurrent queries, more than all dials and announcements run. Others end without results.
const MAX_QUERIES: usize = 256;

/// The role of a node.
#[derive(Debug)]
pub(crate) enum NodeRole {
    /// It stores no records of others, because it may be short-lived or unreachable, and other nodes do not add it to their routing
    /// tables.
    Ephemeral,
    /// It stores records, at this address.
    Storing(SocketAddrV4),
}

/// The parameters of a request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) command: u64,
    pub(crate) target: NodeId,
    pub(crate) token: Option<[u8; 32]>,
    pub(crate) value: Option<Bytes>,
    pub(crate) attempts: Attempts,
}

impl Call {
    pub(crate) fn new(command: u64, target: NodeId) -> Self {
        Self {
            command,
            target,
            token: None,
            value: None,
            attempts: Attempts::default(),
        }
    }
}

/// A request of HyperDHT that an ephemeral node may answer.
#[derive(Debug)]
pub(crate) struct IncomingRequest {
    /// The address of its sender.
    pub(crate) from: SocketAddrV4,
    /// The number of the request.
    pub(crate) tid: u16,
    pub(crate) target: NodeId,
    pub(crate) value: Bytes,
}

/// The purpose of a request of ours.
#[derive(Debug)]
enum Purpose {
    /// A step of a query.
    Query(u64),
    /// A request of a user of the node.
    Call(oneshot::Sender<Reply>),
    /// A ping that decides whether a node stays in the routing table, and another one that waits for its place.
    Check { id: NodeId, replacement: Option<KnownNode> },
    /// A hint, of which the reply does not matter.
    Hint,
}

impl Purpose {
    /// Returns false if no one waits for the reply any more.
    fn is_wanted(&self) -> bool {
        !matches!(self, Self::Call(caller) if caller.is_closed())
    }
}

/// A query and the receiver of its results.
#[derive(Debug)]
struct RunningQuery {
    query: Query,
    internal: bool,
    command: u64,
    target: NodeId,
    caller: Option<oneshot::Sender<Vec<Found>>>,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Engine {
    id: Option<NodeId>,
    records: Option<RecordStore>,
    bootstrap: Vec<SocketAddrV4>,
    table: RoutingTable,
    nat: NatSampler,
    requests: RequestTable<Purpose>,
    queries: HashMap<u64, RunningQuery>,
    next_query: u64,
    /// The number of pings for [`Purpose::Check`] in flight.
    checks: usize,
    hints_in_tick: u32,
    tick: u64,
    next_tick: Instant,
    /// The time of the last query for new nodes.
    refreshed: u64,
    /// Replies to delayed pings.
    delayed: VecDeque<(Instant, SocketAddrV4, Vec<u8>)>,
    started: Instant,
    /// The source of unpredictable numbers: tokens and request numbers.
    seed: [u8; 32],
    drawn: u64,
    /// Packets to send. The caller takes all after each change: a received packet adds one, and hints within [`MAX_HINTS_PER_TICK`].
    outgoing: VecDeque<(SocketAddrV4, Vec<u8>)>,
}

impl Engine {
    /// Creates a node; `seed` must be random.
    pub(crate) fn new(role: NodeRole, seed: [u8; 32], now: Instant) -> Self {
        let (id, records) = match role {
            NodeRole::Ephemeral => (None, None),
            NodeRole::Storing(address) => (Some(node_id(address)), Some(RecordStore::default())),
        };
        Self {
            id,
            records,
            bootstrap: Vec::new(),
            // The id of an ephemeral node is not shown to others.
            table: RoutingTable::new(id.unwrap_or_else(|| hash(&[&seed]))),
            nat: NatSampler::default(),
            requests: RequestTable::default(),
            queries: HashMap::new(),
            next_query: 0,
            checks: 0,
            hints_in_tick: 0,
            tick: 0,
            next_tick: now + TICK,
            refreshed: 0,
            delayed: VecDeque::new(),
            started: now,
            seed,
            drawn: 0,
            outgoing: VecDeque::new(),
        }
    }

    /// Replaces the bootstrap nodes, which are asked while few other nodes are known.
    pub(crate) fn set_bootstrap(&mut self, nodes: Vec<SocketAddrV4>) {
        self.bootstrap = nodes;
    }

    /// Returns true if no node has responded, or none does any more.
    pub(crate) fn knows_no_node(&self) -> bool {
        self.table.len() == 0
    }

    /// Returns the reports of our external address.
    pub(crate) fn nat(&self) -> &NatSampler {
        &self.nat
    }

    /// Returns an unpredictable number.
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let [a, b, c, d, e, f, g, h, ..] = keyed_hash(&self.seed, &self.drawn.to_le_bytes());
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Returns the token of an address, now or one lifetime ago.
    fn token(&self, from: SocketAddrV4, now: Instant, ago: u128) -> [u8; 32] {
        let period = now.duration_since(self.started).as_millis() / TOKEN_LIFETIME.as_millis();
        let mut text = [0; 20];
        text[..4].copy_from_slice(&from.ip().octets());
        text[4..].copy_from_slice(&period.wrapping_sub(ago).to_le_bytes());
        keyed_hash(&self.seed, &text)
    }

    // Requests and queries of ours.

    /// Sends a request to a node. The receiver gets its reply, or nothing if it does not respond.
    pub(crate) fn call(&mut self, to: SocketAddrV4, call: Call, caller: oneshot::Sender<Reply>) {
        let request = self.request(to, false, call.command, Some(call.target));
        let request = Request {
            token: call.token,
            value: call.value,
            ..request
        };
        self.send_request(request, call.attempts, Purpose::Call(caller));
    }

    /// Pings a node, like [`Engine::call`].
    pub(crate) fn ping(&mut self, to: SocketAddrV4, caller: oneshot::Sender<Reply>) {
        let request = self.request(to, true, internal::PING, None);
        self.send_request(request, Attempts::default(), Purpose::Call(caller));
    }

    fn request(&self, to: SocketAddrV4, internal: bool, command: u64, target: Option<NodeId>) -> Request {
        Request {
            tid: 0,
            to,
            id: self.id,
            token: None,
            internal,
            command,
            target,
            value: None,
        }
    }

    /// Sends a request under a new number; `false` if there are too many.
    fn send_request(&mut self, request: Request, attempts: Attempts, purpose: Purpose) -> bool {
        /// Draws until a number is free; at most one in sixteen is in use.
        const DRAWS: usize = 8;
        let free = (0..DRAWS).find_map(|_| {
            let [low, high, ..] = self.draw().to_le_bytes();
            let tid = u16::from_le_bytes([low, high]);
            self.requests.has_room_for(tid).then_some(tid)
        });
        if let Some(tid) = free {
            let to = request.to;
            self.requests.add(tid, to, Request { tid, ..request }.encode(), attempts, purpose);
        } else if let Purpose::Check { .. } = purpose {
            self.checks -= 1;
        }
        free.is_some()
    }

    /// Asks the nodes closest to a target, ever closer ones; the receiver gets the closest that have replied without an error.
    pub(crate) fn query(&mut self, internal: bool, command: u64, target: NodeId, caller: Option<oneshot::Sender<Vec<Found>>>) {
        if self.queries.len() >= MAX_QUERIES {
            return;
        }
        let mut query = Query::new(target, *self.table.own());
        let known = self.table.closest(&target, BUCKET_NODES);
        let bootstrap = if known.len() < BUCKET_NODES { &self.bootstrap[..] } else { &[] };
        for address in known.iter().map(|node| node.address).chain(bootstrap.iter().copied()) {
            query.consider(address, None);
        }
        let number = self.next_query;
        self.next_query += 1;
        let running = RunningQuery {
            query,
            internal,
            command,
            target,
            caller,
        };
        self.queries.insert(number, running);
        self.continue_query(number);
    }

    /// Starts a query for nodes close to us.
    pub(crate) fn find_neighbors(&mut self, caller: Option<oneshot::Sender<Vec<Found>>>) {
        self.query(true, internal::FIND_NODE, *self.table.own(), caller);
    }

    /// Sends the next requests of a query, or ends it.
    fn continue_query(&mut self, number: u64) {
        loop {
            let Some(running) = self.queries.get_mut(&number) else { return };
            let unwanted = running.caller.as_ref().is_some_and(oneshot::Sender::is_closed);
            if unwanted || running.query.is_finished() {
                break;
            }
            let Some(to) = running.query.next() else {
                // Either all requests are in flight, or the last candidates were too far.
                if running.query.is_finished() {
                    break;
                }
                return;
            };
            let (internal, command, target) = (running.internal, running.command, running.target);
            let request = self.request(to, internal, command, Some(target));
            if !self.send_request(request, Attempts::default(), Purpose::Query(number)) {
                break;
            }
        }
        if let Some(RunningQuery { query, caller, .. }) = self.queries.remove(&number)
            && let Some(caller) = caller
        {
            // The receiver may be dropped.
            let _ = caller.send(query.into_closest());
        }
    }

    /// Notifies nodes that one which they have named does not respond.
    fn hint(&mut self, to: Vec<SocketAddrV4>, down: SocketAddrV4) {
        let value: Vec<u8> = [&down.ip().octets()[..], &down.port().to_le_bytes()].concat();
        for to in to {
            if self.hints_in_tick >= MAX_HINTS_PER_TICK {
                return;
            }
            self.hints_in_tick += 1;
            let request = Request {
                value: Some(value.clone().into()),
                ..self.request(to, true, internal::DOWN_HINT, None)
            };
            self.send_request(request, Attempts::default(), Purpose::Hint);
        }
    }

    /// Passes a reply to a handshake to the relay that it came from, under the number of the request.
    pub(crate) fn relay(&mut self, to: SocketAddrV4, tid: u16, command: u64, target: NodeId, value: Bytes) {
        let request = Request {
            tid,
            id: None,
            value: Some(value),
            ..self.request(to, false, command, Some(target))
        };
        self.outgoing.push_back((to, request.encode()));
    }

    /// Replies to a request directly.
    pub(crate) fn reply(&mut self, request: &IncomingRequest, value: Bytes) {
        let reply = self.reply_to(request.from, request.tid);
        let reply = Reply {
            value: Some(value),
            ..reply
        };
        self.outgoing.push_back((request.from, reply.encode()));
    }

    fn reply_to(&self, to: SocketAddrV4, tid: u16) -> Reply {
        Reply {
            tid,
            to,
            id: self.id,
            token: None,
            closer_nodes: Vec::new(),
            error: 0,
            value: None,
        }
    }

    // Packets.

    /// Handles a datagram. Returns a request that the users of the node may answer.
    pub(crate) fn receive(&mut self, from: SocketAddrV4, datagram: Bytes, now: Instant) -> Option<IncomingRequest> {
        if from.port() == 0 {
            return None;
        }
        match Packet::decode(datagram).ok()? {
            Packet::Request(request) => self.on_request(from, request, now),
            Packet::Reply(reply) => {
                self.on_reply(from, reply);
                None
            }
        }
    }

    /// Returns the next packet to send now.
    pub(crate) fn transmit(&mut self, now: Instant) -> Option<(SocketAddrV4, Vec<u8>)> {
        self.outgoing.pop_front().or_else(|| self.requests.transmit(now))
    }

    fn on_request(&mut self, from: SocketAddrV4, request: Request, now: Instant) -> Option<IncomingRequest> {
        let reply = self.reply_to(from, request.tid);
        if let Some(token) = request.token
            && token != self.token(from, now, 0)
            && token != self.token(from, now, 1)
        {
            let reply = Reply {
                token: Some(self.token(from, now, 0)),
                error: error_code::INVALID_TOKEN,
                ..reply
            };
            self.outgoing.push_back((from, reply.encode()));
            return None;
        }
        self.see(from, request.id);
        if request.internal {
            self.on_internal_request(from, &request, reply, now);
            return None;
        }
        if let Some(records) = &mut self.records {
            let own = *self.table.own();
            let response = records.handle(&own, from, &request, now);
            self.respond(from, &request, reply, response, now);
            return None;
        }
        match (request.command, request.target, request.value) {
            (command::PEER_HANDSHAKE, Some(target), Some(value)) => {
                let tid = request.tid;
                return Some(IncomingRequest { from, tid, target, value });
            }
            // Without a reply, as in the JavaScript implementation.
            (command::PEER_HANDSHAKE | command::PEER_HOLEPUNCH, ..) => {}
            (_, target, _) => {
                let reply = Reply {
                    closer_nodes: self.closer_nodes(target),
                    error: error_code::UNKNOWN_COMMAND,
                    ..reply
                };
                self.outgoing.push_back((from, reply.encode()));
            }
        }
        None
    }

    fn closer_nodes(&self, target: Option<NodeId>) -> Vec<SocketAddrV4> {
        let nodes = target.map(|target| self.table.closest(&target, BUCKET_NODES)).unwrap_or_default();
        nodes.into_iter().map(|node| node.address).collect()
    }

    /// Answers a command that every node knows.
    fn on_internal_request(&mut self, from: SocketAddrV4, request: &Request, reply: Reply, now: Instant) {
        let value = request.value.as_deref().unwrap_or_default();
        let reply = match request.command {
            internal::PING => reply,
            internal::PING_NAT => {
                let port = value.first_chunk().map_or(0, |port| u16::from_le_bytes(*port));
                if port != 0 {
                    self.outgoing.push_back((SocketAddrV4::new(*from.ip(), port), reply.encode()));
                }
                return;
            }
            internal::FIND_NODE if request.target.is_none() => return,
            internal::FIND_NODE => Reply {
                closer_nodes: self.closer_nodes(request.target),
                ..reply
            },
            internal::DOWN_HINT => {
                if let Some(address) = value.first_chunk::<6>() {
                    self.on_hint(&hash(&[address]));
                }
                reply
            }
            internal::DELAYED_PING => {
                let delay = value
                    .first_chunk()
                    .map(|delay| Duration::from_millis(u32::from_le_bytes(*delay).into()));
                if let Some(delay) = delay.filter(|delay| *delay <= MAX_PING_DELAY && self.delayed.len() < MAX_DELAYED_PINGS) {
                    self.delayed.push_back((now + delay, from, reply.encode()));
                }
                return;
            }
            _ => Reply {
                closer_nodes: self.closer_nodes(request.target),
                error: error_code::UNKNOWN_COMMAND,
                ..reply
            },
        };
        self.outgoing.push_back((from, reply.encode()));
    }

    /// Pings a node that another one reports as down.
    fn on_hint(&mut self, id: &NodeId) {
        let tick = self.tick;
        if self.checks < MAX_CHECKS
            && let Some(node) = self.table.get_mut(id).filter(|node| node.pinged < tick).map(|node| *node)
        {
            self.check(node, None);
        }
    }

    /// Sends the response of a node that stores records.
    fn respond(&mut self, from: SocketAddrV4, request: &Request, reply: Reply, response: Response, now: Instant) {
        let relayed = |value| Request {
            id: None,
            token: None,
            value: Some(value),
            ..request.clone()
        };
        let packet = match response {
            Response::Ignored => return,
            Response::Done => (from, reply.encode()),
            Response::Reply(value) => {
                let token = Some(self.token(from, now, 0));
                let closer_nodes = self.closer_nodes(request.target);
                let reply = Reply {
                    token,
                    closer_nodes,
                    value,
                    ..reply
                };
                (from, reply.encode())
            }
            Response::Unknown => {
                let error = error_code::UNKNOWN_COMMAND;
                (from, Reply { error, ..reply }.encode())
            }
            Response::Relay(to, value) => (to, Request { to, ..relayed(value) }.encode()),
            Response::ReplyTo(to, value) => {
                let value = Some(value);
                (to, Reply { to, value, ..reply }.encode())
            }
        };
        self.outgoing.push_back(packet);
    }

    fn on_reply(&mut self, from: SocketAddrV4, reply: Reply) {
        let Some(Ended { late, purpose, .. }) = self.requests.on_reply(reply.tid, from) else {
            return;
        };
        self.nat.add(from, reply.to);
        self.see(from, reply.id);
        match purpose {
            Purpose::Query(number) => {
                if let Some(running) = self.queries.get_mut(&number) {
                    let down = running.query.on_reply(from, &reply, late);
                    for node in down {
                        self.hint(vec![from], node);
                    }
                    self.continue_query(number);
                }
            }
            Purpose::Call(caller) => {
                // The receiver may be dropped.
                let _ = caller.send(reply);
            }
            Purpose::Check { id, replacement } => {
                self.checks -= 1;
                // A node at this address that has another id now has not been seen.
                if reply.id != Some(id) {
                    self.replace(&id, replacement);
                }
            }
            Purpose::Hint => {}
        }
    }

    fn on_timeout(&mut self, ended: Ended<Purpose>) {
        let Ended { to, late, purpose } = ended;
        match purpose {
            Purpose::Query(number) => {
                self.table.remove(&node_id(to));
                if let Some(running) = self.queries.get_mut(&number) {
                    let referrers = running.query.on_timeout(to, late);
                    self.hint(referrers, to);
                    self.continue_query(number);
                }
            }
            Purpose::Check { id, replacement } => {
                self.checks -= 1;
                self.replace(&id, replacement);
            }
            // Dropping the sender ends the wait for the reply.
            Purpose::Call(_) | Purpose::Hint => {}
        }
    }

    // The routing table.

    /// Adds a node that has sent a packet under its id, or notes that it has.
    fn see(&mut self, from: SocketAddrV4, id: Option<NodeId>) {
        // Under another id than that of its address it could take any place in the table.
        let Some(id) = id.filter(|id| *id == node_id(from)) else { return };
        let tick = self.tick;
        if let Some(node) = self.table.get_mut(&id) {
            (node.seen, node.pinged) = (tick, tick);
            return;
        }
        let node = KnownNode {
            id,
            address: from,
            added: tick,
            seen: tick,
            pinged: tick,
        };
        if self.table.add(node) || id == *self.table.own() || self.checks >= MAX_CHECKS {
            return;
        }
        // Of a full bucket the node that was in contact the longest ago is pinged, and replaced if it does not respond.
        let stalest = self.table.stalest_beside(&id).copied();
        let is_stable = |old: &KnownNode| tick - old.pinged < RECENT_TICKS && tick - old.added > OLD_TICKS;
        if let Some(old) = stalest.filter(|old| old.pinged < tick && !is_stable(old)) {
            self.check(old, Some(node));
        }
    }

    /// Pings a node; if it does not respond, it is removed from the routing table, and the other one takes its place.
    fn check(&mut self, node: KnownNode, replacement: Option<KnownNode>) {
        if let Some(node) = self.table.get_mut(&node.id) {
            node.pinged = self.tick;
        }
        self.checks += 1;
        let request = self.request(node.address, true, internal::PING, None);
        let id = node.id;
        self.send_request(request, Attempts::default(), Purpose::Check { id, replacement });
    }

    fn replace(&mut self, id: &NodeId, replacement: Option<KnownNode>) {
        self.table.remove(id);
        if let Some(node) = replacement {
            self.table.add(node);
        }
    }

    // Time.

    /// Returns the time of the next call to [`Engine::advance`] if nothing else happens.
    pub(crate) fn due(&self) -> Instant {
        let delayed = self.delayed.iter().map(|(due, ..)| *due).min();
        let first = [self.requests.due(), delayed].into_iter().flatten().min();
        first.map_or(self.next_tick, |first| first.min(self.next_tick))
    }

    /// Handles the passing of time.
    pub(crate) fn advance(&mut self, now: Instant) {
        for index in (0..self.delayed.len()).rev() {
            if self.delayed[index].0 <= now
                && let Some((_, to, packet)) = self.delayed.remove(index)
            {
                self.outgoing.push_back((to, packet));
            }
        }
        let mut late = Vec::new();
        let ended = self.requests.advance(now, Purpose::is_wanted, |purpose| {
            if let Purpose::Query(number) = purpose {
                late.push(*number);
            }
        });
        for number in late {
            if let Some(running) = self.queries.get_mut(&number) {
                running.query.on_late();
                self.continue_query(number);
            }
        }
        ended.into_iter().for_each(|ended| self.on_timeout(ended));
        if now >= self.next_tick {
            self.on_tick(now);
        }
    }

    fn on_tick(&mut self, now: Instant) {
        // After a pause of the machine, all nodes may have changed.
        let paused = now >= self.next_tick + 2 * TICK;
        self.next_tick = now + TICK;
        self.tick += 1;
        self.hints_in_tick = 0;
        let interval = match self.table.len() {
            0 => EMPTY_REFRESH_TICKS,
            small if small < BUCKET_NODES => SMALL_REFRESH_TICKS,
            _ => REFRESH_TICKS,
        };
        if paused || self.tick >= self.refreshed + interval {
            self.refreshed = self.tick;
            let random = self.draw();
            let target = self.table.pick(random).map_or(*self.table.own(), |node| node.id);
            self.query(true, internal::FIND_NODE, target, None);
        }
        if paused || self.tick.is_multiple_of(PING_TICKS) {
            let count = if self.requests.is_quiet() { PINGS } else { BUSY_PINGS };
            let tick = self.tick;
            for node in self.table.stalest(count).into_iter().filter(|node| node.pinged < tick) {
                self.check(node, None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
