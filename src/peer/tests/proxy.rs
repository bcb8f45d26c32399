//! A proxy with bridges that misbehave.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tokio::time::Instant;

use super::super::quic::transport::CLOSED;
use super::*;
use crate::http::{Connection, DeliveryOutcome, HttpService, Role, Routes};

/// Returns a service with constant metrics.
fn some_metrics() -> HttpService {
    metrics_service(|| async { Ok::<_, String>("some 1\n".to_owned()) })
}

/// Starts a client of a fake bridge and subscribes to its events.
async fn lured(to: &QuicAddress, service: HttpService) -> (RunningClient, tokio::sync::broadcast::Receiver<LinkEvent>) {
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: vec![LinkAddress::Quic(to.clone())],
        registration: Registration {
            alias: Alias::new("a").unwrap(),
            service: "s".into(),
            hostname: "h".into(),
            secret: SECRET,
            interval: REGISTER_INTERVAL,
        },
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let client = Client::bind(settings, service, LinkEvents::default()).await.unwrap();
    let events = client.events();
    (client.start(), events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_a_scraper_goes_on_without_its_control_stream_until_the_stop() {
    let scraper = Identity::ephemeral().unwrap();
    let settings = ClientSettings {
        identity: Identity::ephemeral().unwrap(),
        bridges: Vec::new(),
        registration: Registration {
            alias: Alias::new("a").unwrap(),
            service: "s".into(),
            hostname: "h".into(),
            secret: SECRET,
            interval: REGISTER_INTERVAL,
        },
        listen: Some("127.0.0.1:0".to_owned()),
        allow: vec![scraper.public_key()],
        bootstrap: Vec::new(),
    };
    let client = Client::bind(settings, some_metrics(), LinkEvents::default()).await.unwrap();
    let target: QuicAddress = format!("{}@{}", client.public_key(), client.listen_addr().unwrap())
        .parse()
        .unwrap();
    let (mut events, stop) = (client.events(), tokio_util::sync::CancellationToken::new());
    let running = tokio::spawn(client.run(stop.clone()));
    for malformed in [false, true] {
        let dialed = dial(&scraper, &target, Protocol::Scrape, 0).await.unwrap();
        let (mut send, _recv) = dialed.connection.open_bi().await.unwrap();
        if malformed {
            send.write_all(&[0xff; 64]).await.unwrap();
        } else {
            send.finish().unwrap();
        }
        // The stream is known to the other end, and read, once its end or its refusal was acknowledged.
        let _ = timeout(TEST_TIMEOUT, send.stopped()).await.unwrap();
        let (link, _messages) = Link::new(dialed.connection.clone(), target.key, PeerState::default(), Arc::default());
        for _ in 0..2 {
            let request = Request::get("/metrics").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
            let answer = link.scrape(request, TEST_TIMEOUT).await.unwrap();
            assert_eq!(answer.response.status(), 200);
        }
        if malformed {
            stop.cancel();
            let why = timeout(TEST_TIMEOUT, dialed.connection.closed()).await.unwrap();
            assert_eq!(quic::transport::link_end(&why).why, "closed by the peer: stopping");
        }
    }
    timeout(TEST_TIMEOUT, running).await.unwrap().unwrap();
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, LinkEvent::Lost { .. }), "{event:?}");
    }
}

/// A fake bridge that consists of a connection and a control stream only.
struct RawBridge {
    accepted: AcceptedLink,
    outbox: ControlSender,
    _inbox: ControlReceiver,
}

