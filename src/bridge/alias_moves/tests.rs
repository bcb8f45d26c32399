use std::net::{Ipv4Addr, SocketAddr};

use super::*;

fn key(number: u8) -> PublicKey {
    PublicKey::new([number; 32])
}

fn taken(alias: &str, from: u8, to: u8) -> LinkEvent {
    LinkEvent::Replaced {
        peer: key(from),
        alias: alias.to_owned(),
        by: key(to),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1_000)),
    }
}

#[test]
fn moves_between_the_same_keys_are_one_entry_and_the_latest_is_first() {
    let (moves, now) = (AliasMoves::default(), Instant::now());
    for _ in 0..3 {
        moves.record(&taken("a", 1, 2), now);
        moves.record(&taken("a", 2, 1), now);
    }
    let restored = LinkEvent::Restored {
        peer: key(2),
        alias: "a".to_owned(),
    };
    moves.record(&restored, now);
    moves.record(&taken("a", 1, 2), now);
    let list = moves.list();
    let shown: Vec<_> = list.iter().map(|entry| (entry.from, entry.to, entry.count)).collect();
    assert_eq!(shown, [(Some(key(1)), key(2), 4), (None, key(2), 1), (Some(key(2)), key(1), 3)]);
    assert_eq!(list[0].address, Some(Ipv4Addr::LOCALHOST.into()));
}

#[test]
fn other_events_are_no_moves_and_the_number_is_bounded() {
    let (moves, now) = (AliasMoves::default(), Instant::now());
    moves.record(
        &LinkEvent::Unreachable {
            peer: key(1),
            why: "test".into(),
        },
        now,
    );
    assert!(moves.list().is_empty());
    for number in 0..2 * MAX_MOVES {
        moves.record(&taken(&format!("alias{number}"), 1, 2), now);
    }
    let list = moves.list();
    assert_eq!(list.len(), MAX_MOVES);
    assert_eq!(list[0].alias, format!("alias{}", 2 * MAX_MOVES - 1));
}
