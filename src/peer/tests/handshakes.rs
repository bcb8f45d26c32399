//! Handshakes of links: replayed, foreign, half and flooding ones.

use tokio::net::UdpSocket;

use super::*;

#[tokio::test]
async fn a_replayed_proof_is_worth_nothing() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let (mut listener, address) = registration_listener(&bridge).await;
    let first = linked(&mut listener, &proxy, &address).await;
    let recorded = register(&first.0, &proxy, bridge.public_key());
    assert!(judged(first, recorded.clone(), bridge.public_key()).await);
    // The same message of the same proxy on another connection.
    let second = linked(&mut listener, &proxy, &address).await;
    assert!(!judged(second, recorded, bridge.public_key()).await);
    let third = linked(&mut listener, &proxy, &address).await;
    let honest = register(&third.0, &proxy, bridge.public_key());
    assert!(judged(third, honest, bridge.public_key()).await);
}

#[tokio::test]
async fn another_protocol_is_refused_in_the_handshake() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let (mut listener, address) = registration_listener(&bridge).await;
    let refused = tokio::select! {
        refused = dial(&proxy, &address, Protocol::Scrape, 0) => refused.map(|_| ()).unwrap_err(),
        _ = listener.next() => panic!("it came through"),
    };
    assert!(refused.to_string().contains("p2p.listen, usually 6556"), "{refused}");
}

/// Returns the first packets of `count` handshakes that are never completed, each with a socket for sending it.
async fn first_packets(count: usize, to: &QuicAddress, protocol: Protocol) -> Vec<(UdpSocket, Vec<u8>)> {
    let mut halves = Vec::new();
    for _ in 0..count {
        // A sink of its own for each, because dialing sends a close when it is dropped.
        let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let place = format!("{}@{}", to.key, sink.local_addr().unwrap()).parse::<QuicAddress>().unwrap();
        let identity = Identity::ephemeral().unwrap();
        let mut packet = vec![0; 2_048];
        let length = tokio::select! {
            received = sink.recv_from(&mut packet) => received.unwrap().0,
            _ = dial(&identity, &place, protocol, 1) => panic!("no peer answers"),
        };
        packet.truncate(length);
        halves.push((UdpSocket::bind("127.0.0.1:0").await.unwrap(), packet));
    }
    halves
}

#[tokio::test(flavor = "multi_thread")]
async fn half_handshakes_keep_no_client_out() {
    // More than the limit on concurrent handshakes.
    const HALVES: usize = 600;
    let bridge = TestBridge::start().await;
    let halves = first_packets(HALVES, &bridge.address, Protocol::Register).await;
    for _ in 0..3 {
        for (socket, packet) in &halves {
            socket.send_to(packet, &*bridge.address.host_port).await.unwrap();
        }
        bridge.proxy(&Identity::ephemeral().unwrap()).await;
    }
}

/// The first bits of a QUIC packet that asks the client to show that it receives packets at its address (RFC 9000, 17.2.5).
const RETRY_PACKET: u8 = 0xf0;

#[tokio::test(flavor = "multi_thread")]
async fn an_unverified_address_gets_one_small_packet_and_blocks_no_address() {
    let bridge = TestBridge::start().await;
    for protocol in [Protocol::Register, Protocol::Scrape] {
        for (socket, packet) in first_packets(15, &bridge.address, protocol).await {
            socket.send_to(&packet, &*bridge.address.host_port).await.unwrap();
            let mut reply = vec![0; 2_048];
            let received = timeout(TEST_TIMEOUT, socket.recv_from(&mut reply)).await;
            let (length, _) = received.expect("the listener responds").unwrap();
            assert_eq!(
                reply[0] & RETRY_PACKET,
                RETRY_PACKET,
                "nothing else is sent to an unverified address"
            );
            assert!(length < packet.len() / 4, "{length} bytes for {}", packet.len());
        }
    }
    bridge.proxy(&Identity::ephemeral().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_handshakes_do_not_lock_out_others_of_the_same_address() {
    let bridge = TestBridge::start().await;
    let failing = Identity::ephemeral().unwrap();
    for _ in 0..15 {
        let outcome = dial(&failing, &bridge.address, Protocol::Scrape, 1).await;
        let why = outcome.map(|_| ()).unwrap_err().to_string();
        assert!(why.contains("not a proxy's port"), "{why}");
    }
    bridge.proxy(&Identity::ephemeral().unwrap()).await;
}