impl RawBridge {
    /// Accepts the connection and the registration of a client.
    async fn accept(listener: &mut QuicListener) -> Self {
        let accepted = timeout(TEST_TIMEOUT, listener.next()).await.unwrap().unwrap();
        let (send, recv) = timeout(TEST_TIMEOUT, accepted.connection.accept_bi()).await.unwrap().unwrap();
        let (mut outbox, mut inbox) = (ControlSender(send), ControlReceiver::new(recv));
        let register = timeout(TEST_TIMEOUT, inbox.next()).await.unwrap().unwrap();
        assert!(matches!(register, LinkMessage::Register(_)), "{register:?}");
        outbox.send(&LinkMessage::Registered { updated: true }).await.unwrap();
        Self {
            accepted,
            outbox,
            _inbox: inbox,
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.outbox.0.write_all(bytes).await.unwrap();
    }
}

async fn lost(events: &mut tokio::sync::broadcast::Receiver<LinkEvent>) -> String {
    loop {
        match timeout(TEST_TIMEOUT, events.recv()).await.unwrap().unwrap() {
            LinkEvent::Lost { why, .. } => return why,
            LinkEvent::RegistrationRefused { .. } => panic!("it was not refused"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_floods_its_proxy_with_control_messages_gets_nowhere() {
    let bridge = Identity::ephemeral().unwrap();
    let (mut listener, address) = registration_listener(&bridge).await;
    let (_client, mut events) = lured(&address, some_metrics()).await;

    // Reports of deliveries that do not exist are ignored, and scrapes go on.
    let mut raw = RawBridge::accept(&mut listener).await;
    let (connection, key) = (raw.accepted.connection.clone(), raw.accepted.key);
    let (link, _messages) = Link::new(connection, key, PeerState::default(), Arc::default());
    let flood = (0..20_000).flat_map(|n| LinkMessage::Delivered(n).encode()).collect::<Vec<u8>>();
    let scrapes = async {
        for _ in 0..5 {
            let request = Request::get("/metrics").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
            let answer = link.scrape(request, TEST_TIMEOUT).await.unwrap();
            assert_eq!(answer.response.status(), 200);
        }
    };
    tokio::join!(raw.send(&flood), scrapes);

    // An unexpected acceptance, a message of the wrong direction, and malformed bytes: each ends the link.
    for (message, outcome) in [
        (
            LinkMessage::Registered { updated: true }.encode(),
            "a response without a registration",
        ),
        (
            LinkMessage::Register(Register {
                alias: "a".into(),
                service: "s".into(),
                hostname: "h".into(),
                proof: vec![1],
            })
            .encode(),
            "a registration from a bridge",
        ),
        (vec![0xff; 64], "malformed"),
        (vec![0, 0, 0, 0, 0xff, 0xff, 0xff, 0], "more than"),
    ] {
        raw.send(&message).await;
        let why = lost(&mut events).await;
        assert!(why.contains(outcome), "{outcome}: {why}");
        raw = RawBridge::accept(&mut listener).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_closes_every_link_is_dialled_ever_more_rarely() {
    let bridge = Identity::ephemeral().unwrap();
    let (mut listener, address) = registration_listener(&bridge).await;
    let (_client, _events) = lured(&address, some_metrics()).await;
    let mut closed = Vec::new();
    for _ in 0..4 {
        let raw = RawBridge::accept(&mut listener).await;
        raw.accepted.connection.close(CLOSED, b"go away");
        closed.push(Instant::now());
    }
    let last = closed[3] - closed[2];
    // The third delay is at least 1 s with any jitter. If each link counted as a success, it would be at most half a second.
    assert!(last >= Duration::from_millis(900), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_asks_and_vanishes_again_and_again_gets_its_answers_given_back() {
    let bridge = Identity::ephemeral().unwrap();
    let (mut listener, address) = registration_listener(&bridge).await;
    let (sender, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
    let metrics = move |axum::Extension(connection): axum::Extension<Connection>| {
        let sender = sender.clone();
        connection.on_delivery(move |outcome| {
            // The test may be over.
            let _ = sender.send(outcome);
        });
        async { "some 1\n" }
    };
    let routes = Routes::new().route("/metrics", Role::Scrape, axum::routing::get(metrics));
    let (_client, _events) = lured(&address, HttpService::new(routes, &[], Arc::default(), Arc::default())).await;
    let mut asked = 0;
    // Opens links full of unacknowledged responses until there are more than the proxy keeps.
    while asked <= quic::bridge_session::MAX_ORPHANS {
        let raw = RawBridge::accept(&mut listener).await;
        let mut open = Vec::new();
        for _ in 0..quic::transport::MAX_STREAMS {
            asked += 1;
            let (mut send, mut recv) = raw.accepted.connection.open_bi().await.unwrap();
            let request = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nexporter-proxy-scrape: {asked:x}\r\n\r\n");
            send.write_all(request.as_bytes()).await.unwrap();
            // Reads the whole response: one that was not completely written would count as unacked immediately.
            let mut answer = Vec::new();
            while !answer.ends_with(b"some 1\n") {
                let chunk = timeout(TEST_TIMEOUT, recv.read_chunk(1024, true)).await.unwrap().unwrap();
                answer.extend_from_slice(&chunk.expect("the answer goes on").bytes);
            }
            assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
            open.push((send, recv));
        }
        assert!(outcomes.try_recv().is_err(), "a lost link alone decides nothing");
        raw.accepted.connection.close(CLOSED, b"gone");
    }
    for _ in 0..asked {
        assert!(matches!(
            timeout(TEST_TIMEOUT, outcomes.recv()).await.unwrap(),
            Some(DeliveryOutcome::Unacked)
        ));
    }
}
