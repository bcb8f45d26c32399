//! The two ends of a link inside one test, below the level of whole programs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use super::control::{Inbox, Outbox};
use super::dial::{Dialled, dial};
use super::proof::{Claim, keying};
use super::tls::Protocol;
use super::*;
use crate::wire::{LinkMessage, Register};

const SECRET: SharedSecret = SharedSecret::new([1; 32]);

/// What a proxy would send to register on this connection.
fn register(dialled: &Dialled, proxy: &Identity, bridge: PublicKey) -> Register {
    let claim = Claim {
        alias: "a",
        service: "s",
        hostname: "h",
        proxy: proxy.public_key(),
        bridge,
    };
    Register {
        alias: "a".into(),
        service: "s".into(),
        hostname: "h".into(),
        proof: claim.prove(&SECRET, &keying(&dialled.connection).unwrap()),
    }
}

/// A connection and both of its ends; a handshake needs them at the same time.
async fn linked(gate: &mut Gate, proxy: &Identity, to: &QuicAddress) -> (Dialled, Newcomer) {
    let (dialled, newcomer) = tokio::join!(dial(proxy, to, Protocol::Register, 1), gate.next());
    (dialled.unwrap(), newcomer.unwrap())
}

/// Sends a registration and gives back what the other end makes of it.
async fn judged((dialled, newcomer): (Dialled, Newcomer), register: Register, bridge: PublicKey) -> bool {
    let (send, _recv) = dialled.connection.open_bi().await.unwrap();
    Outbox(send).send(&LinkMessage::Register(register)).await.unwrap();
    let mut guest = Guest::meet(newcomer).await.unwrap();
    let Heard::Message(LinkMessage::Register(heard)) = guest.first().await else {
        panic!("no registration came")
    };
    guest.proves(&heard, &SECRET, bridge)
}

#[tokio::test]
async fn a_replayed_proof_is_worth_nothing() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let mut gate = Gate::for_proxies(&bridge, "127.0.0.1:0", Arc::default()).await.unwrap();
    let address: QuicAddress = format!("{}@{}", bridge.public_key(), gate.local_addr().unwrap()).parse().unwrap();
    let first = linked(&mut gate, &proxy, &address).await;
    let recorded = register(&first.0, &proxy, bridge.public_key());
    assert!(judged(first, recorded.clone(), bridge.public_key()).await);
    // The very same message, by the very same proxy, on another connection.
    let second = linked(&mut gate, &proxy, &address).await;
    assert!(!judged(second, recorded, bridge.public_key()).await);
    let third = linked(&mut gate, &proxy, &address).await;
    let honest = register(&third.0, &proxy, bridge.public_key());
    assert!(judged(third, honest, bridge.public_key()).await);
}

#[tokio::test]
async fn another_protocol_is_refused_in_the_handshake() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let mut gate = Gate::for_proxies(&bridge, "127.0.0.1:0", Arc::default()).await.unwrap();
    let address: QuicAddress = format!("{}@{}", bridge.public_key(), gate.local_addr().unwrap()).parse().unwrap();
    let refused = tokio::select! {
        refused = dial(&proxy, &address, Protocol::Scrape, 0) => refused.map(|_| ()).unwrap_err(),
        _ = gate.next() => panic!("it came through"),
    };
    assert!(refused.to_string().contains("doesn't support any known protocol"), "{refused}");
}

#[tokio::test]
async fn what_is_no_control_message_ends_a_link() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let mut gate = Gate::for_proxies(&bridge, "127.0.0.1:0", Arc::default()).await.unwrap();
    let address: QuicAddress = format!("{}@{}", bridge.public_key(), gate.local_addr().unwrap()).parse().unwrap();
    let (dialled, newcomer) = linked(&mut gate, &proxy, &address).await;
    let (mut send, recv) = dialled.connection.open_bi().await.unwrap();
    send.write_all(&[0xff; 64]).await.unwrap();
    let mut guest = Guest::meet(newcomer).await.unwrap();
    assert!(matches!(guest.first().await, Heard::Gone(false, why) if why.contains("malformed")));
    guest.close("malformed");
    assert!(Inbox::new(recv).next().await.is_err());
}
