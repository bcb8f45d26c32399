//! Unit tests of `link_event.rs`.

use super::*;

/// Ten times the subjects that the rate limit keeps.
const FLOOD: u64 = 10_240;

fn key(n: u64) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    PublicKey::new(bytes)
}

fn unauthenticated(n: u64) -> [LinkEvent; 4] {
    let [a, b, c, d, ..] = n.to_be_bytes();
    let address = SocketAddr::from(([d, c, b, a], 1));
    let (peer, uid, purpose) = (key(n), ConnectionUid(n), ConnectionPurpose::Registration);
    let why = String::new();
    [
        LinkEvent::HandshakeRejected {
            key: Some(peer),
            address,
            why: why.clone(),
        },
        LinkEvent::RegistrationRefused {
            peer,
            alias: n.to_string(),
            address: Some(address),
            why: why.clone(),
        },
        LinkEvent::Opened {
            peer,
            uid,
            address,
            purpose,
        },
        LinkEvent::Lost { peer, uid, why, purpose },
    ]
}

#[test]
fn unauthenticated_peers_share_a_few_lines_and_suppress_none_of_other_peers() {
    let (events, now) = (LinkEvents::default(), Instant::now());
    let (mut rejected, mut refused) = (0, 0);
    for n in 0..FLOOD {
        let [handshake, registration, opened, lost] = unauthenticated(n);
        rejected += u32::from(events.admit(&handshake, now).is_some());
        refused += u32::from(events.admit(&registration, now).is_some());
        assert!(
            opened.log_subject().is_none() && lost.log_subject().is_none(),
            "logged at debug level"
        );
    }
    assert_eq!((rejected, refused), (5, 5));
    let failed = LinkEvent::ScrapeFailed {
        peer: key(FLOOD),
        scrape: ScrapeId(1),
        why: String::new(),
    };
    assert_eq!(events.admit(&failed, now), Some(0));
    let [handshake, ..] = unauthenticated(0);
    let later = now + std::time::Duration::from_secs(10);
    assert_eq!(events.admit(&handshake, later), Some(FLOOD - 5), "the next line has their number");
}

#[test]
fn a_link_that_flaps_has_a_limit_of_its_own() {
    let (events, now) = (LinkEvents::default(), Instant::now());
    let lost = |n| LinkEvent::Lost {
        peer: key(n),
        uid: ConnectionUid(n),
        why: String::new(),
        purpose: ConnectionPurpose::Link,
    };
    let logged = (0..100).filter(|_| events.admit(&lost(1), now).is_some()).count();
    assert_eq!(logged, 5);
    assert_eq!(events.admit(&lost(2), now), Some(0));
}
