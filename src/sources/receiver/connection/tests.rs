#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::FutureExt as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::{Budget, Limits, ReceiverContext};
use super::*;
use crate::model::Timestamp;
use crate::store::{EventOptions, Limits as StoreLimits, Mode, View, open};
use crate::supervise::{ConnectionSlots, Stream};
use crate::wire::FormatChoice;

const IDLE: Duration = Duration::from_secs(60);
/// Longer than any grace of an eviction.
const GRACE_OVER: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_dribbling_sender_has_five_timeouts_for_a_message() {
    let start = Instant::now();
    let mut clock = MessageClock::new(IDLE, start);
    assert_eq!(clock.deadline(), start + IDLE);
    for n in 1..=20 {
        clock.bytes_came(1, start + Duration::from_secs(n * 30));
    }
    assert_eq!(clock.deadline(), start + IDLE * 5);
    clock.message_begins(start + IDLE * 4);
    assert_eq!(clock.deadline(), start + IDLE * 5);
    clock.extend(IDLE);
    assert_eq!(clock.deadline(), start + IDLE * 6);
}

/// A receiver without a listener: its connections are opened one by one, each as of an address.
struct Site {
    shared: Arc<ListenerShared>,
    view: View,
    slots: ConnectionSlots,
}

/// One connection.
struct Sender {
    stream: UnixStream,
    running: JoinHandle<()>,
}

impl Site {
    fn new(slots: usize, max_inflight_bytes: usize) -> Self {
        let (inlet, view) = open(StoreLimits::default(), Mode::Raw, EventOptions::default());
        let limits = Limits {
            format: FormatChoice::default(),
            max_message_bytes: 1 << 20,
            idle_timeout: IDLE,
            allow: [].into(),
            allow_users: [].into(),
        };
        let context = ReceiverContext {
            inlet,
            telemetry: Arc::default(),
            clock: || Timestamp::from_millis(1),
            budget: Budget::new(max_inflight_bytes),
            limits: watch::channel(limits).1,
            http: "".into(),
        };
        Self {
            shared: Arc::new(ListenerShared::new("test".into(), context)),
            view,
            slots: ConnectionSlots::with_address_limit(slots),
        }
    }

    fn run(&self, stream: ReceiverStream, slot: Slot) -> JoinHandle<()> {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let connection = ReceiverConnection::new(stream, "test".to_owned(), &shared);
            connection.run(&slot, &CancellationToken::new()).await;
        })
    }

    /// Opens a connection as of an address, for which a slot is free, and sends this.
    async fn open(&self, address: u8, bytes: &[u8]) -> Sender {
        let slot = self.slots.take_for(at(address)).now_or_never().expect("a slot is free");
        let (stream, far) = UnixStream::pair().unwrap();
        let running = self.run(ReceiverStream::Plain(Stream::unix(far)), slot);
        let mut sender = Sender { stream, running };
        sender.send(bytes).await;
        sender
    }

    /// Returns true if a client of another address gets a slot within ten seconds. Other connections that were asked to leave have left then.
    async fn has_room(&self) -> bool {
        let taken = timeout(Duration::from_secs(10), self.slots.take_for(at(200))).await;
        sleep(GRACE_OVER).await;
        taken.is_ok()
    }

    fn stored(&self, app: &str) -> Option<String> {
        let app = self.view.app(app)?;
        Some(String::from_utf8(app.text.body().to_vec()).unwrap())
    }

    fn refused(&self, reason: &str) -> u64 {
        self.shared.telemetry.rejected_total.with(["test", reason]).get()
    }
}

impl Sender {
    /// Sends bytes, and gives the receiver time to take them.
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }

    /// Returns the text that the receiver has sent until it closed; `None` if it has not closed.
    async fn told(mut self) -> Option<String> {
        if !self.running.is_finished() {
            return None;
        }
        let mut text = String::new();
        self.stream.read_to_string(&mut text).await.unwrap();
        Some(text)
    }
}

fn at(address: u8) -> Option<IpAddr> {
    Some(IpAddr::from([10, 0, 0, address]))
}

const HALF: &[u8] = b"{\"half\":\"half_";

