//! The room as its users meet it: a service with a few routes behind real sockets, and a client that speaks plain bytes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod delivery;
mod eviction_and_shutdown;
mod limits;
mod loss;
mod requests;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::IntoResponse;
use axum::routing::{get, put};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::supervise::{ConnectionSlots, Listener, Service};

/// The limit of `PUT /body`.
const BODY: BodyLimit = BodyLimit {
    bytes: 1_000,
    key: "test.max_body",
};

/// Memory for every body.
struct Plenty;

impl MemoryBudget for Plenty {
    async fn reserve(&mut self, _: usize) {}
}

/// State shared by the routes and the test.
struct Inside {
    fates: mpsc::UnboundedSender<(u64, DeliveryOutcome)>,
    deliveries: Mutex<Vec<Delivery>>,
    connections: Mutex<Vec<Connection>>,
    gate: Notify,
}

/// A running server, or a service alone, with a view behind it.
struct Site {
    service: HttpService,
    stats: Arc<HttpStats>,
    access: Arc<AccessControl>,
    inside: Arc<Inside>,
    fates: mpsc::UnboundedReceiver<(u64, DeliveryOutcome)>,
}

impl Site {
    fn new(timers: Timers) -> Self {
        Self::with(timers, HttpStats::default())
    }

    fn with(timers: Timers, stats: HttpStats) -> Self {
        let (sender, fates) = mpsc::unbounded_channel();
        let inside = Arc::new(Inside {
            fates: sender,
            deliveries: Mutex::default(),
            connections: Mutex::default(),
            gate: Notify::new(),
        });
        let routes = Routes::new()
            .route("/small", Role::Read, get(async || "small\n"))
            .route("/big", Role::Read, get(big))
            .route("/parts", Role::Read, get(parts))
            .route("/lent", Role::Read, get(lent))
            .route("/late", Role::Read, get(late))
            .route("/lent-panic", Role::Read, get(lent_panic))
            .route("/wait", Role::Read, get(wait))
            .route("/held", Role::Read, put(held))
            .route(
                "/panic",
                Role::Read,
                get(async || -> &'static str { panic!("as the client wished") }),
            )
            .route("/who", Role::Push, get(who))
            .route("/body", Role::Read, put(body))
            .with_state(inside.clone());
        let (access, stats) = (Arc::<AccessControl>::default(), Arc::new(stats));
        let service = HttpService::with_timers(routes, &["GET /small", "PUT /body"], access.clone(), stats.clone(), timers);
        Self {
            service,
            stats,
            access,
            inside,
            fates,
        }
    }

    /// The next verdict: the size of the response and what became of it.
    async fn outcome(&mut self) -> (u64, DeliveryOutcome) {
        tokio::time::timeout(Duration::from_secs(20), self.fates.recv())
            .await
            .expect("a verdict in time")
            .unwrap()
    }

    fn no_fate_yet(&mut self) {
        assert!(self.fates.try_recv().is_err());
    }

    fn delivery(&self, number: usize) -> Delivery {
        self.inside.deliveries.lock().unwrap()[number].clone()
    }

    fn connection(&self, number: usize) -> Connection {
        self.inside.connections.lock().unwrap()[number].clone()
    }
}

struct Served {
    site: Site,
    address: SocketAddr,
    slots: ConnectionSlots,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Served {
    async fn start(timers: Timers, slots: usize) -> Self {
        Self::of(Site::new(timers), slots).await
    }

    async fn of(site: Site, slots: usize) -> Self {
        let listener = Listener::tcp("127.0.0.1:0").await.unwrap();
        let (address, slots, stop) = (
            listener.local_addr().unwrap(),
            ConnectionSlots::with_address_limit(slots),
            CancellationToken::new(),
        );
        let server = Server::new(listener, slots.clone(), site.service.clone());
        assert_eq!(server.name(), format!("http {address}"));
        let running = tokio::spawn(Box::new(server).run(stop.clone()));
        Self {
            site,
            address,
            slots,
            stop,
            running,
        }
    }

    async fn usual() -> Self {
        Self::start(Timers::default(), 64).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A client with a receive buffer of this size.
    async fn connect_narrow(&self, window: u32) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(window).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

#[derive(serde::Deserialize)]
struct Size {
    size: u64,
}

/// Bytes that differ along the way, in parts as a store would hold them.
fn payload(size: u64) -> Vec<Bytes> {
    let size = usize::try_from(size).unwrap();
    let mut whole = (0..251).collect::<Vec<u8>>().repeat(size / 251 + 1);
    whole.truncate(size);
    let whole = Bytes::from(whole);
    (0..whole.len())
        .step_by(100_000)
        .map(|at| whole.slice(at..whole.len().min(at + 100_000)))
        .collect()
}

async fn big(Query(Size { size }): Query<Size>) -> Body {
    Body::new(SharedBody::from(payload(size)))
}

/// The same with a length that is not known in advance.
async fn parts(Query(Size { size }): Query<Size>) -> Body {
    Body::from_stream(stream::iter(payload(size).into_iter().map(Ok::<_, Infallible>)))
}

async fn lent(State(inside): State<Arc<Inside>>, Extension(connection): Extension<Connection>, Query(Size { size }): Query<Size>) -> Body {
    let fates = inside.fates.clone();
    let delivery = connection.on_delivery(move |outcome| fates.send((size, outcome)).unwrap());
    inside.deliveries.lock().unwrap().push(delivery);
    inside.connections.lock().unwrap().push(connection);
    Body::new(SharedBody::from(payload(size)))
}

async fn lent_panic(state: State<Arc<Inside>>, connection: Extension<Connection>, size: Query<Size>) -> Body {
    drop(lent(state, connection, size).await);
    panic!("after the lease")
}

async fn late(state: State<Arc<Inside>>, connection: Extension<Connection>, size: Query<Size>) -> Body {
    state.gate.notified().await;
    lent(state, connection, size).await
}

async fn wait(State(inside): State<Arc<Inside>>) -> &'static str {
    inside.gate.notified().await;
    "waited\n"
}

/// Keeps the body, and reads nothing of it.
async fn held(State(inside): State<Arc<Inside>>, request: Request) -> &'static str {
    inside.gate.notified().await;
    drop(request);
    "held\n"
}

async fn who(Extension(connection): Extension<Connection>, headers: HeaderMap) -> String {
    format!("{} may write\n", connection.client(&headers))
}

async fn body(request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match read_body(&parts.headers, body, BODY, &mut Plenty).await {
        Ok(body) => format!("{} bytes\n", body.len()).into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// A response as it came.
#[derive(Debug)]
struct Answered {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answered {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn send(io: &mut (impl AsyncWrite + Unpin), text: &str) {
    io.write_all(text.as_bytes()).await.unwrap();
}

/// A request without a body.
async fn request(io: &mut (impl AsyncWrite + Unpin), method: &str, path: &str) {
    send(io, &format!("{method} {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
}

/// Reads the head of one response, byte by byte so that nothing behind it is taken.
async fn head(io: &mut (impl AsyncRead + Unpin)) -> Answered {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(io.read_u8().await.expect("a whole head"));
    }
    let text = String::from_utf8(text).unwrap();
    let (first, rest) = text.split_once("\r\n").unwrap();
    let headers = rest
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Answered {
        status: first.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: headers.collect(),
        body: Vec::new(),
    }
}

/// Reads one response with its body.
async fn answer(io: &mut (impl AsyncRead + Unpin)) -> Answered {
    let mut answered = head(io).await;
    let length = answered.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    answered.body = vec![0; length];
    io.read_exact(&mut answered.body).await.unwrap();
    answered
}

async fn ask(io: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> Answered {
    request(io, "GET", path).await;
    answer(io).await
}

/// Returns true if the peer closes without another byte.
async fn is_closed(io: &mut (impl AsyncRead + Unpin)) -> bool {
    matches!(io.read(&mut [0; 1]).await, Ok(0) | Err(_))
}
