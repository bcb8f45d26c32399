//! A bridge with proxies that misbehave.

use super::*;

#[tokio::test]
async fn what_is_no_control_message_ends_a_link() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let (mut listener, address) = registration_listener(&bridge).await;
    let (dialed, accepted) = linked(&mut listener, &proxy, &address).await;
    let (mut send, recv) = dialed.connection.open_bi().await.unwrap();
    send.write_all(&[0xff; 64]).await.unwrap();
    let (proxy, first) = ProxyLink::accept(accepted).await.unwrap();
    assert!(matches!(first, ControlEvent::Ended(end) if !end.is_graceful && end.why.contains("malformed")));
    proxy.close("malformed");
    assert!(ControlReceiver::new(recv).next().await.is_err());
}

/// Responds to the next scrape with these bytes, and ends the stream or leaves it open.
async fn answer(dialed: &DialedConnection, bytes: Vec<u8>, ends: bool) {
    let (mut send, mut recv) = dialed.connection.accept_bi().await.unwrap();
    let mut request = [0; 4];
    recv.read_exact(&mut request).await.unwrap();
    assert_eq!(&request, b"GET ");
    // The bridge may reset the stream before all bytes are written.
    let _ = send.write_all(&bytes).await;
    if ends {
        let _ = send.finish();
    }
    // Waits until the bridge has read or reset the stream.
    let _ = timeout(TEST_TIMEOUT, send.stopped()).await.expect("the bridge is done with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_registered_proxy_answers_the_bridge_says_502_and_goes_on() {
    let bridge = TestBridge::start().await;
    let (dialed, _outbox, _inbox) = bridge.proxy(&Identity::ephemeral().unwrap()).await;
    let header = |bytes: usize| [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'x'; bytes]].concat();
    for (what, bytes, ends) in [
        ("garbage", vec![0xff; 100_000], true),
        ("nothing at all", Vec::new(), true),
        ("silence", Vec::new(), false),
        ("half a head", header(10), true),
        ("half a head and silence", header(10), false),
        ("a head without end", header(10 << 20), false),
        ("another protocol", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), true),
        (
            "an impossible length",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_vec(),
            true,
        ),
        (
            "two lengths",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx".to_vec(),
            true,
        ),
    ] {
        let (outcome, ()) = tokio::join!(bridge.scrape(), answer(&dialed, bytes, ends));
        assert_eq!(outcome, (502, b"Upstream unavailable".to_vec()), "{what}");
    }
    for (what, bytes) in [
        (
            "too short a body",
            &b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\nsome 1\n"[..],
        ),
        (
            "a body that is no chunks",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\nsome 1\n\r\nxyz\r\n",
        ),
    ] {
        let (outcome, ()) = tokio::join!(bridge.scrape(), answer(&dialed, bytes.to_vec(), true));
        // The received part may be forwarded, but must not look complete.
        assert!(outcome.0 != 200 || !outcome.1.ends_with(b"\r\n0\r\n\r\n"), "{what}: {outcome:?}");
        assert!(outcome.1.len() < 100, "{what}: {outcome:?}");
    }
    // The link still serves valid responses.
    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsome 1\n".to_vec();
    let (outcome, ()) = tokio::join!(bridge.scrape(), answer(&dialed, whole, true));
    assert_eq!(outcome, (200, b"some 1\n".to_vec()));
    assert_eq!(dialed.connection.close_reason(), None);
}

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsome 1\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_registers_another_alias_leaves_its_earlier_one() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let (dialed, mut outbox, mut inbox) = bridge.proxy(&identity).await;
    let (outcome, ()) = tokio::join!(bridge.scrape(), answer(&dialed, WHOLE.to_vec(), true));
    assert_eq!(outcome.0, 200);
    // Two registrations within half a second end the link.
    tokio::time::sleep(Duration::from_millis(550)).await;
    let renamed = register_as("b", &dialed, &identity, bridge.address.key);
    outbox.send(&LinkMessage::Register(renamed)).await.unwrap();
    let answered = timeout(TEST_TIMEOUT, inbox.next()).await.unwrap().unwrap();
    assert_eq!(answered, LinkMessage::Registered { updated: true });
    assert_eq!(bridge.scrape().await, (404, b"Unknown alias".to_vec()));
    let (outcome, ()) = tokio::join!(bridge.get("/scrape/b/metrics"), answer(&dialed, WHOLE.to_vec(), true));
    assert_eq!(outcome.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_wall_clock_expires_no_alias() {
    static NOW: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let clock = || crate::model::Timestamp::from_millis(NOW.load(std::sync::atomic::Ordering::SeqCst));
    let bridge = TestBridge::with_clock(clock).await;
    let (dialed, _outbox, _inbox) = bridge.proxy(&Identity::ephemeral().unwrap()).await;
    for hours in [4, -4] {
        NOW.store(hours * 3_600_000, std::sync::atomic::Ordering::SeqCst);
        let (outcome, ()) = tokio::join!(bridge.scrape(), answer(&dialed, WHOLE.to_vec(), true));
        assert_eq!(outcome.0, 200, "{hours}");
        let listed = bridge.get("/sd?apps=false").await.1;
        assert!(String::from_utf8_lossy(&listed).contains("/scrape/a/metrics"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_registers_all_the_time_is_sent_away() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let (dialed, mut outbox, _inbox) = bridge.proxy(&identity).await;
    let message = LinkMessage::Register(register(&dialed, &identity, bridge.address.key));
    while outbox.send(&message).await.is_ok() {}
    let why = timeout(TEST_TIMEOUT, dialed.connection.closed()).await.unwrap();
    assert!(quic::transport::link_end(&why).why.contains("within half a second"), "{why}");
    // The proxy may reconnect.
    bridge.proxy(&identity).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_after_the_announced_end_of_a_link_ends_it() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let (dialed, mut outbox, _inbox) = bridge.proxy(&identity).await;
    outbox.send(&LinkMessage::Goodbye("stopping".to_owned())).await.unwrap();
    // Two registrations within half a second end the link anyway.
    tokio::time::sleep(Duration::from_millis(550)).await;
    let other = register_as("b", &dialed, &identity, bridge.address.key);
    outbox.send(&LinkMessage::Register(other)).await.unwrap();
    let why = timeout(TEST_TIMEOUT, dialed.connection.closed()).await.unwrap();
    let why = quic::transport::link_end(&why).why;
    assert!(why.contains("whose end was announced"), "{why}");
    assert_eq!(bridge.scrape().await.0, 502, "its alias stays, without a link");
    assert_eq!(bridge.get("/scrape/b/metrics").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_links_keep_no_proxy_out() {
    const MAX_UNREGISTERED: usize = 1_024;
    let bridge = TestBridge::start().await;
    let (identity, to) = (Identity::ephemeral().unwrap(), &bridge.address);
    let address = to.host_port.parse().unwrap();
    let endpoint = quic::transport::dialing_endpoint(&identity, address).unwrap();
    let mut silent = Vec::new();
    for _ in 0..MAX_UNREGISTERED + 50 {
        let (crypto, _) = quic::tls::client_config(&identity, to.key, Protocol::Register).unwrap();
        let config = quic::transport::client_config(crypto, 1, Protocol::Register);
        let connecting = endpoint.connect_with(config, address, quic::transport::SERVER_NAME).unwrap();
        silent.push(timeout(TEST_TIMEOUT, connecting).await.unwrap().unwrap());
    }
    let open = || silent.iter().filter(|link| link.close_reason().is_none()).count();
    let bounded = async {
        while open() > MAX_UNREGISTERED {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Less than the time that a link may be silent.
    timeout(Duration::from_secs(8), bounded).await.expect("the oldest are closed");
    bridge.proxy(&Identity::ephemeral().unwrap()).await;
}

#[tokio::test]
async fn a_link_has_a_small_window_until_its_proxy_has_registered() {
    let (bridge, proxy) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let (mut listener, address) = registration_listener(&bridge).await;
    let (dialed, accepted) = linked(&mut listener, &proxy, &address).await;
    let (mut send, _recv) = dialed.connection.open_bi().await.unwrap();
    let flood = vec![0; 1 << 20];
    let written = send.write(&flood).await.unwrap();
    assert!(written <= 64 << 10, "{written}");
    quic::transport::widen_window(&accepted.connection);
    let more = timeout(TEST_TIMEOUT, send.write_all(&flood[..flood.len() - written])).await;
    more.expect("the window is wider now").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_silent_peer_nor_a_vanished_proxy_delays_a_stop() {
    let bridge = TestBridge::start().await;
    let identity = Identity::ephemeral().unwrap();
    let _silent = dial(&identity, &bridge.address, Protocol::Register, 1).await.unwrap();
    let half = dial(&identity, &bridge.address, Protocol::Register, 1).await.unwrap();
    let (mut send, _recv) = half.connection.open_bi().await.unwrap();
    send.write_all(&[0]).await.unwrap();
    let (present, _outbox, mut inbox) = bridge.proxy(&Identity::ephemeral().unwrap()).await;
    // The tasks of this one end without a packet, as those of a machine that loses its power.
    let elsewhere = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (identity, address) = (Identity::ephemeral().unwrap(), bridge.address.clone());
    let vanished = elsewhere.spawn(async move { registered_proxy(&identity, &address).await });
    let _vanished = timeout(TEST_TIMEOUT, vanished).await.unwrap().unwrap();
    elsewhere.shutdown_background();
    // The other one has taken its alias.
    let lost = timeout(TEST_TIMEOUT, inbox.next()).await.unwrap().unwrap();
    assert!(matches!(lost, LinkMessage::AliasLost(_)), "{lost:?}");
    let (report, message) = tokio::join!(bridge.finish(), timeout(TEST_TIMEOUT, inbox.next()));
    assert!(report.is_clean(), "{report}");
    assert_eq!(message.unwrap().unwrap(), LinkMessage::Goodbye("the bridge is stopping".to_owned()));
    drop(present);
}