#[tokio::test(start_paused = true)]
async fn incomplete_messages_of_an_address_with_too_many_give_way_and_are_reported() {
    let site = Site::new(5, 1 << 20);
    let mut between = site.open(2, b"{\"between\":\"between_metric 1\"}").await;
    let mut crowd = Vec::new();
    for number in 0..4 {
        // An earlier message makes no difference.
        let whole: &[u8] = if number % 2 == 0 { b"{\"whole\":\"whole_metric 1\"}" } else { b"" };
        crowd.push(site.open(1, &[whole, HALF].concat()).await);
        crowd[number].send(b"byte_").await;
    }
    assert!(site.has_room().await);
    let mut stayed = Vec::new();
    for (number, sender) in crowd.into_iter().enumerate() {
        if number >= 2 {
            stayed.push(sender);
            continue;
        }
        let told = sender.told().await.expect("the oldest two are closed");
        assert!(told.contains("this address has too many connections"), "{told}");
        assert!(told.contains("dropped 19 bytes"), "{told}");
    }
    assert_eq!(site.refused("stalled"), 2);
    for sender in &mut stayed {
        assert!(!sender.running.is_finished());
        sender.send(b"metric 1\"}").await;
    }
    assert_eq!(site.stored("half").unwrap(), "half_byte_metric 1");
    between.send(b"{\"between\":\"between_metric 2\"}").await;
    assert_eq!(site.stored("between").unwrap(), "between_metric 2", "it was not the one to go");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_progresses_stays_and_another_one_goes() {
    let site = Site::new(4, 1 << 20);
    let piece = "x".repeat(4 << 10);
    let mut steady = site.open(1, format!("{{\"steady\":\"# {}", "x".repeat(16 << 10)).as_bytes()).await;
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(site.open(1, HALF).await);
    }
    let held = site.slots.take_for(at(2)).await;
    sleep(Duration::from_millis(50)).await;
    let is_over = |sender: &Sender| sender.running.is_finished();
    assert!(!is_over(&steady));
    assert_eq!(crowd.iter().map(is_over).collect::<Vec<_>>(), [true, false, false]);
    // 20 KiB in each second.
    for _ in 0..25 {
        steady.send(piece.as_bytes()).await;
        sleep(Duration::from_millis(200)).await;
    }
    // By now it counts again, as the youngest.
    let also_held = site.slots.take_for(at(2)).await;
    assert!(!is_over(&steady));
    assert_eq!(crowd.iter().map(is_over).collect::<Vec<_>>(), [true, true, false]);
    steady.send(b"\\nsteady_metric 1\"}").await;
    assert!(site.stored("steady").unwrap().ends_with("\nsteady_metric 1"));
    drop((held, also_held));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_has_stopped_to_progress_counts_again() {
    let site = Site::new(4, 1 << 20);
    let mut crowd = Vec::new();
    for _ in 0..4 {
        crowd.push(site.open(1, format!("{{\"a\":\"# {}", "x".repeat(16 << 10)).as_bytes()).await);
    }
    // Each has sent what makes up for a second.
    let began = Instant::now();
    let _taken = site.slots.take_for(at(2)).await;
    let waited = began.elapsed();
    assert!(
        (Duration::from_millis(950)..Duration::from_millis(1_050)).contains(&waited),
        "{waited:?}"
    );
    let closed = crowd.iter().filter(|sender| sender.running.is_finished()).count();
    assert_eq!((closed, site.refused("stalled")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_byte_that_arrives_at_the_moment_of_the_eviction_is_no_progress() {
    let site = Site::new(4, 1 << 20);
    let mut crowd = Vec::new();
    for _ in 0..4 {
        crowd.push(site.open(1, HALF).await);
    }
    sleep(GRACE_OVER).await;
    for sender in &crowd {
        // The runtime has not noticed it yet when the slot is needed.
        assert_eq!(sender.stream.try_write(b"x").unwrap(), 1);
    }
    let began = Instant::now();
    let _taken = site.slots.take_for(at(2)).await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert!(site.refused("stalled") > 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_for_memory_does_not_count() {
    // The first one over the limit holds all memory, so the crowd waits for it.
    let site = Site::new(6, 0);
    let large = |bytes: usize| format!("{{\"a\":\"# {}", "x".repeat(bytes));
    let holder = site.open(2, large(100 << 10).as_bytes()).await;
    let idle = site.open(3, b"{\"idle\":\"idle_metric 1\"}").await;
    let mut crowd = Vec::new();
    for _ in 0..4 {
        crowd.push(site.open(1, large(40 << 10).as_bytes()).await);
    }
    assert!(site.has_room().await);
    assert_eq!(idle.told().await.as_deref(), Some(""), "the idle one gives way");
    let held = site.slots.take_for(at(4)).now_or_never().expect("its slot is free");
    // The holder gives its memory back only later.
    let another = timeout(Duration::from_secs(2), site.slots.take_for(at(5))).await;
    assert!(another.is_err(), "no other one gives way");
    assert!(!crowd.iter().chain([&holder]).any(|sender| sender.running.is_finished()));
    assert_eq!(site.refused("stalled"), 0);
    drop((holder, held));
}

/// Half of a JSON message that holds memory beyond what is free for each, and a whole one that needs some.
fn half_and_whole() -> (String, String) {
    let half = format!("{{\"a\":\"# {}", "x".repeat(100 << 10));
    let whole = format!("{{\"b\":\"# {}\\nb_metric 1\"}}", "x".repeat(40 << 10));
    (half, whole)
}

#[tokio::test(start_paused = true)]
async fn a_message_that_hardly_arrives_gives_its_memory_to_one_that_waits() {
    let site = Site::new(4, 0);
    let (half, whole) = half_and_whole();
    let holder = site.open(1, half.as_bytes()).await;
    let waiter = site.open(2, whole.as_bytes()).await;
    sleep(Duration::from_millis(4_900)).await;
    assert!(!holder.running.is_finished() && site.stored("b").is_none());
    sleep(Duration::from_millis(200)).await;
    assert!(site.stored("b").unwrap().ends_with("\nb_metric 1"));
    let told = holder.told().await.expect("it is closed");
    assert!(told.contains("others wait for the memory that it takes"), "{told}");
    assert_eq!(site.refused("stalled"), 1);
    assert!(!waiter.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stops_keeps_its_memory_while_no_other_one_wants_it() {
    let site = Site::new(4, 0);
    let (half, whole) = half_and_whole();
    let mut holder = site.open(1, half.as_bytes()).await;
    sleep(IDLE / 2).await;
    holder.send(b"\\na_metric 1\"}").await;
    assert!(site.stored("a").unwrap().ends_with("\na_metric 1"));
    let _waiter = site.open(2, whole.as_bytes()).await;
    assert!(site.stored("b").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_large_message_that_progresses_is_waited_for() {
    let site = Site::new(4, 0);
    let (half, whole) = half_and_whole();
    let mut holder = site.open(1, half.as_bytes()).await;
    let _waiter = site.open(2, whole.as_bytes()).await;
    // 20 KiB in each second.
    for _ in 0..100 {
        holder.send("x".repeat(4 << 10).as_bytes()).await;
        sleep(Duration::from_millis(200)).await;
    }
    assert!(!holder.running.is_finished() && site.stored("b").is_none());
    holder.send(b"\\na_metric 1\"}").await;
    sleep(GRACE_OVER).await;
    assert!(site.stored("a").is_some() && site.stored("b").is_some());
    assert_eq!(site.refused("stalled"), 0);
}

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_message_in_small_pieces_does_not_wake_those_that_wait_for_memory() {
    let site = Site::new(4, 0);
    let (half, _) = half_and_whole();
    let mut holder = site.open(1, half.as_bytes()).await;
    let mut share = site.shared.budget.reservation();
    let mut waits = Box::pin(share.reserve(FREE_BYTES + 1));
    let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    for _ in 0..50 {
        holder.send(b"xxxxxxxxxx").await;
    }
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    holder.send(b"\"}").await;
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "the message is complete");
}

#[tokio::test(start_paused = true)]
async fn whitespace_is_no_message() {
    let site = Site::new(5, 1 << 20);
    let mut idle = site.open(2, b"{\"idle\":\"idle_metric 1\"}").await;
    let mut crowd = Vec::new();
    for _ in 0..4 {
        crowd.push(site.open(1, b" ").await);
    }
    sleep(GRACE_OVER).await;
    for sender in &mut crowd {
        sender.send(b"\n").await;
    }
    // The idle one was active longest ago.
    assert!(site.has_room().await);
    let ended: Vec<_> = crowd.iter().map(|sender| sender.running.is_finished()).collect();
    assert_eq!(ended, [true, true, false, false]);
    idle.send(b"{\"idle\":\"idle_metric 2\"}").await;
    assert_eq!(site.stored("idle").unwrap(), "idle_metric 2");
}

fn tls() -> (TlsAcceptor, TlsConnector) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let server = server.with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider);
    let client = client.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    (Arc::new(server).into(), Arc::new(client.with_no_client_auth()).into())
}

/// Its bytes arrive at the moment of the eviction, so that the runtime has not noticed them yet, and are no message.
#[tokio::test(start_paused = true)]
async fn a_part_of_a_tls_record_holds_no_slot() {
    let site = Site::new(1, 1 << 20);
    let (acceptor, connector) = tls();
    let (near, far) = UnixStream::pair().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let (client, server) = tokio::join!(connector.connect(name, near), acceptor.accept(Stream::unix(far)));
    let (mut client, server) = (client.unwrap(), server.unwrap());
    let slot = site.slots.take_for(at(1)).await;
    let running = site.run(ReceiverStream::Tls(Box::new(server)), slot);
    client.write_all(b"{\"a\":\"a_metric 1\"}").await.unwrap();
    client.flush().await.unwrap();
    sleep(GRACE_OVER).await;
    assert_eq!(site.stored("a").unwrap(), "a_metric 1");
    // The head of a record of 4,096 bytes.
    assert_eq!(client.get_ref().0.try_write(&[0x17, 3, 3, 0x10, 0]).unwrap(), 5);
    assert!(site.has_room().await);
    running.await.unwrap();
}
