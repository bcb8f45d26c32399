#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::net::Ipv4Addr;

use super::*;
use crate::key::KeyPair;
use crate::messages::PeerRecord;

const OWN: NodeId = [9; 32];
const TOKEN: [u8; 32] = [8; 32];

fn peer(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

fn target(pair: &KeyPair) -> NodeId {
    hash(&[pair.public_key().as_bytes()])
}

fn request(command: u64, target: NodeId, value: Option<Vec<u8>>) -> Request {
    Request {
        tid: 1,
        to: peer(1),
        id: None,
        token: Some(TOKEN),
        internal: false,
        command,
        target: Some(target),
        value: value.map(Bytes::from),
    }
}

/// A record of the key, signed by a pair.
fn announcement(key: &KeyPair, signer: &KeyPair, purpose: Purpose) -> Vec<u8> {
    let record = PeerRecord {
        public_key: *key.public_key().as_bytes(),
        relays: Vec::new(),
    };
    let text = signed_text(purpose, &target(key), &OWN, &TOKEN, &record.encode(), None);
    let announcement = Announcement {
        peer: Some(record),
        refresh: None,
        signature: Some(signer.sign(&text)),
    };
    announcement.encode()
}

fn announce(store: &mut RecordStore, pair: &KeyPair, now: Instant) -> Response {
    let value = announcement(pair, pair, Purpose::Announce);
    store.handle(&OWN, peer(7), &request(command::ANNOUNCE, target(pair), Some(value)), now)
}

fn is_known(store: &mut RecordStore, pair: &KeyPair, now: Instant) -> bool {
    let found = store.handle(&OWN, peer(2), &request(command::FIND_PEER, target(pair), None), now);
    matches!(found, Response::Reply(Some(_)))
}

#[test]
fn only_the_owner_announces_and_removes_a_key() {
    let (mut store, now) = (RecordStore::default(), Instant::now());
    let (pair, other) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let send = |store: &mut RecordStore, command, target, value| store.handle(&OWN, peer(7), &request(command, target, Some(value)), now);
    let forged = announcement(&pair, &other, Purpose::Announce);
    assert_eq!(send(&mut store, command::ANNOUNCE, target(&pair), forged), Response::Ignored);
    let misplaced = announcement(&other, &other, Purpose::Announce);
    assert_eq!(send(&mut store, command::ANNOUNCE, target(&pair), misplaced), Response::Ignored);
    assert!(!is_known(&mut store, &pair, now));
    assert_eq!(announce(&mut store, &pair, now), Response::Done);
    assert!(is_known(&mut store, &pair, now));
    let wrong_purpose = announcement(&pair, &pair, Purpose::Announce);
    assert_eq!(
        send(&mut store, command::UNANNOUNCE, target(&pair), wrong_purpose),
        Response::Ignored
    );
    let removal = announcement(&pair, &pair, Purpose::Unannounce);
    assert_eq!(send(&mut store, command::UNANNOUNCE, target(&pair), removal), Response::Done);
    assert!(!is_known(&mut store, &pair, now));
    assert_eq!(send(&mut store, 99, target(&pair), Vec::new()), Response::Unknown);
}

#[test]
fn records_expire_unless_they_are_announced_again() {
    let (mut store, now) = (RecordStore::default(), Instant::now());
    let (pair, other) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    announce(&mut store, &pair, now);
    announce(&mut store, &other, now);
    announce(&mut store, &pair, now + TTL / 2);
    assert!(is_known(&mut store, &pair, now + TTL) && !is_known(&mut store, &other, now + TTL));
    assert!(!is_known(&mut store, &pair, now + TTL * 3 / 2));
    assert!(store.order.is_empty() && store.records.is_empty());
}

#[test]
fn the_number_of_records_is_bounded() {
    let (mut store, now) = (RecordStore::default(), Instant::now());
    for number in 0..MAX_RECORDS + 5 {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let pair = KeyPair::from_seed(&seed);
        for _ in 0..2 {
            assert_eq!(announce(&mut store, &pair, now), Response::Done);
        }
    }
    assert_eq!((store.records.len(), store.order.len()), (MAX_RECORDS, MAX_RECORDS));
    let first = KeyPair::from_seed(&[0; 32]);
    assert!(!is_known(&mut store, &first, now), "the oldest was evicted");
}

#[test]
fn a_handshake_goes_to_the_owner_and_its_reply_back() {
    let (mut store, now) = (RecordStore::default(), Instant::now());
    let pair = KeyPair::from_seed(&[1; 32]);
    let handshake = |mode, peer_address, relay_address| Handshake {
        mode,
        noise: "noise".into(),
        peer_address,
        relay_address,
    };
    let send = |store: &mut RecordStore, from, handshake: Handshake| {
        store.handle(
            &OWN,
            from,
            &request(command::PEER_HANDSHAKE, target(&pair), Some(handshake.encode())),
            now,
        )
    };
    let encoded = |handshake: Handshake| Bytes::from(handshake.encode());
    let first = handshake(HandshakeMode::FromClient, None, None);
    assert_eq!(
        send(&mut store, peer(2), first.clone()),
        Response::Reply(None),
        "the key is not known"
    );
    announce(&mut store, &pair, now);
    let relayed = handshake(HandshakeMode::FromRelay, Some(peer(2)), None);
    assert_eq!(
        send(&mut store, peer(2), first.clone()),
        Response::Relay(peer(7), encoded(relayed.clone()))
    );
    // Through another relay, which the dialing peer names.
    let named = handshake(HandshakeMode::FromClient, None, Some(peer(3)));
    assert_eq!(send(&mut store, peer(2), named), Response::Relay(peer(3), encoded(relayed.clone())));
    let second = handshake(HandshakeMode::FromSecondRelay, Some(peer(2)), Some(peer(3)));
    assert_eq!(
        send(&mut store, peer(3), relayed),
        Response::Relay(peer(7), encoded(second.clone()))
    );
    let reply = handshake(HandshakeMode::FromServer, Some(peer(2)), None);
    let to_client = handshake(HandshakeMode::Reply, Some(peer(7)), None);
    assert_eq!(
        send(&mut store, peer(7), reply),
        Response::ReplyTo(peer(2), encoded(to_client.clone()))
    );
    for useless in [second, to_client, handshake(HandshakeMode::FromServer, None, None)] {
        assert_eq!(send(&mut store, peer(7), useless), Response::Ignored);
    }
}
