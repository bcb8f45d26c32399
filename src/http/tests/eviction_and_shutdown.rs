//! ConnectionSlots and stops: who is closed when, and what is finished before.

use super::*;
use crate::supervise::limits::raise_open_files;

#[tokio::test]
async fn idle_connections_stop_nobody() {
    const SLOTS: u64 = 2_048;
    // Both ends of each connection are in this process.
    let slots = usize::try_from(SLOTS.min(raise_open_files().unwrap() / 4)).unwrap();
    let served = Served::start(Timers::default(), slots).await;
    let mut idle = Vec::new();
    for number in 0..slots {
        let mut client = served.connect().await;
        // Half of them have asked something, half never say a word.
        if number % 2 == 0 {
            assert_eq!(ask(&mut client, "/small").await.status, 200);
        }
        idle.push(client);
    }
    while served.slots.idle() < slots {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        let mut newcomer = served.connect().await;
        assert_eq!(ask(&mut newcomer, "/small").await.status, 200);
        idle.push(newcomer);
    }
    // An address with too many connections without a request loses those first, the oldest before the others, and several at once.
    for (number, client) in idle.iter_mut().enumerate() {
        if number % 2 == 0 || number >= 400 {
            assert_eq!(ask(client, "/small").await.status, 200, "{number}");
        } else if number < 200 {
            assert!(is_closed(client).await, "{number}");
        }
    }
    let evicted = served.site.stats.evicted.load(Ordering::Relaxed);
    assert!((100..200).contains(&evicted), "{evicted}");
    served.end().await;
}

/// Two hundred connections of one address with the beginning of a request, more than there is room for, and then clients of other addresses.
/// `asks_first` if each had a complete request before.
async fn crowd_keeps_no_other_out(asks_first: bool, beginning: &str, rest: &str, expected: &str) {
    let served = Served::start(Timers::default(), 64).await;
    let other = async |host: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{host}:0").parse().unwrap()).unwrap();
        socket.connect(served.address).await.unwrap()
    };
    // A scraper that reuses its connection, and a client that waits for its response.
    let (mut scraper, mut waiting) = (other("127.0.0.2").await, served.connect().await);
    assert_eq!(ask(&mut scraper, "/small").await.status, 200);
    request(&mut waiting, "GET", "/wait").await;
    // The oldest go: of one address half of the 64 may stay.
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let mut client = served.connect().await;
        if asks_first {
            assert_eq!(ask(&mut client, "/small").await.status, 200);
        }
        send(&mut client, beginning).await;
        crowd.push(client);
    }
    for number in 0..40 {
        let mut newcomer = other(&format!("127.0.1.{number}")).await;
        assert_eq!(ask(&mut newcomer, "/small").await.status, 200);
        assert_eq!(ask(&mut scraper, "/small").await.status, 200, "it was not the one to go");
    }
    let answered = answer(&mut crowd[0]).await;
    assert_eq!(answered.status, 408);
    assert!(answered.text().contains("this address has too many"), "{}", answered.text());
    assert!(is_closed(&mut crowd[0]).await);
    served.site.inside.gate.notify_waiters();
    assert_eq!(answer(&mut waiting).await.text(), "waited\n");
    // One that stayed can still complete its request.
    let last = crowd.last_mut().unwrap();
    send(last, rest).await;
    assert_eq!(answer(last).await.text(), expected);
    drop(crowd);
    served.end().await;
}

const HALF_HEAD: &str = "GET /small HTTP/1.1\r\nhost: test\r\nx: ";
const HALF_BODY: &str = "PUT /body HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n1";

#[tokio::test]
async fn half_requests_of_one_address_keep_no_other_out() {
    crowd_keeps_no_other_out(false, HALF_HEAD, "y\r\n\r\n", "small\n").await;
}

#[tokio::test]
async fn half_requests_after_complete_ones_keep_no_other_out() {
    crowd_keeps_no_other_out(true, HALF_HEAD, "y\r\n\r\n", "small\n").await;
}

#[tokio::test]
async fn stalled_bodies_of_one_address_keep_no_other_out() {
    crowd_keeps_no_other_out(false, HALF_BODY, "2345", "5 bytes\n").await;
    crowd_keeps_no_other_out(true, HALF_BODY, "2345", "5 bytes\n").await;
}

#[tokio::test]
async fn newcomers_wait_while_all_are_busy() {
    let served = Served::start(Timers::default(), 2).await;
    let (mut a, mut b) = (served.connect().await, served.connect().await);
    request(&mut a, "GET", "/wait").await;
    request(&mut b, "GET", "/wait").await;
    while served.site.stats.requests.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut newcomer = served.connect().await;
        request(&mut newcomer, "GET", "/small").await;
        waiting.push(newcomer);
    }
    served.site.inside.gate.notify_waiters();
    assert_eq!(answer(&mut a).await.text(), "waited\n");
    for newcomer in &mut waiting {
        assert_eq!(answer(newcomer).await.text(), "small\n");
    }
}

