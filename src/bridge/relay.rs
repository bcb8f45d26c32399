//! Scrapes that one bridge of a cluster forwards to another one, which has the link to the proxy.
//!
//! The request goes to the HTTP port of that bridge, as it is in the engine, with a proof of the key that it has put there beside it: who can
//! read the engine may forward. The other bridge answers from its own links alone, so a request is forwarded once.
//!
//! A response counts as delivered at the other bridge when the reader behind this one has it. So a connection belongs to one reader and one
//! alias: this bridge confirms each response over it once the reader has it, and resets the connection where a response did not arrive. It confirms
//! at once, because a balancer may send the reader's next scrape to the other bridge.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use ring::hmac;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::form_urlencoded;

use super::remote_claims::BridgeMember;
use crate::model::Clock;

/// The path at which a bridge takes the scrapes of other bridges. It is open to all; the proof is checked.
pub(super) const SCRAPE_PATH: &str = "/-/cluster/scrape";
/// The path at which a bridge hears that the reader has the last response on this connection. It is open to all: the request says nothing of
/// any other connection.
pub(super) const RECEIVED_PATH: &str = "/-/cluster/received";
/// The path at which a bridge lists the apps of a proxy for other bridges.
pub(super) const APPS_PATH: &str = "/-/cluster/apps";

/// The header with the time in seconds and the proof.
const PROOF: HeaderName = HeaderName::from_static("exporter-proxy-forward");
/// The header with the client that the scrape is for.
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The time for which a proof is valid, before and after its own: the clocks of the bridges differ.
const PROOF_SECONDS: u64 = 60;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// The time within which the other bridge answers a confirmation. After it the connection is closed, which confirms as well.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that wait for the next scrape of their reader: those of some Prometheus servers to thousands of proxies. Beyond it a connection
/// is closed, and its last response counts as delivered, as the reader has it.
const MAX_IDLE: usize = 10_000;

/// The part of the limit on open files that these connections may take: an eighth, with two file descriptors each. The listeners need the rest.
const FILES_A_CONNECTION: u64 = 16;

/// Bytes of the head of a response, as a bridge sends it.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// The key by which other bridges prove to one that they read the engine. Its Debug form is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardKey([u8; KEY_BYTES]);

impl ForwardKey {
    /// A key of random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads the form of [`ForwardKey::to_hex`].
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        read_hex(text)?.try_into().ok().map(Self)
    }

    /// The key as hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl fmt::Debug for ForwardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MASKED")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len().is_multiple_of(2) && text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

/// The content of a proof.
struct ProofInput<'a> {
    seconds: u64,
    method: &'a Method,
    target: &'a str,
    client: &'a str,
}

impl ProofInput<'_> {
    /// The bytes to sign: each text with its length before it, so that different inputs have different bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"exporter-proxy forward/1".to_vec();
        bytes.extend_from_slice(&self.seconds.to_be_bytes());
        for text in [self.method.as_str(), self.target, self.client] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    fn header(&self, key: &ForwardKey) -> String {
        format!("{} {}", self.seconds, hex(hmac::sign(&key.hmac(), &self.bytes()).as_ref()))
    }
}

/// A request of another bridge, after its proof was checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RelayedRequest {
    pub(super) alias: String,
    /// The path at the proxy, with the query.
    pub(super) path: String,
    /// The client that the scrape is for.
    pub(super) client: String,
}

/// The reason why a request of another bridge is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProofError {
    /// It has no proof, or a wrong one.
    #[error("only the bridges of this cluster may use this path")]
    Invalid,
    /// The proof is too old, or of the future.
    #[error("the proof is of another time; the clocks of the bridges differ by more than {PROOF_SECONDS} s")]
    Time,
}

/// Checks a request of another bridge, at the time `now` in seconds.
pub(super) fn verify(key: &ForwardKey, method: &Method, uri: &Uri, headers: &HeaderMap, now: u64) -> Result<RelayedRequest, ProofError> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (seconds, tag) = text(&PROOF).and_then(|proof| proof.split_once(' ')).ok_or(ProofError::Invalid)?;
    let input = ProofInput {
        seconds: seconds.parse().map_err(|_| ProofError::Invalid)?,
        method,
        target: uri.path_and_query().map_or("", |target| target.as_str()),
        client: text(&FORWARDED_FOR).unwrap_or_default(),
    };
    let tag = read_hex(tag).ok_or(ProofError::Invalid)?;
    hmac::verify(&key.hmac(), &input.bytes(), &tag).map_err(|_| ProofError::Invalid)?;
    if input.seconds.abs_diff(now) > PROOF_SECONDS {
        return Err(ProofError::Time);
    }
    let query: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
    let value = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_string());
    Ok(RelayedRequest {
        alias: value("alias").unwrap_or_default(),
        path: value("path").unwrap_or_default(),
        client: input.client.to_owned(),
    })
}

/// The reason why a bridge did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the proxy is connected to the bridge {bridge}, which {why}")]
pub(super) struct RelayError {
    bridge: String,
    why: String,
}

