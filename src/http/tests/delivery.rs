//! Delivery outcomes over real sockets: acked only if the client has the response.

use socket2::SockRef;
use tokio::net::UnixStream;

use super::*;
use crate::supervise::UnixAccess;

/// Closes with a reset, as a program that crashes with data unread does.
fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

#[tokio::test]
async fn the_next_request_confirms() {
    let mut served = Served::usual().await;
    let mut client = served.connect().await;
    for size in [0, 10, 100_000, 3_000_000] {
        assert_eq!(ask(&mut client, &format!("/lent?size={size}")).await.body.len() as u64, size);
        served.site.no_fate_yet();
        // The first byte is enough.
        send(&mut client, "G").await;
        assert_eq!(served.site.outcome().await, (size, DeliveryOutcome::Acked));
        send(&mut client, "ET /small HTTP/1.1\r\nhost: test\r\n\r\n").await;
        assert_eq!(answer(&mut client).await.status, 200);
    }
    reset(client);
    served.end().await;
}

#[tokio::test]
async fn so_does_the_end_of_file_once_all_is_acknowledged() {
    let mut served = Served::usual().await;
    for size in [0, 10, 3_000_000] {
        let mut client = served.connect().await;
        ask(&mut client, &format!("/lent?size={size}")).await;
        served.site.no_fate_yet();
        drop(client);
        assert_eq!(served.site.outcome().await, (size, DeliveryOutcome::Acked));
    }
    served.end().await;
}

#[tokio::test]
async fn the_500_of_a_handler_that_panics_confirms_nothing() {
    let mut served = Served::usual().await;
    let mut client = served.connect().await;
    ask(&mut client, "/lent?size=10").await;
    let failed = ask(&mut client, "/lent-panic?size=20").await;
    assert_eq!(failed.status, 500);
    assert_eq!(
        served.site.outcome().await,
        (10, DeliveryOutcome::Acked),
        "the request before was answered"
    );
    assert_eq!(
        served.site.outcome().await,
        (20, DeliveryOutcome::Unacked),
        "at once, whatever the client does next"
    );
    assert_eq!(served.site.stats.panics.load(Ordering::Relaxed), 1);
    drop(client);
    served.end().await;
}

#[tokio::test]
async fn an_answer_that_is_handed_over_confirms_nothing_after_a_panic_either() {
    let mut site = Site::new(Timers::default());
    let request = http::Request::get("/lent-panic?size=30").body(Body::empty()).unwrap();
    let (response, response_ack) = site.service.call(request, PeerAddr::Link("key".into())).await;
    assert_eq!(response.status(), 500);
    response_ack.received();
    assert_eq!(site.outcome().await, (30, DeliveryOutcome::Unacked));
}

#[tokio::test]
async fn a_reset_gives_back_at_every_size() {
    let mut served = Served::usual().await;
    for size in [1_000, 100_000, 1_000_000, 3_000_000, 30_000_000] {
        let mut client = served.connect().await;
        request(&mut client, "GET", &format!("/lent?size={size}")).await;
        client.read_exact(&mut [0; 10]).await.unwrap();
        reset(client);
        assert_eq!(served.site.outcome().await, (size, DeliveryOutcome::Unacked));
    }
    served.end().await;
}

#[tokio::test]
async fn closing_with_data_unread_gives_back() {
    let mut served = Served::usual().await;
    for size in [1_000, 30_000_000] {
        let mut client = served.connect().await;
        request(&mut client, "GET", &format!("/lent?size={size}")).await;
        client.read_exact(&mut [0; 10]).await.unwrap();
        drop(client);
        assert_eq!(served.site.outcome().await, (size, DeliveryOutcome::Unacked));
    }
    served.end().await;
}

#[tokio::test]
async fn a_reset_after_everything_was_read_still_gives_back() {
    let mut served = Served::usual().await;
    let mut client = served.connect().await;
    ask(&mut client, "/lent?size=1000").await;
    reset(client);
    assert_eq!(served.site.outcome().await, (1_000, DeliveryOutcome::Unacked));
    served.end().await;
}

