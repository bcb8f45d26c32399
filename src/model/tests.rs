use super::*;

#[test]
fn a_set_of_topics_is_one() {
    let two: Topics = [Topic::Poll, Topic::Bitswap, Topic::Poll].into_iter().collect();
    assert_eq!(two.to_string(), "poll, bitswap");
    assert!(two.contains(Topic::Poll) && !two.contains(Topic::OneShot));
    assert!(Topics::ALL.includes(two) && !two.includes(Topics::ALL) && two.includes(Topics::default()));
    assert_eq!(two.intersection(Topics::only(Topic::Bitswap)), Topics::only(Topic::Bitswap));
    assert_eq!(two.union(Topics::ALL), Topic::ALL.into_iter().collect());
    assert!(Topics::default().is_empty() && !two.is_empty());
    assert!(Topic::ALL.iter().all(|topic| Topic::named(topic.as_str()) == Some(*topic)));
    assert_eq!(Topic::named("connection_event"), None);
}

#[test]
fn time_never_runs_backwards_in_an_age() {
    let (a, b) = (Timestamp::from_millis(1_000), Timestamp::from_millis(3_500));
    assert_eq!(b.since(a), Duration::from_millis(2_500));
    assert_eq!(a.since(b), Duration::ZERO);
}
