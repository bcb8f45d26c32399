use std::net::Ipv4Addr;

use super::*;

fn node(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

fn add(table: &mut RequestTable<u16>, tid: u16, retries: u32) {
    assert!(table.has_room_for(tid));
    let attempts = Attempts {
        retries,
        ..Attempts::default()
    };
    table.add(tid, node(tid), vec![1], attempts, tid);
}

fn sent(table: &mut RequestTable<u16>, now: Instant) -> usize {
    std::iter::from_fn(|| table.transmit(now)).count()
}

#[test]
fn a_reply_ends_a_request_if_it_comes_from_its_node() {
    let (mut table, now) = (RequestTable::default(), Instant::now());
    add(&mut table, 7, 3);
    assert!(table.on_reply(7, node(7)).is_none(), "it was not sent yet");
    assert_eq!(sent(&mut table, now), 1);
    assert!(!table.has_room_for(7));
    assert!(table.on_reply(7, node(8)).is_none() && table.on_reply(8, node(7)).is_none());
    let ended = table.on_reply(7, node(7)).expect("the reply");
    assert_eq!((ended.purpose, ended.late), (7, false));
    assert!(table.on_reply(7, node(7)).is_none() && table.due().is_none());
}

#[test]
fn a_request_is_sent_again_until_its_last_timeout() {
    let (mut table, mut now) = (RequestTable::default(), Instant::now());
    add(&mut table, 7, 2);
    let mut late = 0;
    for _ in 0..2 {
        assert_eq!(sent(&mut table, now), 1);
        assert_eq!(table.due(), Some(now + Duration::from_secs(1)));
        assert!(table.advance(now, |_| true, |_| late += 1).is_empty());
        now += Duration::from_secs(1);
        assert!(table.advance(now, |_| true, |_| late += 1).is_empty());
    }
    assert_eq!((late, sent(&mut table, now)), (1, 1));
    now += Duration::from_secs(1);
    let ended = table.advance(now, |_| true, |_| late += 1);
    assert_eq!((late, ended.len(), ended[0].purpose, ended[0].late), (1, 1, 7, true));
    assert!(table.due().is_none() && sent(&mut table, now) == 0);
}

#[test]
fn a_request_without_a_use_is_not_sent_again() {
    let (mut table, now) = (RequestTable::default(), Instant::now());
    add(&mut table, 7, 2);
    sent(&mut table, now);
    let ended = table.advance(now + Duration::from_secs(1), |_| false, |_| panic!("it is over"));
    assert_eq!(ended.len(), 1);
}

#[test]
fn no_more_than_the_limit_are_sent_or_kept() {
    let (mut table, now) = (RequestTable::default(), Instant::now());
    let limit = u16::try_from(MAX_REQUESTS).expect("a small limit");
    (0..limit).for_each(|tid| add(&mut table, tid, 0));
    assert!(!table.has_room_for(limit));
    assert_eq!(sent(&mut table, now), MAX_UNANSWERED);
    // Each reply makes room for one more, in order.
    assert!(table.on_reply(3, node(3)).is_some());
    let next = node(u16::try_from(MAX_UNANSWERED).expect("a small limit"));
    assert_eq!(table.transmit(now).map(|(to, _)| to), Some(next));
    assert_eq!(sent(&mut table, now), 0);
    // So do timeouts.
    assert_eq!(table.advance(now + Duration::from_secs(1), |_| true, |_| ()).len(), MAX_UNANSWERED);
    assert_eq!(sent(&mut table, now), MAX_UNANSWERED);
}
