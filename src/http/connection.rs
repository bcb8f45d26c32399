//! The handle of a connection that each request carries, and the half of it that the transport reports to.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use http::{Extensions, HeaderMap, StatusCode, Uri};
use tokio::time::Instant;

use super::access::{Access, AccessControl};
use super::client::{self, Client, PeerAddr};
use super::connection_state::{ConnectionState, Outcomes};
use super::delivery::{Delivery, DeliveryOutcome, TrackedResponse};
use super::public_url::PublicUrl;
use super::shared_body::ResponseMemory;
use crate::supervise::probe::Probe;

/// Queue lengths of a transport, asked of the kernel for a socket and of its own records for any other stream.
pub trait SendQueue: Send + Sync {
    /// Bytes that the peer has not acknowledged: 0 means that it has all that was written.
    ///
    /// # Errors
    ///
    /// The error of the connection, such as a reset: then no open response counts as received.
    fn unacked(&self) -> io::Result<u64>;

    /// Returns true if the peer had acknowledged all that was written by now, or by the reset that has ended the connection. False where the
    /// transport does not know.
    fn had_all(&self) -> bool {
        false
    }

    /// Received bytes that were not read yet.
    ///
    /// # Errors
    ///
    /// If the connection is closed or the transport does not know.
    fn unread(&self) -> io::Result<u64>;
}

/// Observer of the requests on one connection. Links use it, because the peer of a link acknowledges responses in its requests.
pub trait RequestObserver: Send + Sync {
    /// Called with the head of a request before its handler runs.
    fn on_request(&self, uri: &Uri, headers: &HeaderMap);

    /// Called with the head of the response. The extensions may hold more than the client receives.
    fn on_response(&self, status: StatusCode, extensions: &Extensions);
}

impl SendQueue for Probe {
    fn unacked(&self) -> io::Result<u64> {
        Self::unacked(self)
    }

    fn had_all(&self) -> bool {
        Self::had_all(self)
    }

    fn unread(&self) -> io::Result<u64> {
        Self::unread(self)
    }
}

/// The connection that a request came on; an extension of every request.
///
/// Cloning clones the handle. Keeping one does not keep the connection open.
#[derive(Clone)]
pub struct Connection(Arc<SharedConnection>);

/// State shared by all handles and the wrappers of the byte stream.
pub(super) struct SharedConnection {
    peer: PeerAddr,
    access: Arc<AccessControl>,
    /// The subject alternative names of a verified client certificate.
    certificate_names: OnceLock<Arc<[String]>>,
    queue: Option<Arc<dyn SendQueue>>,
    observer: Option<Arc<dyn RequestObserver>>,
    read: AtomicU64,
    written: AtomicU64,
    /// True while a response is being sent.
    sending: AtomicBool,
    /// The memory of the current response, or of the last one.
    memory: Mutex<ResponseMemory>,
    // Never held across an await or while an outcome is reported.
    state: Mutex<ConnectionState>,
}

impl Connection {
    pub(super) fn new(peer: PeerAddr, access: Arc<AccessControl>) -> Self {
        Self::with_queue(peer, None, None, access)
    }

    pub(super) fn with_queue(
        peer: PeerAddr,
        queue: Option<Arc<dyn SendQueue>>,
        observer: Option<Arc<dyn RequestObserver>>,
        access: Arc<AccessControl>,
    ) -> Self {
        let state = Mutex::new(ConnectionState::new(Instant::now()));
        Self(Arc::new(SharedConnection {
            peer,
            access,
            certificate_names: OnceLock::new(),
            queue,
            observer,
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            sending: AtomicBool::new(false),
            memory: Mutex::default(),
            state,
        }))
    }

    /// The peer of the stream; see [`Connection::client`] for the client behind a reverse proxy.
    #[must_use]
    pub fn peer(&self) -> &PeerAddr {
        &self.0.peer
    }

    /// The effective client: the peer, or the client it forwards for if it is one of the `trusted_proxies`.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap) -> Client {
        client::effective_client(&self.0.peer, headers, &self.0.access.settings().trusted_proxies)
    }

    /// The URL under which the client of a request sees this server; none if neither the request nor the configuration names a host.
    #[must_use]
    pub fn public_url(&self, uri: &Uri, headers: &HeaderMap) -> Option<PublicUrl> {
        PublicUrl::of_request(&self.0.peer, uri, headers, &self.0.access.settings())
    }

    /// The access settings in force.
    #[must_use]
    pub fn access(&self) -> Arc<Access> {
        self.0.access.settings()
    }

    /// Bytes read from the client so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// Bytes that the transport has taken for the client so far.
    pub(super) fn bytes_written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Reports earlier responses that were written whole as acked, if the peer's kernel has acknowledged all of them. For a client that
    /// asks for the same data again on this connection, as [`Delivery::settle_now`] is for one that does so on another: a client that is
    /// faster than our note that all was written looks as if it pipelined, and its request proves nothing by itself. One that certainly
    /// pipelines gets nothing acked: its kernel has the response, and it may end without reading it.
    pub fn settle_acked(&self) {
        if self.0.state().has_open_responses() && self.0.is_acked() {
            self.0.change(ConnectionState::confirm_asked_again);
        }
    }

    /// Calls `settle` exactly once with the delivery outcome of the response to the current request.
    ///
    /// Call it while handling that request. A response is acked if the client sends a new request on this connection after its last byte,
    /// or the end of file with everything acknowledged. Everything else is unacked, immediately or at the end of the connection: errors,
    /// resets (but see [`Delivery::allow_reset`]), a truncated response, a request that arrives before the response is written, a handler that
    /// was dropped or panicked.
    /// `settle` runs on the connection's task or inside [`Delivery::settle_now`], with no lock of this module held but the delivery's own.
    pub fn on_delivery(&self, settle: impl FnOnce(DeliveryOutcome) + Send + 'static) -> Delivery {
        let tracked = TrackedResponse::new(settle);
        tell(self.0.state().track(tracked.clone()));
        Delivery {
            tracked,
            shared: Arc::downgrade(&self.0),
        }
    }

    pub(super) fn shared(&self) -> &Arc<SharedConnection> {
        &self.0
    }
}

