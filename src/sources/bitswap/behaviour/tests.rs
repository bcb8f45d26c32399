#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::model::Timestamp;

fn behaviour(max: usize, protected: &[PeerId]) -> Bitswap {
    let observer = Observer {
        monitor: "north".into(),
        legacy_addresses: true,
        clock: || Timestamp::from_millis(0),
        bus: crate::bus::Bus::default().publisher().clone(),
    };
    Bitswap::new(Arc::new(observer), max, protected.iter().copied().collect())
}

fn add(bitswap: &mut Bitswap, number: usize, peer: PeerId, active: Instant) {
    bitswap.insert(ConnectionId::new_unchecked(number), ConnectionEntry { peer, active });
}

#[test]
fn at_the_limit_the_connection_that_is_idle_longest_makes_room() {
    let (start, own) = (Instant::now(), PeerId::random());
    let mut bitswap = behaviour(2, &[own]);
    let idle = PeerId::random();
    add(&mut bitswap, 1, own, start);
    let soon = start + Duration::from_secs(5);
    add(&mut bitswap, 2, PeerId::random(), start + Duration::from_secs(2));
    assert_eq!(bitswap.admit(idle, soon), Ok(()), "those of configured peers do not count");
    add(&mut bitswap, 3, idle, start + Duration::from_secs(1));
    assert_eq!(bitswap.admit(PeerId::random(), soon), Err(Denied::Connections(2)));
    assert_eq!(bitswap.admit(own, soon), Ok(()), "a configured peer has always room");
    assert!(bitswap.events.is_empty());
    assert_eq!(bitswap.admit(PeerId::random(), start + Duration::from_secs(11)), Ok(()));
    let closed = bitswap.events.pop_front().unwrap();
    assert!(
        matches!(closed, ToSwarm::CloseConnection { peer_id, .. } if peer_id == idle),
        "{closed:?}"
    );
    assert_eq!((bitswap.connections.len(), bitswap.unprotected), (2, 1));
    // Those that end make room, and the last one of a configured peer makes none.
    bitswap.remove(ConnectionId::new_unchecked(1));
    bitswap.remove(ConnectionId::new_unchecked(1));
    assert_eq!(bitswap.unprotected, 1);
    bitswap.remove(ConnectionId::new_unchecked(2));
    assert_eq!((bitswap.connections.len(), bitswap.unprotected), (0, 0));
}

#[test]
fn a_peer_has_few_connections() {
    let mut bitswap = behaviour(100, &[]);
    let (now, peer) = (Instant::now(), PeerId::random());
    for number in 0..MAX_PER_PEER {
        assert_eq!(bitswap.admit(peer, now), Ok(()));
        add(&mut bitswap, number, peer, now);
    }
    assert_eq!(bitswap.admit(peer, now), Err(Denied::PerPeer));
    assert_eq!(bitswap.admit(PeerId::random(), now), Ok(()));
}

#[test]
fn addresses_are_shown_without_the_peer() {
    let plain = "/ip4/127.0.0.1/tcp/4001";
    for text in [plain.to_owned(), format!("{plain}/p2p/{}", PeerId::random())] {
        assert_eq!(without_peer(&text.parse().unwrap()), plain);
    }
}