#[tokio::test]
async fn pipelined_requests_confirm_nothing() {
    let mut served = Served::usual().await;
    for together in [true, false] {
        let mut client = served.connect().await;
        if together {
            send(
                &mut client,
                "GET /lent?size=1000 HTTP/1.1\r\nhost: test\r\n\r\nGET /lent?size=2000 HTTP/1.1\r\nhost: test\r\n\r\n",
            )
            .await;
        } else {
            // The second request arrives while the first response is on its way, larger than all buffers.
            request(&mut client, "GET", "/lent?size=30000000").await;
            head(&mut client).await;
            request(&mut client, "GET", "/lent?size=2000").await;
            client.read_exact(&mut vec![0; 30_000_000]).await.unwrap();
        }
        if together {
            answer(&mut client).await;
        }
        answer(&mut client).await;
        // Not even a request that came later: who has pipelined once may have sent that one early too.
        assert_eq!(ask(&mut client, "/small").await.status, 200);
        served.site.no_fate_yet();
        reset(client);
        let first = if together { 1_000 } else { 30_000_000 };
        assert_eq!(served.site.outcome().await, (first, DeliveryOutcome::Unacked));
        assert_eq!(served.site.outcome().await, (2_000, DeliveryOutcome::Unacked));
    }
    served.end().await;
}

#[tokio::test]
async fn a_request_that_waits_in_the_kernel_confirms_nothing_either() {
    let mut served = Served::usual().await;
    let mut client = served.connect().await;
    request(&mut client, "GET", "/late?size=10").await;
    while served.site.stats.requests.load(Ordering::Relaxed) < 1 {
        tokio::task::yield_now().await;
    }
    // Sent long before the answer, read long after it.
    request(&mut client, "GET", "/small").await;
    served.site.inside.gate.notify_waiters();
    assert_eq!(answer(&mut client).await.body.len(), 10);
    assert_eq!(answer(&mut client).await.text(), "small\n");
    served.site.no_fate_yet();
    reset(client);
    assert_eq!(served.site.outcome().await, (10, DeliveryOutcome::Unacked));
    served.end().await;
}

#[tokio::test]
async fn pipelined_requests_are_confirmed_by_the_end_of_file() {
    let mut served = Served::usual().await;
    let mut client = served.connect().await;
    send(
        &mut client,
        "GET /lent?size=1000 HTTP/1.1\r\nhost: test\r\n\r\nGET /lent?size=2000 HTTP/1.1\r\nhost: test\r\n\r\n",
    )
    .await;
    answer(&mut client).await;
    answer(&mut client).await;
    drop(client);
    assert_eq!(served.site.outcome().await, (1_000, DeliveryOutcome::Acked));
    assert_eq!(served.site.outcome().await, (2_000, DeliveryOutcome::Acked));
    served.end().await;
}

#[tokio::test]
async fn a_push_before_the_scrape_is_no_pipelining() {
    let mut served = Served::usual().await;
    let mut client = served.connect().await;
    send(&mut client, "PUT /body HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc").await;
    answer(&mut client).await;
    // Its body may also come later than its head.
    send(&mut client, "PUT /body HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\n").await;
    tokio::task::yield_now().await;
    send(&mut client, "abc").await;
    answer(&mut client).await;
    ask(&mut client, "/lent?size=5").await;
    ask(&mut client, "/small").await;
    assert_eq!(served.site.outcome().await, (5, DeliveryOutcome::Acked));
}

#[tokio::test]
async fn when_we_close_the_clients_end_of_file_confirms() {
    let mut served = Served::usual().await;
    for head in [
        "GET /lent?size=100000 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
        "GET /lent?size=100000 HTTP/1.0\r\n\r\n",
    ] {
        let mut client = served.connect().await;
        send(&mut client, head).await;
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert!(all.len() > 100_000);
        served.site.no_fate_yet();
        drop(client);
        assert_eq!(served.site.outcome().await, (100_000, DeliveryOutcome::Acked));
        let mut client = served.connect().await;
        send(&mut client, head).await;
        client.read_to_end(&mut all).await.unwrap();
        reset(client);
        assert_eq!(served.site.outcome().await, (100_000, DeliveryOutcome::Unacked));
    }
    served.end().await;
}

