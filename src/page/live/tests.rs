use std::net::Ipv4Addr;

use super::*;

fn viewer(address: [u8; 4], login: Login) -> Sender {
    Sender {
        client: Client::Ip(Ipv4Addr::from(address).into()),
        uid: None,
        certificate_names: Arc::default(),
        login,
    }
}

#[test]
fn one_address_holds_a_part_of_the_streams() {
    let places = Arc::new(Places::default());
    let mut taken: Vec<_> = (0..MAX_PER_VIEWER)
        .map(|_| places.take(&viewer([10, 0, 0, 1], Login::None)))
        .collect();
    assert!(taken.iter().all(Option::is_some));
    assert!(places.take(&viewer([10, 0, 0, 1], Login::None)).is_none());
    taken.push(places.take(&viewer([10, 0, 0, 2], Login::None)));
    assert!(taken.iter().all(Option::is_some), "another address has places");
    taken.remove(0);
    assert!(places.take(&viewer([10, 0, 0, 1], Login::None)).is_some(), "a place is free again");
}

#[test]
fn a_user_holds_a_part_of_the_streams_from_all_addresses() {
    let places = Arc::new(Places::default());
    let user = |name: &str| Login::User(name.into());
    let taken: Vec<_> = (0..MAX_PER_VIEWER)
        .map(|n| places.take(&viewer([10, 0, 1, u8::try_from(n).unwrap_or(0)], user("alice"))))
        .collect();
    assert!(taken.iter().all(Option::is_some));
    assert!(places.take(&viewer([10, 0, 2, 1], user("alice"))).is_none());
    assert!(places.take(&viewer([10, 0, 1, 0], user("bob"))).is_some());
}

#[test]
fn all_together_are_bounded_and_nothing_is_left_of_those_that_ended() {
    let places = Arc::new(Places::default());
    let take = |n: usize| places.take(&viewer([10, 0, 0, u8::try_from(n).unwrap_or(0)], Login::None));
    let taken: Vec<_> = (0..MAX_STREAMS).map(take).collect();
    assert!(taken.iter().all(Option::is_some));
    assert!(take(MAX_STREAMS).is_none());
    drop(taken);
    assert!(places.table().is_empty());
}