#[tokio::test]
async fn an_eviction_settles_what_was_lent() {
    let mut served = Served::start(Timers::default(), 1).await;
    let mut first = served.connect().await;
    ask(&mut first, "/lent?size=10").await;
    let mut second = served.connect().await;
    request(&mut second, "GET", "/small").await;
    // The client sees that we close and closes, as HTTP clients do.
    assert!(is_closed(&mut first).await);
    drop(first);
    assert_eq!(served.site.outcome().await, (10, DeliveryOutcome::Acked));
    assert_eq!(answer(&mut second).await.status, 200);
}

/// A client that has read the last response of its connection and does not close.
async fn leaves_open(served: &Served, path: &str) -> TcpStream {
    let mut client = served.connect().await;
    send(&mut client, &format!("GET {path} HTTP/1.0\r\n\r\n")).await;
    assert_eq!(answer(&mut client).await.status, 200);
    client
}

/// With a lingering close that no test waits for.
fn lingering() -> Timers {
    Timers {
        lingering_close: Duration::from_secs(3_600),
        ..Timers::default()
    }
}

/// A request on a new connection, which is answered because another one gives way.
async fn newcomer_is_served(served: &Served) {
    let mut newcomer = served.connect().await;
    let answered = tokio::time::timeout(Duration::from_secs(20), ask(&mut newcomer, "/small")).await;
    assert_eq!(answered.expect("a connection ends for it").status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_close_after_its_last_response_gives_way() {
    let served = Served::start(lingering(), 2).await;
    let lingering = leaves_open(&served, "/small").await;
    let mut idle = served.connect().await;
    assert_eq!(ask(&mut idle, "/small").await.status, 200);
    newcomer_is_served(&served).await;
    drop(lingering);
    assert_eq!(ask(&mut idle, "/small").await.status, 200, "it was not the one to go");
    assert_eq!(served.site.stats.evicted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_client_that_may_still_acknowledge_events_stays_and_another_one_gives_way() {
    let mut served = Served::start(lingering(), 2).await;
    let lingering = leaves_open(&served, "/lent?size=10").await;
    let mut idle = served.connect().await;
    assert_eq!(ask(&mut idle, "/small").await.status, 200);
    newcomer_is_served(&served).await;
    assert!(is_closed(&mut idle).await);
    served.site.no_fate_yet();
    drop(lingering);
    assert_eq!(served.site.outcome().await, (10, DeliveryOutcome::Acked));
}

#[tokio::test]
async fn a_client_without_tls_that_does_not_close_gives_way() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/web_config/tls.yml");
    let site = Site::new(lingering());
    let (policy, _reload) = WebPolicy::open(file.into(), site.stats.clone(), Arc::default()).await.unwrap();
    let service = site.service.with_web(Some(policy));
    let served = Served::of(Site { service, ..site }, 1).await;
    let mut open = Vec::new();
    for number in 0..3 {
        let mut client = served.connect().await;
        send(&mut client, "GET / HTTP/1.0\r\n\r\n").await;
        let answered = tokio::time::timeout(Duration::from_secs(20), answer(&mut client)).await;
        assert_eq!(answered.expect("the one before ends for it").status, 400, "{number}");
        open.push(client);
    }
    assert_eq!(served.site.stats.evicted.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_stop_finishes_the_answer_in_work_and_closes_the_idle() {
    let mut served = Served::usual().await;
    let (mut idle, mut silent, mut busy, mut asking) = (
        served.connect().await,
        served.connect().await,
        served.connect().await,
        served.connect().await,
    );
    assert_eq!(ask(&mut idle, "/small").await.status, 200);
    request(&mut busy, "GET", "/lent?size=30000000").await;
    let answered = head(&mut busy).await;
    assert_eq!(answered.status, 200);
    send(&mut asking, "GET /small HTTP/1.1\r\nhost: test\r\n").await;
    // All four are accepted, and the half request has begun.
    while (served.slots.taken(), served.slots.idle()) != (4, 2) {
        tokio::task::yield_now().await;
    }
    served.stop.cancel();
    assert!(is_closed(&mut idle).await);
    assert!(is_closed(&mut silent).await);
    let mut body = vec![0; 30_000_000];
    busy.read_exact(&mut body).await.unwrap();
    assert_eq!(body, payload(30_000_000).concat());
    assert!(is_closed(&mut busy).await);
    drop(busy);
    assert_eq!(served.site.outcome().await, (30_000_000, DeliveryOutcome::Acked));
    // A request that had begun is answered as well.
    send(&mut asking, "\r\n").await;
    let answered = answer(&mut asking).await;
    assert_eq!((answered.status, &*answered.headers["connection"]), (200, "close"));
    drop(asking);
    served.running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_waits_for_a_handler_and_then_closes() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    request(&mut client, "GET", "/wait").await;
    while served.site.stats.requests.load(Ordering::Relaxed) < 1 {
        tokio::task::yield_now().await;
    }
    served.stop.cancel();
    while TcpStream::connect(served.address).await.is_ok() {}
    served.site.inside.gate.notify_waiters();
    let answered = answer(&mut client).await;
    assert_eq!((answered.text(), &*answered.headers["connection"]), ("waited\n", "close"));
    assert!(is_closed(&mut client).await);
    drop(client);
    served.running.await.unwrap().unwrap();
}
