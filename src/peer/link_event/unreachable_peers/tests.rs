//! Unit tests of `unreachable_peers.rs`.

use super::*;

#[test]
fn a_failure_is_logged_once_until_something_changes() {
    let (mut peers, start) = (UnreachablePeers::default(), Instant::now());
    let [one, other] = [1, 2].map(|byte| PublicKey::new([byte; 32]));
    assert!(peers.should_log(&one, "timed out", start));
    assert!(!peers.should_log(&one, "timed out", start + REPEAT_INTERVAL / 2));
    assert!(peers.should_log(&other, "timed out", start), "another end");
    assert!(peers.should_log(&one, "refused", start + REPEAT_INTERVAL / 2), "another reason");
    assert!(
        peers.should_log(&one, "refused", start + REPEAT_INTERVAL * 2),
        "after a long silence"
    );
    peers.reached(&one);
    assert!(
        peers.should_log(&one, "refused", start + REPEAT_INTERVAL * 2),
        "it was there in between"
    );
}