/// A request to forward.
pub(super) struct Outgoing<'a> {
    pub(super) path: &'static str,
    pub(super) alias: &'a str,
    /// The path at the proxy, with the query.
    pub(super) proxy_path: &'a str,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    /// The client that the scrape is for.
    pub(super) client: String,
}

/// The reader and the alias of a connection, and the bridge that it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Purpose {
    bridge: String,
    client: String,
    alias: String,
}

/// An open connection to another bridge.
pub(super) struct Upstream {
    purpose: Purpose,
    /// Its number, which no other one of this bridge has.
    number: u64,
    sender: SendRequest<Empty<Bytes>>,
    /// Drives the connection; `sender` observes its end.
    _driver: AbortOnDropHandle<()>,
    /// The same socket, which is reset on close unless the response was received.
    socket: std::net::TcpStream,
}

impl Upstream {
    fn set_linger(&self, linger: Option<Duration>) {
        // It fails only for a socket that is already closed.
        let _ = SockRef::from(&self.socket).set_linger(linger);
    }

    /// Reports to the other bridge that the reader has the last response. Returns true if the connection can take another request.
    async fn confirm(&mut self) -> bool {
        let Ok(request) = Request::head(RECEIVED_PATH).header(HOST, "bridge").body(Empty::new()) else {
            return false;
        };
        let confirmed = async { self.sender.ready().await.is_ok() && self.sender.send_request(request).await.is_ok() };
        timeout(CONFIRM_TIMEOUT, confirmed).await.unwrap_or(false)
    }
}

/// A connection that waits for the next request of its reader. It is locked while a response is confirmed over it, and empty if that failed.
type IdleUpstream = Arc<tokio::sync::Mutex<Option<Upstream>>>;

/// Connections with a response that was received. Each removes itself when it ends, so that none keeps its file descriptors.
struct IdleTable {
    /// With their numbers. Bounded by `most`.
    connections: Mutex<HashMap<Purpose, (u64, IdleUpstream)>>,
    most: usize,
}

impl IdleTable {
    fn lock(&self) -> MutexGuard<'_, HashMap<Purpose, (u64, IdleUpstream)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, in place of an earlier one of the same purpose, if there is room. One that has ended already is not added; one that
    /// ends later finds itself here.
    fn insert(&self, purpose: &Purpose, sender: &SendRequest<Empty<Bytes>>, number: u64, upstream: IdleUpstream) {
        let mut connections = self.lock();
        let has_room = connections.len() < self.most || connections.contains_key(purpose);
        let earlier = match has_room && !sender.is_closed() {
            true => connections.insert(purpose.clone(), (number, upstream)),
            false => None,
        };
        drop(connections);
        // Not closed under the lock.
        drop(earlier);
    }

    /// Removes a connection, unless another one has taken its place.
    fn remove(&self, purpose: &Purpose, number: u64) {
        let mut connections = self.lock();
        let is_there = connections.get(purpose).is_some_and(|(there, _)| *there == number);
        let ended = is_there.then(|| connections.remove(purpose));
        drop(connections);
        drop(ended);
    }
}

/// The most idle connections under a limit on open files.
fn max_idle(open_files: u64) -> usize {
    usize::try_from(open_files / FILES_A_CONNECTION).unwrap_or(usize::MAX).min(MAX_IDLE)
}

/// The requests of this bridge to others.
pub(super) struct Relay {
    tls: Option<Arc<ClientConfig>>,
    clock: Clock,
    idle: Arc<IdleTable>,
    /// The number of the next connection.
    next: AtomicU64,
}

impl Relay {
    /// Sends requests with these TLS settings. Idle connections take at most an eighth of `open_files`, the limit on open files.
    pub(super) fn new(tls: Option<Arc<ClientConfig>>, clock: Clock, open_files: u64) -> Self {
        let idle = IdleTable {
            connections: Mutex::default(),
            most: max_idle(open_files),
        };
        Self {
            tls,
            clock,
            idle: Arc::new(idle),
            next: AtomicU64::default(),
        }
    }

    /// Sends a request to a bridge and waits for the head of its response. The connection is reset when the result is dropped, unless it is
    /// [kept](Self::keep).
    pub(super) async fn send(
        &self,
        to: &BridgeMember,
        outgoing: Outgoing<'_>,
        wait: Duration,
    ) -> Result<(Response<Incoming>, Upstream), RelayError> {
        let failed = |why: String| RelayError {
            bridge: to.name.clone(),
            why,
        };
        let Some(address) = to.http else {
            return Err(failed("has no HTTP address in the engine".to_owned()));
        };
        match timeout(wait, self.exchange(to, address, outgoing)).await {
            Ok(sent) => sent.map_err(|why| failed(format!("cannot be reached at {address}: {why}"))),
            Err(_) => Err(failed(format!("did not answer at {address} within {} ms", wait.as_millis()))),
        }
    }