#[tokio::test]
async fn a_client_that_never_ends_has_confirmed_nothing() {
    let timers = Timers {
        lingering_close: Duration::from_millis(100),
        ..Timers::default()
    };
    let mut served = Served::start(timers, 4).await;
    let mut client = served.connect().await;
    send(&mut client, "GET /lent?size=10 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
    client.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(served.site.outcome().await, (10, DeliveryOutcome::Unacked));
    drop(client);
    served.end().await;
}

#[tokio::test]
async fn a_client_that_ends_its_side_first_is_served_and_judged() {
    let mut served = Served::usual().await;
    // As `nc -N` does: it sends all it has, shuts down, reads to the end.
    let mut client = served.connect().await;
    request(&mut client, "GET", "/lent?size=3000000").await;
    client.shutdown().await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert!(all.ends_with(&payload(3_000_000).concat()));
    assert_eq!(served.site.outcome().await, (3_000_000, DeliveryOutcome::Acked));
    // One that gives up looks the same until its kernel refuses the rest.
    let mut client = served.connect().await;
    request(&mut client, "GET", "/lent?size=3000000").await;
    client.shutdown().await.unwrap();
    client.read_exact(&mut [0; 10]).await.unwrap();
    drop(client);
    assert_eq!(served.site.outcome().await, (3_000_000, DeliveryOutcome::Unacked));
    served.end().await;
}

#[tokio::test]
async fn a_client_that_comes_back_elsewhere_settles_the_old_response() {
    let mut served = Served::usual().await;
    let mut client = served.connect().await;
    ask(&mut client, "/lent?size=50000").await;
    let delivery = served.site.delivery(0);
    assert_eq!(delivery.outcome(), None);
    assert_eq!(delivery.settle_now(), Some(DeliveryOutcome::Acked));
    // The outcome was reported before `settle_now` returned, and is not reported again.
    assert_eq!(served.site.fates.try_recv().unwrap(), (50_000, DeliveryOutcome::Acked));
    reset(client);
    assert_eq!(delivery.settle_now(), Some(DeliveryOutcome::Acked));
    served.end().await;
}

#[tokio::test]
async fn a_response_that_has_arrived_is_settled_without_another_request() {
    let mut served = Served::usual().await;
    let mut client = served.connect_narrow(4_096).await;
    request(&mut client, "GET", "/lent?size=100000").await;
    head(&mut client).await;
    while served.site.connection(0).bytes_written() < 100_000 {
        tokio::task::yield_now().await;
    }
    let delivery = served.site.delivery(0);
    delivery.settle_if_acked();
    assert_eq!(delivery.outcome(), None, "a part is in our kernel");
    client.read_exact(&mut vec![0; 100_000]).await.unwrap();
    while delivery.outcome().is_none() {
        delivery.settle_if_acked();
        tokio::task::yield_now().await;
    }
    assert_eq!(served.site.outcome().await, (100_000, DeliveryOutcome::Acked));
    reset(client);
    served.end().await;
}

#[tokio::test]
async fn a_reset_after_the_last_acknowledgement_ends_a_response_where_that_is_enough() {
    let mut served = Served::usual().await;
    for (at, outcome) in [DeliveryOutcome::Acked, DeliveryOutcome::Unacked].into_iter().enumerate() {
        let mut client = served.connect().await;
        ask(&mut client, "/lent?size=50000").await;
        if outcome == DeliveryOutcome::Acked {
            served.site.delivery(at).allow_reset();
        }
        while served.site.connection(at).shared().unacked().unwrap().unwrap() > 0 {
            tokio::task::yield_now().await;
        }
        reset(client);
        assert_eq!(served.site.outcome().await, (50_000, outcome));
    }
    served.end().await;
}

#[tokio::test]
async fn while_a_response_is_under_way_nothing_is_settled() {
    let mut served = Served::usual().await;
    let mut client = served.connect().await;
    request(&mut client, "GET", "/lent?size=30000000").await;
    head(&mut client).await;
    assert_eq!(served.site.delivery(0).settle_now(), None);
    client.read_exact(&mut vec![0; 30_000_000]).await.unwrap();
    ask(&mut client, "/small").await;
    assert_eq!(served.site.outcome().await, (30_000_000, DeliveryOutcome::Acked));
    assert_eq!(served.site.delivery(0).settle_now(), Some(DeliveryOutcome::Acked));
}

#[tokio::test]
async fn a_response_that_sits_in_our_kernel_is_given_back_when_the_client_comes_back_elsewhere() {
    let mut served = Served::usual().await;
    let mut client = served.connect_narrow(4_096).await;
    request(&mut client, "GET", "/lent?size=100000").await;
    head(&mut client).await;
    // The server's kernel takes all of it at once, the client's only its window.
    while served.site.connection(0).bytes_written() < 100_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(served.site.delivery(0).settle_now(), Some(DeliveryOutcome::Unacked));
    assert_eq!(served.site.outcome().await, (100_000, DeliveryOutcome::Unacked));
    // What was decided stays decided, although the client does get it in the end.
    client.read_exact(&mut vec![0; 100_000]).await.unwrap();
    ask(&mut client, "/small").await;
    served.site.no_fate_yet();
}

#[tokio::test]
async fn a_transport_that_cannot_tell_gives_back() {
    let mut site = Site::new(Timers::default());
    for ends_first in [false, true] {
        let (mut client, server) = tokio::io::duplex(1_000);
        let service = site.service.clone();
        let info = ConnectionInfo {
            peer: PeerAddr::Unix { uid: None },
            queue: None,
            observer: None,
            slot: None,
        };
        let running = tokio::spawn(async move { service.serve(server, info, CancellationToken::new()).await });
        ask(&mut client, "/lent?size=10").await;
        if !ends_first {
            ask(&mut client, "/small").await;
        }
        site.no_fate_yet();
        drop(client);
        running.await.unwrap();
        assert_eq!(site.outcome().await, (10, DeliveryOutcome::Unacked));
    }
}

/// A transport with acknowledgements of its own, as a stream of a peer link has.
#[derive(Default)]
struct Books(std::sync::atomic::AtomicU64);

impl SendQueue for Books {
    fn unacked(&self) -> std::io::Result<u64> {
        Ok(self.0.load(Ordering::SeqCst))
    }

    fn unread(&self) -> std::io::Result<u64> {
        Ok(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_with_books_of_its_own_is_believed() {
    let mut site = Site::new(Timers::default());
    for (acked_after, outcome) in [(3, DeliveryOutcome::Acked), (6, DeliveryOutcome::Unacked)] {
        let books = Arc::new(Books(1.into()));
        let (mut client, server) = tokio::io::duplex(1_000);
        let (service, queue) = (site.service.clone(), books.clone());
        let info = ConnectionInfo {
            peer: PeerAddr::Link("key".into()),
            queue: Some(queue),
            observer: None,
            slot: None,
        };
        let running = tokio::spawn(async move { service.serve(server, info, CancellationToken::new()).await });
        ask(&mut client, "/lent?size=10").await;
        drop(client);
        tokio::time::sleep(Duration::from_secs(acked_after)).await;
        books.0.store(0, Ordering::SeqCst);
        running.await.unwrap();
        assert_eq!(site.fates.recv().await.unwrap(), (10, outcome));
    }
}

#[tokio::test]
async fn a_connection_that_is_dropped_gives_back() {
    let mut site = Site::new(Timers::default());
    let (mut client, server) = tokio::io::duplex(100);
    let service = site.service.clone();
    let info = ConnectionInfo {
        peer: PeerAddr::Unix { uid: None },
        queue: None,
        observer: None,
        slot: None,
    };
    let running = tokio::spawn(async move { service.serve(server, info, CancellationToken::new()).await });
    request(&mut client, "GET", "/lent?size=1000").await;
    head(&mut client).await;
    let connection = site.connection(0);
    running.abort();
    assert_eq!(site.outcome().await, (1_000, DeliveryOutcome::Unacked));
    // A late handler gets its outcome immediately.
    let (sender, outcome) = std::sync::mpsc::channel();
    let late = connection.on_delivery(move |outcome| sender.send(outcome).unwrap());
    assert_eq!(
        (late.outcome(), outcome.try_recv()),
        (Some(DeliveryOutcome::Unacked), Ok(DeliveryOutcome::Unacked))
    );
}

#[tokio::test]
async fn a_handler_that_is_dropped_gives_back() {
    let served = Served::usual().await;
    let (sender, mut fates) = mpsc::unbounded_channel();
    let slow = Routes::new().route(
        "/",
        Role::Read,
        get(async move |Extension(connection): Extension<Connection>| {
            connection.on_delivery(move |outcome| sender.send(outcome).unwrap());
            std::future::pending::<()>().await;
        }),
    );
    let service = HttpService::new(slow, &[], Arc::default(), Arc::default());
    let (mut client, server) = tokio::io::duplex(100);
    let info = ConnectionInfo {
        peer: PeerAddr::Unix { uid: None },
        queue: None,
        observer: None,
        slot: None,
    };
    let running = tokio::spawn(async move { service.serve(server, info, CancellationToken::new()).await });
    request(&mut client, "GET", "/").await;
    tokio::task::yield_now().await;
    running.abort();
    assert_eq!(fates.recv().await, Some(DeliveryOutcome::Unacked));
    drop(served);
}

#[tokio::test]
async fn unix_sockets_are_judged_by_the_same_rules() {
    let mut site = Site::new(Timers::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = Listener::unix(
        &path,
        &UnixAccess {
            user: None,
            group: None,
            mode: 0o600,
        },
    )
    .await
    .unwrap();
    let stop = CancellationToken::new();
    let server = Server::new(listener, ConnectionSlots::new(8), site.service.clone());
    let running = tokio::spawn(Box::new(server).run(stop.clone()));
    let mut client = UnixStream::connect(&path).await.unwrap();
    assert!(ask(&mut client, "/who").await.text().starts_with("127.0.0.1 "));
    ask(&mut client, "/lent?size=1000").await;
    ask(&mut client, "/lent?size=100000").await;
    assert_eq!(site.outcome().await, (1_000, DeliveryOutcome::Acked));
    let uid = nix::unistd::geteuid().as_raw();
    assert_eq!(site.connection(0).peer(), &PeerAddr::Unix { uid: Some(uid) });
    drop(client);
    assert_eq!(site.outcome().await, (100_000, DeliveryOutcome::Acked));
    for size in [1_000, 3_000_000] {
        let mut client = UnixStream::connect(&path).await.unwrap();
        request(&mut client, "GET", &format!("/lent?size={size}")).await;
        client.read_exact(&mut [0; 10]).await.unwrap();
        drop(client);
        assert_eq!(site.outcome().await, (size, DeliveryOutcome::Unacked));
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_client_that_ends_and_reads_no_more_is_soon_given_up() {
    let timers = Timers {
        lingering_close: Duration::from_millis(200),
        ..Timers::default()
    };
    let mut served = Served::start(timers, 4).await;
    let mut client = served.connect().await;
    request(&mut client, "GET", "/lent?size=30000000").await;
    head(&mut client).await;
    assert_eq!(served.site.delivery(0).settle_now(), None);
    client.shutdown().await.unwrap();
    assert_eq!(served.site.outcome().await, (30_000_000, DeliveryOutcome::Unacked));
    drop(client);
    served.end().await;
}

#[tokio::test]
async fn whoever_asks_without_a_stream_says_itself_what_became_of_it() {
    let mut site = Site::new(Timers::default());
    let ask = |path: &str| http::Request::get(path).body(Body::empty()).unwrap();
    let peer = || PeerAddr::Link("a peer".into());
    let (response, response_ack) = site.service.call(ask("/lent?size=10"), peer()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(site.delivery(0).settle_now(), None, "it is on its way");
    site.no_fate_yet();
    response_ack.received();
    assert_eq!(site.outcome().await, (10, DeliveryOutcome::Acked));
    let (_, response_ack) = site.service.call(ask("/lent?size=11"), peer()).await;
    drop(response_ack);
    assert_eq!(site.outcome().await, (11, DeliveryOutcome::Unacked));
    site.no_fate_yet();
    let (response, _handover) = site.service.call(ask("/nowhere"), peer()).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}
