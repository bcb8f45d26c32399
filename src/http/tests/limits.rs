//! Clients that take their time. The clock is a paused one wherever no real socket is needed.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep};

use super::*;
use crate::supervise::Slot;

/// A service behind a pipe, on a clock that jumps.
struct Piped {
    site: Site,
    client: DuplexStream,
    running: JoinHandle<()>,
}

fn piped(buffer: usize) -> Piped {
    let site = Site::new(Timers::default());
    let (client, running) = pipe_into(&site.service, buffer);
    Piped { site, client, running }
}

/// One more connection through a service.
fn pipe_into(service: &HttpService, buffer: usize) -> (DuplexStream, JoinHandle<()>) {
    pipe_with(service, buffer, None)
}

fn pipe_with(service: &HttpService, buffer: usize, slot: Option<Slot>) -> (DuplexStream, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(buffer);
    let service = service.clone();
    let info = ConnectionInfo {
        peer: PeerAddr::Unix { uid: None },
        queue: None,
        observer: None,
        slot,
    };
    let running = tokio::spawn(async move { service.serve(server, info, CancellationToken::new()).await });
    (client, running)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn a_head_that_dribbles_in_is_cut_off_after_thirty_seconds() {
    let mut piped = piped(10_000);
    ask(&mut piped.client, "/small").await;
    // Idling before the first byte costs nothing of the thirty seconds.
    sleep(seconds(300)).await;
    let begun = Instant::now();
    send(&mut piped.client, "GET /small HTTP/1.1\r\nhost: test\r\n").await;
    while begun.elapsed() < seconds(29) {
        sleep(seconds(1)).await;
        send(&mut piped.client, "x: y\r\n").await;
    }
    let answered = answer(&mut piped.client).await;
    assert_eq!(
        (answered.status, answered.text()),
        (408, "timeout while reading the request head\n")
    );
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert!(is_closed(&mut piped.client).await);
    assert_eq!(piped.site.stats.slow_heads.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_left_alone_for_a_quarter_of_an_hour() {
    let mut piped = piped(10_000);
    for idle in [0, 60, 600, 899] {
        sleep(seconds(idle)).await;
        assert_eq!(ask(&mut piped.client, "/small").await.status, 200);
    }
    let begun = Instant::now();
    assert!(is_closed(&mut piped.client).await);
    assert_eq!(begun.elapsed().as_secs(), 900);
    drop(piped.client);
    piped.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_slow_but_not_stop() {
    let mut piped = piped(10_000);
    send(&mut piped.client, "PUT /body HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n").await;
    for _ in 0..5 {
        sleep(seconds(29)).await;
        send(&mut piped.client, "x").await;
    }
    assert_eq!(answer(&mut piped.client).await.text(), "5 bytes\n");
    let begun = Instant::now();
    send(&mut piped.client, "PUT /body HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n12").await;
    let answered = answer(&mut piped.client).await;
    assert_eq!(
        (answered.status, answered.text()),
        (408, "timeout while reading the request body\n")
    );
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert!(is_closed(&mut piped.client).await);
    assert_eq!(piped.site.stats.stalled_bodies.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_whole_body_has_a_limit_too() {
    let mut piped = piped(10_000);
    let begun = Instant::now();
    send(&mut piped.client, "PUT /body HTTP/1.1\r\nhost: test\r\ncontent-length: 500\r\n\r\n").await;
    let (mut read, mut write) = tokio::io::split(piped.client);
    let dribble = async {
        while begun.elapsed() < seconds(149) {
            send(&mut write, "x").await;
            sleep(seconds(10)).await;
        }
    };
    let (answered, ()) = tokio::join!(answer(&mut read), dribble);
    assert_eq!((answered.status, begun.elapsed().as_secs()), (408, 150));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_is_closed_after_a_minute() {
    let mut piped = piped(1_000);
    let begun = Instant::now();
    request(&mut piped.client, "GET", "/lent?size=100000").await;
    head(&mut piped.client).await;
    piped.running.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert_eq!(piped.site.outcome().await, (100_000, DeliveryOutcome::Unacked));
    assert_eq!(piped.site.stats.stalled_readers.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn readers_that_stop_keep_so_much_together_and_the_first_ones_go() {
    // Of a body that is made as it is sent each keeps the part in work.
    for path in ["/big?size=100000", "/parts?size=1000000"] {
        let stats = HttpStats {
            stalled_responses: Arc::new(StalledResponses::new(250_000)),
            ..HttpStats::default()
        };
        let site = Site::with(Timers::default(), stats);
        let begun = Instant::now();
        let mut readers = Vec::new();
        for _ in 0..4 {
            let (mut client, running) = pipe_into(&site.service, 1_000);
            request(&mut client, "GET", path).await;
            head(&mut client).await;
            readers.push((client, running));
            sleep(seconds(5)).await;
        }
        let ended: Vec<_> = readers.iter().map(|(_, running)| running.is_finished()).collect();
        assert_eq!(ended, [true, true, false, false], "{path}");
        assert_eq!(site.stats.stalled_closed.load(Ordering::Relaxed), 2, "{path}");
        assert_eq!(site.stats.stalled_responses.kept(), 200_000, "{path}");
        // The others are served as if nothing had been.
        for (client, _) in &mut readers[2..] {
            let mut body = vec![0; 100_000];
            client.read_exact(&mut body).await.unwrap();
        }
        assert_eq!(site.stats.stalled_responses.kept(), 0, "{path}");
        assert!(begun.elapsed() < seconds(60));
    }
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_request_is_cut_off_for_its_address_only_where_its_client_is_waited_for() {
    let address = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
    for (path, is_our_turn) in [("/held", true), ("/body", false)] {
        let (site, slots) = (Site::new(Timers::default()), ConnectionSlots::with_address_limit(4));
        let mut crowd = Vec::new();
        for _ in 0..4 {
            let slot = slots.take_for(address(1)).await;
            let (mut client, _) = pipe_with(&site.service, 1_000, Some(slot));
            // The one handler does not read the body, the other waits for it.
            let head = format!("PUT {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n1");
            send(&mut client, &head).await;
            crowd.push(client);
        }
        let mut newcomer = std::pin::pin!(slots.take_for(address(2)));
        let taken = tokio::time::timeout(seconds(10), newcomer.as_mut()).await;
        assert_eq!(taken.is_err(), is_our_turn, "{path}");
        site.inside.gate.notify_waiters();
        let expected = if is_our_turn { [200; 4] } else { [408, 408, 200, 200] };
        for (client, expected) in crowd.iter_mut().zip(expected) {
            if !is_our_turn && expected == 200 {
                send(client, "2345").await;
            }
            assert_eq!(answer(client).await.status, expected, "{path}");
        }
        if is_our_turn {
            newcomer.await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_at_its_own_pace_is_served_to_the_end() {
    let mut piped = piped(1_000);
    request(&mut piped.client, "GET", "/big?size=20000").await;
    head(&mut piped.client).await;
    for _ in 0..20 {
        sleep(seconds(55)).await;
        piped.client.read_exact(&mut [0; 1_000]).await.unwrap();
    }
    assert_eq!(ask(&mut piped.client, "/small").await.status, 200);
}

/// A body that counts the bytes which HTTP has taken from it.
struct Counting(SharedBody, Arc<AtomicU64>);

impl http_body::Body for Counting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.1.fetch_add(frame.data_ref().unwrap().len() as u64, Ordering::SeqCst);
        }
        frame
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[tokio::test]
async fn a_slow_reader_keeps_little_between_the_store_and_the_kernel() {
    const SIZE: u64 = 2_000_000;
    /// A frame, and what HTTP takes before it stops asking for more.
    const HELD: u64 = 256 * 1024 + MAX_HEAD as u64;
    let taken = Arc::new(AtomicU64::new(0));
    let (sender, mut connections) = mpsc::unbounded_channel();
    let counted = taken.clone();
    let slow = Routes::new().route(
        "/",
        Role::Read,
        get(async move |Extension(connection): Extension<Connection>| {
            sender.send(connection).unwrap();
            Body::new(Counting(SharedBody::from(payload(SIZE)), counted))
        }),
    );
    let (mut client, server) = tokio::io::duplex(4_096);
    let service = HttpService::new(slow, &[], Arc::default(), Arc::default());
    let info = ConnectionInfo {
        peer: PeerAddr::Unix { uid: None },
        queue: None,
        observer: None,
        slot: None,
    };
    let running = tokio::spawn(async move { service.serve(server, info, CancellationToken::new()).await });
    request(&mut client, "GET", "/").await;
    head(&mut client).await;
    let connection = connections.recv().await.unwrap();
    let mut most = 0;
    let mut left = SIZE;
    while left > 0 {
        let read = client.read(&mut [0; 10_000]).await.unwrap();
        left -= read as u64;
        tokio::task::yield_now().await;
        most = most.max(taken.load(Ordering::SeqCst).saturating_sub(connection.bytes_written()));
    }
    assert!(most > 0 && most <= HELD, "{most}");
    drop(client);
    running.await.unwrap();
}

#[tokio::test]
async fn large_responses_take_turns() {
    // One thread, and streams that accept a whole response at once: without yielding the first response would be written to its end before
    // the second begins. Sockets would not do: their buffers grow differently.
    const SIZE: u64 = 20_000_000;
    const CLIENTS: usize = 4;
    let site = Site::new(Timers::default());
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (mut client, server) = tokio::io::duplex(30_000_000);
        let info = ConnectionInfo {
            peer: PeerAddr::Unix { uid: None },
            queue: None,
            observer: None,
            slot: None,
        };
        let service = site.service.clone();
        tokio::spawn(async move { service.serve(server, info, CancellationToken::new()).await });
        request(&mut client, "GET", &format!("/lent?size={SIZE}")).await;
        clients.push(client);
    }
    let written = || -> Vec<u64> {
        let connections = site.inside.connections.lock().unwrap();
        connections.iter().map(Connection::bytes_written).collect()
    };
    while !written().iter().any(|written| *written >= SIZE) {
        tokio::task::yield_now().await;
    }
    let written = written();
    assert_eq!(written.len(), CLIENTS);
    assert!(written.iter().all(|written| *written > SIZE / 3), "{written:?}");
}