    async fn exchange(
        &self,
        to: &BridgeMember,
        address: SocketAddr,
        outgoing: Outgoing<'_>,
    ) -> Result<(Response<Incoming>, Upstream), String> {
        let purpose = Purpose {
            bridge: to.id.clone(),
            client: outgoing.client.clone(),
            alias: outgoing.alias.to_owned(),
        };
        let request = || self.request(to, address, &outgoing).map_err(|error| error.to_string());
        if let Some(mut upstream) = self.take(&purpose).await
            && upstream.sender.ready().await.is_ok()
        {
            upstream.set_linger(Some(Duration::ZERO));
            // The other bridge may close an idle connection while the request is in flight.
            if let Ok(response) = upstream.sender.send_request(request()?).await {
                return Ok((response, upstream));
            }
        }
        let mut upstream = self.connect(to, address, purpose).await?;
        let response = upstream.sender.send_request(request()?).await;
        response.map(|response| (response, upstream)).map_err(|error| error.to_string())
    }

    fn request(&self, to: &BridgeMember, address: SocketAddr, outgoing: &Outgoing<'_>) -> http::Result<Request<Empty<Bytes>>> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("alias", outgoing.alias).append_pair("path", outgoing.proxy_path);
        let target = format!("{}?{}", outgoing.path, query.finish());
        let proof = ProofInput {
            seconds: seconds(self.clock),
            method: &outgoing.method,
            target: &target,
            client: &outgoing.client,
        };
        let proof = proof.header(&to.key);
        let mut request = Request::builder().method(&outgoing.method).uri(&target).body(Empty::new())?;
        let headers = request.headers_mut();
        headers.extend(outgoing.headers.clone());
        headers.insert(HOST, HeaderValue::try_from(address.to_string())?);
        headers.insert(FORWARDED_FOR, HeaderValue::try_from(&outgoing.client)?);
        headers.insert(PROOF, HeaderValue::try_from(proof)?);
        Ok(request)
    }

    async fn connect(&self, to: &BridgeMember, address: SocketAddr, purpose: Purpose) -> Result<Upstream, String> {
        let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let opened = socket.set_nodelay(true).and_then(|()| socket.into_std());
        let (socket, other) = opened
            .and_then(|socket| Ok((socket.try_clone()?, TcpStream::from_std(socket)?)))
            .map_err(|error| error.to_string())?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let ended = {
            let (idle, purpose) = (Arc::clone(&self.idle), purpose.clone());
            move || idle.remove(&purpose, number)
        };
        let (sender, driver) = match to.tls {
            false => handshake(other, ended).await?,
            true => {
                let config = self.tls.clone().ok_or("it has TLS, and this bridge has none")?;
                let name = ServerName::from(address.ip());
                let connected = TlsConnector::from(config).connect(name, other).await;
                handshake(connected.map_err(|error| format!("TLS: {error}"))?, ended).await?
            }
        };
        let upstream = Upstream {
            purpose,
            number,
            sender,
            _driver: driver,
            socket,
        };
        upstream.set_linger(Some(Duration::ZERO));
        Ok(upstream)
    }

    /// Confirms the last response of a connection, which the reader has received, and keeps the connection for the reader's next request.
    pub(super) fn keep(&self, upstream: Upstream) {
        upstream.set_linger(None);
        let (purpose, number) = (upstream.purpose.clone(), upstream.number);
        let kept: IdleUpstream = Arc::new(tokio::sync::Mutex::new(Some(upstream)));
        // Locked before others can find it, so that the reader's next request waits for the confirmation.
        let Ok(mut confirming) = kept.clone().try_lock_owned() else {
            return;
        };
        if let Some(upstream) = &*confirming {
            self.idle.insert(&purpose, &upstream.sender, number, kept);
        }
        let idle = Arc::clone(&self.idle);
        tokio::spawn(async move {
            if let Some(upstream) = confirming.as_mut()
                && !upstream.confirm().await
            {
                // Its driver is aborted with it, so it does not remove itself.
                *confirming = None;
                idle.remove(&purpose, number);
            }
        });
    }

    /// The connection that is kept for a purpose, after its last response is confirmed.
    async fn take(&self, purpose: &Purpose) -> Option<Upstream> {
        let (_, kept) = self.idle.lock().remove(purpose)?;
        kept.lock().await.take()
    }
}

/// Opens HTTP on a stream, which is driven until it ends; then `ended` is called.
async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ended: impl FnOnce() + Send + 'static,
) -> Result<(SendRequest<Empty<Bytes>>, AbortOnDropHandle<()>), String> {
    let opened = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = opened.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(async move {
        let outcome = connection.await;
        if let Err(error) = outcome {
            tracing::debug!("a connection to another bridge ended: {error}");
        }
        // Its sender is closed by now.
        ended();
    });
    Ok((sender, AbortOnDropHandle::new(driver)))
}

/// The time of day in seconds.
pub(super) fn seconds(clock: Clock) -> u64 {
    u64::try_from(clock().as_millis() / 1_000).unwrap_or_default()
}

#[cfg(test)]
mod tests;