impl fmt::Debug for SharedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedConnection({})", self.peer)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.0.peer)
    }
}

impl SharedConnection {
    pub(super) fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response is going to be sent that consists of this.
    pub(super) fn set_response_memory(&self, memory: ResponseMemory) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
    }

    pub(super) fn memory(&self) -> ResponseMemory {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn peer(&self) -> &PeerAddr {
        &self.peer
    }

    pub(super) fn access(&self) -> &Arc<AccessControl> {
        &self.access
    }

    /// Sets the names of the client's certificate, once it is verified.
    pub(super) fn set_certificate_names(&self, names: Vec<String>) {
        // A connection has one handshake.
        let _ = self.certificate_names.set(names.into());
    }

    pub(super) fn certificate_names(&self) -> Arc<[String]> {
        self.certificate_names.get().cloned().unwrap_or_default()
    }

    /// The client's end of file has been read: what it has acknowledged by now it has received.
    pub(super) fn ended(&self) {
        let owes = {
            let mut state = self.state();
            state.ended();
            state.has_open_responses()
        };
        if owes && self.is_acked() {
            self.change(ConnectionState::confirm_written);
        }
    }

    pub(super) fn set_sending(&self, sending: bool) {
        self.sending.store(sending, Ordering::Relaxed);
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed)
    }

    pub(super) fn count_read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The transport has failed, or a limit was broken.
    pub(super) fn fail(&self) {
        let owes = self.state().has_open_responses();
        let had_all = owes && self.queue.as_ref().is_some_and(|queue| queue.had_all());
        self.change(|state| state.fail(had_all));
    }

    /// Changes the state, then reports the outcomes.
    pub(super) fn change(&self, change: impl FnOnce(&mut ConnectionState) -> Outcomes) {
        // The guard is dropped at the end of the statement, before the outcomes are reported.
        let outcomes = change(&mut self.state());
        tell(outcomes);
    }

    pub(super) fn observer(&self) -> Option<&Arc<dyn RequestObserver>> {
        self.observer.as_ref()
    }

    /// Bytes not acknowledged, where the transport knows.
    pub(super) fn unacked(&self) -> Option<io::Result<u64>> {
        self.queue.as_ref().map(|queue| queue.unacked())
    }

    /// Returns true if the transport has certainly no unread bytes.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue
            .as_ref()
            .is_some_and(|queue| queue.unread().is_ok_and(|unread| unread == 0))
    }

    /// Returns true if the transport certainly has unread bytes.
    pub(super) fn has_unread(&self) -> bool {
        self.queue
            .as_ref()
            .is_some_and(|queue| queue.unread().is_ok_and(|unread| unread > 0))
    }

    /// Returns true if everything written was acknowledged. An error marks the connection as failed.
    pub(super) fn is_acked(&self) -> bool {
        match self.unacked() {
            Some(Ok(left)) => left == 0 && !self.state().has_failed(),
            Some(Err(_)) => {
                self.fail();
                false
            }
            None => false,
        }
    }

    /// See [`Delivery::settle_if_acked`].
    pub(super) fn settle_if_acked(&self, tracked: &Arc<TrackedResponse>) {
        let written = self.state().is_written(tracked);
        if written == Some(true) && self.is_acked() {
            self.state().forget(tracked);
            tracked.settle(DeliveryOutcome::Acked);
        }
    }

    /// See [`Delivery::settle_now`].
    pub(super) fn settle_now(&self, tracked: &Arc<TrackedResponse>) -> Option<DeliveryOutcome> {
        let written = self.state().is_written(tracked)?;
        let outcome = if written && self.is_acked() {
            DeliveryOutcome::Acked
        } else {
            DeliveryOutcome::Unacked
        };
        self.state().forget(tracked);
        Some(tracked.settle(outcome))
    }
}

pub(super) fn tell(outcomes: Outcomes) {
    for (tracked, outcome) in outcomes {
        tracked.settle(outcome);
    }
}

/// Settles the remaining leases when the task of a connection ends for any reason: open responses count as unacked.
pub(super) struct SettleOnDrop(pub(super) Weak<SharedConnection>);

impl Drop for SettleOnDrop {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.change(ConnectionState::close);
            shared.change(|state| state.settle_all(DeliveryOutcome::Unacked));
        }
    }
}
