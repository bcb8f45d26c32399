use super::*;
use crate::peer::{ConnectionPurpose, ConnectionUid};

#[test]
fn a_bridge_at_which_the_proxy_is_not_registered_is_noted() {
    let (quic, far) = (PublicKey::new([1; 32]), PublicKey::new([2; 32]));
    let bridges = [format!("quic://{quic}@h:1"), format!("hyperdht://{far}")].map(|text| text.parse().expect("an address"));
    let notes = Notes::default();
    let lines = |event: LinkEvent| {
        note(&notes, &bridges, &event);
        let lines = notes.lines();
        lines
            .iter()
            .map(|line| line.split_once(": ").expect("a colon").1.to_owned())
            .collect::<Vec<_>>()
    };
    let why = || "w".to_owned();
    assert_eq!(lines(LinkEvent::Unreachable { peer: far, why: why() }), ["cannot connect: w"]);
    let uid = ConnectionUid(7);
    let purpose = ConnectionPurpose::Link;
    let closed = |peer, why| LinkEvent::Closed { peer, uid, why, purpose };
    let alias = || "a".to_owned();
    let registered = |peer| LinkEvent::Registered {
        peer,
        alias: alias(),
        updated: true,
    };
    assert!(lines(registered(far)).is_empty());
    assert!(
        lines(closed(far, why())).is_empty(),
        "each registration has a connection of its own"
    );
    assert_eq!(
        lines(LinkEvent::Lost {
            peer: quic,
            uid,
            purpose,
            why: why()
        }),
        ["link closed: w"]
    );
    assert_eq!(
        lines(LinkEvent::RegistrationRefused {
            peer: quic,
            alias: alias(),
            address: None,
            why: why()
        }),
        ["registration refused: w"]
    );
    assert_eq!(lines(closed(quic, "bye".into())), ["registration refused: w"]);
    assert!(lines(registered(quic)).is_empty());
    assert_eq!(
        lines(LinkEvent::Unannounced { key: far, why: why() }),
        ["this proxy is not announced: w"]
    );
    assert!(lines(LinkEvent::Announced { key: far }).is_empty());
}
