use super::*;

#[test]
fn a_cold_replica_is_ready_once_it_is_whole() {
    let now = Instant::now();
    let mut connectivity = Connectivity::new(now);
    assert_eq!(connectivity.ready(), Ready::Loading);
    assert!(!connectivity.asks(now + 2 * GRACE), "it has nothing to compare with the others");
    connectivity.synchronized();
    assert_eq!(connectivity.ready(), Ready::Yes);
}

#[test]
fn a_replica_without_the_engine_is_not_ready_only_while_others_hold_it() {
    let now = Instant::now();
    let mut connectivity = Connectivity::new(now);
    connectivity.synchronized();
    connectivity.lost(now);
    assert!(!connectivity.asks(now + GRACE / 2), "a restart of the engine is no reason yet");
    // A second failure is the same outage.
    connectivity.lost(now + GRACE / 2);
    assert!(connectivity.asks(now + GRACE));
    connectivity.answered(false);
    assert_eq!(connectivity.ready(), Ready::Yes, "the engine is away for all: scrapes go on");
    connectivity.answered(true);
    assert_eq!(connectivity.ready(), Ready::Alone);
    connectivity.synchronized();
    assert_eq!(connectivity.ready(), Ready::Yes);
    connectivity.answered(true);
    assert_eq!(
        connectivity.ready(),
        Ready::Yes,
        "an answer that comes after the reconnection is out of date"
    );
}
